//! The slices of a series as a volume, to be cut across.

use thiserror::Error;

use crate::image::sections::{Cut, Sections};
use crate::image::slice::{RawSlice, Values};
use crate::image::{FileBytes, ImageError, Series, Window};

/// Most values kept, two bytes each: of larger series, neighbouring pixels become one.
const MOST_VALUES: usize = 100 << 20;
/// Slices between two signs of life.
const SIGN_OF_LIFE: usize = 8;

/// Why a series is no volume.
#[derive(Debug, Error)]
pub enum VolumeError {
    /// Its slices do not lie evenly above each other, or nobody knows.
    #[error("its slices are not known to lie evenly above each other")]
    Uneven,
    /// A slice cannot be read.
    #[error("{name}: {error}")]
    Slice {
        /// Its name.
        name: String,
        /// The reason.
        error: ImageError,
    },
}

/// All slices of a series.
#[derive(Debug)]
pub struct Volume {
    sections: Sections,
    /// Pixels along a row, and along a column, that became one.
    reduction: usize,
    /// Rounded, slice by slice, row-major.
    values: Vec<i16>,
    /// The first slice without its values: how they are to be shown.
    shown_as: RawSlice,
}

impl Volume {
    /// Reads every slice; calls `busy` now and then.
    ///
    /// # Errors
    /// If the slices do not lie evenly, or one cannot be read.
    pub fn read<F: FileBytes>(series: &Series<F>, busy: impl FnMut()) -> Result<Self, VolumeError> {
        Self::read_within(series, MOST_VALUES, busy)
    }

    fn read_within<F: FileBytes>(
        series: &Series<F>,
        most_values: usize,
        mut busy: impl FnMut(),
    ) -> Result<Self, VolumeError> {
        let first = series.slices.first().map(|slice| &slice.header).ok_or(VolumeError::Uneven)?;
        let geometry = series.distance_mm.zip(first.plane).zip(first.spacing_mm);
        let ((distance_mm, plane), spacing_mm) = geometry.ok_or(VolumeError::Uneven)?;
        let (size, slices) = ((first.width, first.height), series.slices.len());
        let reduction = reduction(size, slices, most_values);
        let (across, down) = (size.0.div_ceil(reduction), size.1.div_ceil(reduction));
        let mut values = Vec::with_capacity(across * down * slices);
        let mut shown_as = None;
        for (number, slice) in series.slices.iter().enumerate() {
            if number % SIGN_OF_LIFE == 0 {
                busy();
            }
            let failed = |error| VolumeError::Slice { name: slice.name.clone(), error };
            let mut raw = slice.read().map_err(failed)?;
            if (raw.width, raw.height) != size {
                return Err(VolumeError::Uneven);
            }
            let read = std::mem::replace(&mut raw.values, Values::Grey(Vec::new()));
            match read {
                Values::Grey(read) => reduce(&read, f32::from, size, reduction, &mut values),
                Values::Hounsfield(read) => {
                    reduce(&read, |value| value, size, reduction, &mut values);
                    raw.values = Values::Hounsfield(Vec::new());
                }
            }
            shown_as.get_or_insert(raw);
        }
        let shown_as = shown_as.ok_or(VolumeError::Uneven)?;
        let at = (size.0 / 2, size.1 / 2);
        let sections = Sections { at, size, slices, spacing_mm, distance_mm, plane };
        Ok(Self { sections, reduction, values, shown_as })
    }

    /// The planes through a column and a row; what lies beside the slices is moved to their edge.
    pub fn sections(&self, (column, row): (usize, usize)) -> Sections {
        let (columns, rows) = self.sections.size;
        let at = (column.min(columns.saturating_sub(1)), row.min(rows.saturating_sub(1)));
        Sections { at, ..self.sections }
    }

    /// A plane's grey values through `window`, or through that which a slice is shown in; row-major, as large as
    /// [`Sections::picture_size`].
    pub fn picture(&self, cut: Cut, window: Option<Window>) -> Vec<u8> {
        let (width, height) = self.sections.picture_size(cut);
        let mut values = Vec::with_capacity(width * height);
        for row in 0..height {
            let slice = self.sections.flipped(row);
            values.extend((0..width).map(|place| self.value(cut, slice, place)));
        }
        let values = match self.shown_as.values {
            Values::Grey(_) => Values::Grey(values.into_iter().map(|value| value as u8).collect()),
            Values::Hounsfield(_) => {
                Values::Hounsfield(values.into_iter().map(f32::from).collect())
            }
        };
        let raw = RawSlice { width, height, values, ..self.shown_as.clone() };
        raw.windowed("", window).pixels
    }

