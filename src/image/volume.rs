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
    pub fn read<F: FileBytes>(
        series: &Series<F>,
        mut busy: impl FnMut(),
    ) -> Result<Self, VolumeError> {
        let first = series.slices.first().map(|slice| &slice.header).ok_or(VolumeError::Uneven)?;
        let geometry = series.distance_mm.zip(first.plane).zip(first.spacing_mm);
        let ((distance_mm, plane), spacing_mm) = geometry.ok_or(VolumeError::Uneven)?;
        let (size, slices) = ((first.width, first.height), series.slices.len());
        let reduction = reduction(size, slices, MOST_VALUES);
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
