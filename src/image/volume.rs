//! The slices of a series as a volume, to be cut across.

use thiserror::Error;

use crate::image::sections::{Cut, Sections};
use crate::image::slice::{RawSlice, Values};
use crate::image::{FileBytes, ImageError, Series, Window};

/// Most values kept, two bytes each: of larger series, neighbouring pixels become one.
const MOST_VALUES: usize = 100 << 20;
/// Most pixels along a side that become one: if there is no memory for less, there is none.
const MOST_REDUCTION: usize = 8;

/// Why a series is no volume.
#[derive(Debug, Error)]
pub enum VolumeError {
    /// Its slices do not lie evenly above each other, or nobody knows.
    #[error("its slices are not evenly spaced")]
    Uneven,
    /// A slice has other sides than the first.
    #[error("{name}: it has another size than the first slice of its series")]
    Size {
        /// Its name.
        name: String,
    },
    /// A slice cannot be read.
    #[error("{name}: {error}")]
    Slice {
        /// Its name.
        name: String,
        /// The reason.
        error: ImageError,
    },
    /// It does not fit into memory.
    #[error("there is not enough memory for all its slices")]
    Memory,
}

/// The slices of a series, which are read one after the other.
#[derive(Debug)]
pub struct Volume {
    sections: Sections,
    /// Pixels along a row, and along a column, that became one.
    reduction: usize,
    /// Rounded, slice by slice, row-major.
    values: Vec<i16>,
    /// The slices that are read.
    read: usize,
    /// The first slice without its values: how they are to be shown.
    shown_as: Option<RawSlice>,
}

impl Volume {
    /// Makes room for a series, of which nothing is read yet.
    ///
    /// # Errors
    /// If the slices do not lie evenly, or if there is no room.
    pub fn of<F: FileBytes>(series: &Series<F>) -> Result<Self, VolumeError> {
        let first = series.slices.first().map(|slice| &slice.header).ok_or(VolumeError::Uneven)?;
        let geometry = series.distance_mm.zip(first.plane).zip(first.spacing_mm);
        let ((distance_mm, plane), spacing_mm) = geometry.ok_or(VolumeError::Uneven)?;
        let (size, slices) = ((first.width, first.height), series.slices.len());
        let at = (size.0 / 2, size.1 / 2);
        let sections = Sections { at, size, slices, spacing_mm, distance_mm, plane };
        let mut values = Vec::new();
        let least = reduction(size, slices, MOST_VALUES);
        let fits = |reduction: &usize| {
            values.try_reserve_exact(values_of(size, slices, *reduction)).is_ok()
        };
        let reduction =
            (least..=least.max(MOST_REDUCTION)).find(fits).ok_or(VolumeError::Memory)?;
        Ok(Self { sections, reduction, values, read: 0, shown_as: None })
    }

    /// Reads the next slice of the series that it was made for; returns how many are read then.
    ///
    /// # Errors
    /// If it cannot be read, or has another size.
    pub fn read_next<F: FileBytes>(&mut self, series: &Series<F>) -> Result<usize, VolumeError> {
        let Some(slice) = series.slices.get(self.read) else { return Ok(self.read) };
        let failed = |error| VolumeError::Slice { name: slice.name.clone(), error };
        let mut raw = slice.read().map_err(failed)?;
        let size = self.sections.size;
        if (raw.width, raw.height) != size {
            return Err(VolumeError::Size { name: slice.name.clone() });
        }
        let (reduction, values) = (self.reduction, &mut self.values);
        match std::mem::replace(&mut raw.values, Values::Grey(Vec::new())) {
            Values::Grey(read) => reduce(&read, f32::from, size, reduction, values),
            Values::Hounsfield(read) => {
                reduce(&read, |value| value, size, reduction, values);
                raw.values = Values::Hounsfield(Vec::new());
            }
        }
        self.shown_as.get_or_insert(raw);
        self.read += 1;
        Ok(self.read)
    }

    /// Whether every slice is read.
    pub fn is_complete(&self) -> bool {
        self.read == self.sections.slices
    }