    /// The value of a slice at a place of the row or column of `cut`.
    fn value(&self, cut: Cut, slice: usize, place: usize) -> i16 {
        let (column, row) = match cut {
            Cut::Row(row) => (place, row),
            Cut::Column(column) => (column, place),
        };
        let (columns, rows) = self.sections.size;
        let (across, down) = (columns.div_ceil(self.reduction), rows.div_ceil(self.reduction));
        let (x, y) = (column / self.reduction, row / self.reduction);
        let index = (slice * down + y.min(down - 1)) * across + x.min(across - 1);
        self.values.get(index).copied().unwrap_or_default()
    }
}

/// Pixels along either side that become one, so that no more than `most` values are left.
fn reduction((columns, rows): (usize, usize), slices: usize, most: usize) -> usize {
    let values = |side: usize| {
        columns.div_ceil(side).saturating_mul(rows.div_ceil(side)).saturating_mul(slices)
    };
    (1..=columns.max(rows).max(1)).find(|side| values(*side) <= most).unwrap_or(1)
}

/// Appends the means of squares of `side` pixels, rounded.
fn reduce<T: Copy>(
    read: &[T],
    number: impl Fn(T) -> f32,
    (columns, rows): (usize, usize),
    side: usize,
    values: &mut Vec<i16>,
) {
    if side == 1 {
        return values.extend(read.iter().map(|value| number(*value).round() as i16));
    }
    for top in (0..rows).step_by(side) {
        for left in (0..columns).step_by(side) {
            let (bottom, right) = ((top + side).min(rows), (left + side).min(columns));
            let (mut sum, mut count) = (0.0, 0.0f32);
            for row in top..bottom {
                for value in &read[row * columns + left..row * columns + right] {
                    sum += number(*value);
                    count += 1.0;
                }
            }
            values.push((sum / count).round() as i16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Plane, Study};
    use proptest::prelude::*;

    /// Directions of rows and columns of a slice in a patient, and of slices: along axes, either way.
    fn directions() -> impl Strategy<Value = [[f64; 3]; 3]> {
        let axes = Just(vec![0, 1, 2]).prop_shuffle();
        (axes, prop::array::uniform3(prop::bool::ANY)).prop_map(|(axes, back)| {
            [0, 1, 2].map(|k| {
                let mut direction = [0.0; 3];
                direction[axes[k]] = if back[k] { -1.0 } else { 1.0 };
                direction
            })
        })
    }

    const SIZE: [usize; 3] = [40, 36, 5];
    const SPACING: [f64; 3] = [2.0, 3.0, 5.0];

    /// What a value is where: another at every place.
    fn value_at(place: [f64; 3]) -> f64 {
        (place[0] + 2.0 * place[1] - 3.0 * place[2]).round()
    }

    /// A NIfTI file whose voxels lie along `directions`, each with the value of its place.
    fn nifti(directions: [[f64; 3]; 3]) -> Vec<u8> {
        let place = |i: usize, j: usize, k: usize| {
            let steps = [i as f64 * SPACING[0], j as f64 * SPACING[1], k as f64 * SPACING[2]];
            [0, 1, 2].map(|axis| (0..3).map(|d| steps[d] * directions[d][axis]).sum::<f64>())
        };
        let mut bytes = vec![0u8; 352];
        bytes[0..4].copy_from_slice(&348i32.to_le_bytes());
        for (k, dimension) in [3, SIZE[0], SIZE[1], SIZE[2], 1, 1, 1, 1].into_iter().enumerate() {
            bytes[40 + 2 * k..42 + 2 * k].copy_from_slice(&(dimension as i16).to_le_bytes());
        }
        bytes[70..72].copy_from_slice(&4i16.to_le_bytes());
        bytes[72..74].copy_from_slice(&16i16.to_le_bytes());
        for (k, length) in SPACING.into_iter().enumerate() {
            bytes[80 + 4 * k..84 + 4 * k].copy_from_slice(&(length as f32).to_le_bytes());
        }
        bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
        bytes[112..116].copy_from_slice(&1f32.to_le_bytes());
        bytes[123] = 2;
        bytes[254..256].copy_from_slice(&1i16.to_le_bytes());
        // NIfTI counts to the right, front and head; the places here are DICOM's, to the left and back.
        for axis in 0..3 {
            let sign = if axis < 2 { -1.0 } else { 1.0 };
            for d in 0..3 {
                let entry = (sign * directions[d][axis] * SPACING[d]) as f32;
                let start = 280 + 16 * axis + 4 * d;
                bytes[start..start + 4].copy_from_slice(&entry.to_le_bytes());
            }
        }
        bytes[344..348].copy_from_slice(b"n+1\0");
        for k in 0..SIZE[2] {
            for j in 0..SIZE[1] {
                for i in 0..SIZE[0] {
                    bytes.extend((value_at(place(i, j, k)) as i16).to_le_bytes());
                }
            }
        }
        bytes
    }

    fn study(directions: [[f64; 3]; 3]) -> Study<Vec<u8>> {
        Study::open([("volume.nii".to_owned(), nifti(directions))])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_pixel_of_a_plane_shows_what_lies_at_its_place_in_the_patient(
            directions in directions(), at in (0usize..36, 0usize..36),
        ) {
            let study = study(directions);
            prop_assert!(study.refused.is_empty(), "{:?}", study.refused);
            let series = &study.series[0];
            let volume = Volume::read(series, || {}).unwrap();
            let sections = volume.sections(at);
            prop_assert_eq!(sections.at, at);
            let Plane { along_row, along_column, .. } = sections.plane;
            // Wide enough that every value is seen as it is, up to half a step.
            let window = Window { center: 0.0, width: 1020.0 };
            for cut in sections.cuts() {
                let picture = volume.picture(cut, Some(window));
                let (width, height) = sections.picture_size(cut);
                for row in 0..height {
                    let slice = series.slices[sections.flipped(row)].header.plane.unwrap();
                    for place in 0..width {
                        let (column, line) = match cut {
                            Cut::Row(line) => (place, line),
                            Cut::Column(column) => (column, place),
                        };
                        let [down, across] = sections.spacing_mm;
                        let there = [0, 1, 2].map(|k| {
                            slice.origin[k]
                                + column as f64 * across * along_row[k]
                                + line as f64 * down * along_column[k]
                        });
                        let expected = window.apply(value_at(there) as f32);
                        prop_assert_eq!(picture[row * width + place], expected);
                    }
                }
                // What is written at the upper edge lies above.
                let upper = series.slices[sections.flipped(0)].header.plane.unwrap().origin;
                let lower = series.slices[sections.flipped(height - 1)].header.plane.unwrap().origin;
                let [_, _, above, _] = sections.edges(cut);
                let (axis, sign) = match above.as_str() {
                    "L" => (0, 1.0), "R" => (0, -1.0), "P" => (1, 1.0), "A" => (1, -1.0),
                    "H" => (2, 1.0), _ => (2, -1.0),
                };
                prop_assert!(sign * (upper[axis] - lower[axis]) > 0.0, "{}", above);
            }
        }
    }

    #[test]
    fn a_large_series_is_kept_smaller_and_looks_the_same() {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let series = &study(axes).series[0];
        let whole = Volume::read(series, || {}).unwrap();
        let small = Volume::read_within(series, 40 * 36 * 5 / 4, || {}).unwrap();
        assert_eq!((whole.reduction, small.reduction), (1, 2));
        assert_eq!(small.values.len() * 4, whole.values.len());
        let cut = Cut::Row(17);
        let (whole, small) = (whole.picture(cut, None), small.picture(cut, None));
        assert_eq!(whole.len(), small.len());
        assert!(whole.iter().zip(&small).all(|(a, b)| a.abs_diff(*b) <= 1));
    }

    #[test]
    fn what_does_not_lie_evenly_is_no_volume() {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let mut study = study(axes);
        study.series[0].distance_mm = None;
        assert!(matches!(Volume::read(&study.series[0], || {}), Err(VolumeError::Uneven)));
        study.series[0].slices.clear();
        assert!(matches!(Volume::read(&study.series[0], || {}), Err(VolumeError::Uneven)));
    }
}