    /// The planes through a column and a row; what lies beside the slices is moved to their edge.
    pub fn sections(&self, (column, row): (usize, usize)) -> Sections {
        let (columns, rows) = self.sections.size;
        let at = (column.min(columns.saturating_sub(1)), row.min(rows.saturating_sub(1)));
        Sections { at, ..self.sections }
    }

    /// A plane's grey values through `window`, or through that which the first slice is shown in; row-major, as large as
    /// [`Sections::picture_size`]. What is not read yet is black.
    pub fn picture(&self, cut: Cut, window: Option<Window>) -> Vec<u8> {
        let (width, height) = self.sections.picture_size(cut);
        let Some(shown_as) = &self.shown_as else { return vec![0; width * height] };
        let mut values = Vec::with_capacity(width * height);
        for row in 0..height {
            let slice = self.sections.flipped(row);
            values.extend((0..width).map(|place| self.value(cut, slice, place)));
        }
        let values = match shown_as.values {
            Values::Grey(_) => Values::Grey(values.into_iter().map(|value| value as u8).collect()),
            Values::Hounsfield(_) => {
                Values::Hounsfield(values.into_iter().map(f32::from).collect())
            }
        };
        RawSlice { width, height, values, ..shown_as.clone() }.windowed("", window).pixels
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

/// Values that are left of so many slices if `side` pixels along either side become one.
fn values_of((columns, rows): (usize, usize), slices: usize, side: usize) -> usize {
    columns.div_ceil(side).saturating_mul(rows.div_ceil(side)).saturating_mul(slices)
}

/// Pixels along either side that become one, so that no more than `most` values are left.
fn reduction(size: (usize, usize), slices: usize, most: usize) -> usize {
    let longest = size.0.max(size.1).max(1);
    (1..=longest).find(|side| values_of(size, slices, *side) <= most).unwrap_or(longest)
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
    use crate::image::Plane;
    use crate::image::plane::dot;
    use proptest::prelude::*;

    /// A volume in a patient, whose rows, columns and slices lie along `directions`, with another value at every place.
    fn volume(directions: [[f64; 3]; 3], at: (usize, usize)) -> Volume {
        let [along_row, along_column, along_slices] = directions;
        let plane = Plane { origin: [5.0, -3.0, 2.0], along_row, along_column };
        // Slices are sorted along the normal.
        assert!(dot(plane.normal(), along_slices) > 0.99);
        let (size, slices, spacing_mm, distance_mm) = ((7, 6), 4, [3.0, 2.0], 5.0);
        let sections = Sections { at, size, slices, spacing_mm, distance_mm, plane };
        let mut values = Vec::new();
        for slice in 0..slices {
            for row in 0..size.1 {
                for column in 0..size.0 {
                    values.push(value_at(place(&sections, (column, row), slice)));
                }
            }
        }
        let shown_as = RawSlice {
            width: size.0,
            height: size.1,
            values: Values::Hounsfield(Vec::new()),
            says_hounsfield: true,
            inverted: false,
            window: None,
            spacing_mm: Some(spacing_mm),
            plane: Some(plane),
            not_chest_ct: None,
            warnings: Vec::new(),
        };
        Volume { sections, reduction: 1, values, read: slices, shown_as: Some(shown_as) }
    }

    /// Where a pixel of a slice lies.
    fn place(sections: &Sections, (column, row): (usize, usize), slice: usize) -> [f64; 3] {
        let Plane { origin, along_row, along_column } = sections.plane;
        let [down, across] = sections.spacing_mm;
        [0, 1, 2].map(|k| {
            origin[k]
                + column as f64 * across * along_row[k]
                + row as f64 * down * along_column[k]
                + slice as f64 * sections.distance_mm * sections.plane.normal()[k]
        })
    }

    fn value_at(place: [f64; 3]) -> i16 {
        (place[0] * 5.0 + place[1] * 7.0 - place[2] * 11.0).round() as i16
    }

    /// Right-handed directions: the patient's axes in any order, either way, turned about one of them.
    fn directions() -> impl Strategy<Value = [[f64; 3]; 3]> {
        let axes = Just(vec![0, 1, 2]).prop_shuffle();
        (axes, prop::bool::ANY, prop::bool::ANY, -0.6f64..0.6).prop_map(|(axes, a, b, turn)| {
            let along = |axis: usize, back: bool| {
                let mut direction = [0.0; 3];
                direction[axis] = if back { -1.0 } else { 1.0 };
                direction
            };
            let (row, column) = (along(axes[0], a), along(axes[1], b));
            let (sin, cos) = turn.sin_cos();
            let along_row = [0, 1, 2].map(|k| cos * row[k] + sin * column[k]);
            let along_column = [0, 1, 2].map(|k| cos * column[k] - sin * row[k]);
            let normal = Plane { origin: [0.0; 3], along_row, along_column }.normal();
            [along_row, along_column, normal]
        })
    }

    proptest! {
        #[test]
        fn every_pixel_of_a_plane_shows_what_lies_at_its_place_however_the_slices_lie(
            directions in directions(), at in (0usize..7, 0usize..6),
        ) {
            let volume = volume(directions, at);
            let sections = volume.sections(at);
            let window = Window { center: 0.0, width: 1020.0 };
            for cut in sections.cuts() {
                let picture = volume.picture(cut, Some(window));
                let (width, height) = sections.picture_size(cut);
                for (index, grey) in picture.iter().enumerate() {
                    let (along, slice) = (index % width, sections.flipped(index / width));
                    let pixel = match cut {
                        Cut::Row(row) => (along, row),
                        Cut::Column(column) => (column, along),
                    };
                    let expected = window.apply(f32::from(value_at(place(&sections, pixel, slice))));
                    prop_assert_eq!(*grey, expected);
                }
                // What is written at an edge lies beyond it.
                let corner = |x: usize, y: usize| {
                    let pixel = match cut {
                        Cut::Row(row) => (x, row),
                        Cut::Column(column) => (column, x),
                    };
                    place(&sections, pixel, sections.flipped(y))
                };
                let [left, right, upper, lower] = sections.edges(cut);
                let ends = [
                    (left, corner(width - 1, 0), corner(0, 0)),
                    (right, corner(0, 0), corner(width - 1, 0)),
                    (upper, corner(0, height - 1), corner(0, 0)),
                    (lower, corner(0, 0), corner(0, height - 1)),
                ];
                for (letters, from, to) in ends {
                    let (axis, sign) = match letters.chars().next() {
                        Some('L') => (0, 1.0),
                        Some('R') => (0, -1.0),
                        Some('P') => (1, 1.0),
                        Some('A') => (1, -1.0),
                        Some('H') => (2, 1.0),
                        _ => (2, -1.0),
                    };
                    prop_assert!(sign * (to[axis] - from[axis]) > 0.0, "{}", letters);
                }
            }
        }
    }

    #[test]
    fn a_series_is_kept_as_it_is_unless_it_is_too_large() {
        assert_eq!(reduction((512, 512), 300, MOST_VALUES), 1);
        assert_eq!(reduction((512, 512), 1000, MOST_VALUES), 2);
        assert_eq!(reduction((512, 511), 1, 256 * 256 - 1), 3);
        assert_eq!(reduction((0, 0), 0, 0), 1);
    }

    #[test]
    fn squares_of_pixels_become_their_mean_at_the_edges_too() {
        let read = [1.0, 3.0, 10.0, 5.0, 7.0, 20.0, 100.0, 200.0, -3.4];
        let mut values = Vec::new();
        reduce(&read, |value: f32| value, (3, 3), 2, &mut values);
        assert_eq!(values, [4, 15, 150, -3]);
        values.clear();
        reduce(&read, |value: f32| value, (3, 3), 1, &mut values);
        assert_eq!(values, [1, 3, 10, 5, 7, 20, 100, 200, -3]);
    }
}
