//! COCO run-length encoding: column-major runs, packed into a printable string.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::detection::Mask;

/// A mask as `pycocotools` reads and writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rle {
    /// `[height, width]`.
    pub size: [usize; 2],
    /// Compressed counts.
    pub counts: String,
}

/// Why a run-length string could not be decoded.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RleError {
    /// A character outside the 64 used, or a string that ends within a number.
    #[error("the run-length string is malformed")]
    Malformed,
    /// The runs do not add up to the mask's size.
    #[error("the runs cover {runs} pixels, the mask has {pixels}")]
    Length {
        /// Pixels covered by the runs.
        runs: usize,
        /// Pixels of the mask.
        pixels: usize,
    },
}

impl Rle {
    /// Encodes a mask.
    ///
    /// # Examples
    ///
    /// ```
    /// use groundglass::detection::Mask;
    /// use groundglass::detection::mask::rle::Rle;
    ///
    /// let mask = Mask { width: 2, height: 2, pixels: vec![false, true, false, true] };
    /// let encoded = Rle::encode(&mask);
    /// assert_eq!(encoded.counts, "22");
    /// assert_eq!(encoded.decode().as_ref(), Ok(&mask));
    /// ```
    pub fn encode(mask: &Mask) -> Self {
        let mut runs: Vec<i64> = vec![0];
        let mut inside = false;
        for x in 0..mask.width {
            for y in 0..mask.height {
                if mask.pixels[y * mask.width + x] != inside {
                    inside = !inside;
                    runs.push(0);
                }
                if let Some(run) = runs.last_mut() {
                    *run += 1;
                }
            }
        }
        let mut counts = String::new();
        for (i, run) in runs.iter().enumerate() {
            // From the fourth on, a run is stored as its difference to the last of its colour.
            let mut value = if i > 2 { run - runs[i - 2] } else { *run };
            loop {
                let mut digit = (value & 0x1f) as u8;
                value >>= 5;
                let more = if digit & 0x10 != 0 { value != -1 } else { value != 0 };
                if more {
                    digit |= 0x20;
                }
                counts.push((digit + 48) as char);
                if !more {
                    break;
                }
            }
        }
        Self { size: [mask.height, mask.width], counts }
    }

    /// Decodes the mask.
    ///
    /// # Errors
    /// If the string is malformed or does not fit the size.
    pub fn decode(&self) -> Result<Mask, RleError> {
        let [height, width] = self.size;
        // Runs that do not fit cost no memory.
        let runs = self.runs_inside()?;
        let mut mask = Mask::empty(width, height);
        for run in runs {
            for p in run {
                mask.pixels[p % height * width + p / height] = true;
            }
        }
        Ok(mask)
    }

    /// One row of the mask, without decoding the others.
    ///
    /// # Errors
    /// If the string is malformed or does not fit the size.
    pub fn row(&self, row: usize) -> Result<Vec<bool>, RleError> {
        let [height, width] = self.size;
        let mut pixels = vec![false; width];
        for run in self.runs_inside()?.into_iter().filter(|_| row < height) {
            let first = run.start.saturating_sub(row).div_ceil(height);
            let end = run.end.saturating_sub(row).div_ceil(height);
            pixels[first..end.min(width)].fill(true);
        }
        Ok(pixels)
    }

    /// One column of the mask, without decoding the others.
    ///
    /// # Errors
    /// If the string is malformed or does not fit the size.
    pub fn column(&self, column: usize) -> Result<Vec<bool>, RleError> {
        let [height, _] = self.size;
        let mut pixels = vec![false; height];
        let begin = column.saturating_mul(height);
        for run in self.runs_inside()? {
            let [first, end] =
                [run.start, run.end].map(|place| place.saturating_sub(begin).min(height));
            pixels[first..end].fill(true);
        }
        Ok(pixels)
    }

    /// Where the mask is, counted down its columns.
    fn runs_inside(&self) -> Result<Vec<Range<usize>>, RleError> {
        let [height, width] = self.size;
        let mut runs: Vec<i64> = Vec::new();
        let (mut value, mut shift) = (0i64, 0u32);
        for byte in self.counts.bytes() {
            let digit = byte.checked_sub(48).filter(|d| *d < 64).ok_or(RleError::Malformed)?;
            if shift > 55 {
                return Err(RleError::Malformed);
            }
            value |= i64::from(digit & 0x1f) << shift;
            shift += 5;
            if digit & 0x20 == 0 {
                if digit & 0x10 != 0 {
                    value |= -1 << shift;
                }
                if runs.len() > 2 {
                    value = value.saturating_add(runs[runs.len() - 2]);
                }
                runs.push(value);
                (value, shift) = (0, 0);
            }
        }
        if shift != 0 || runs.iter().any(|run| *run < 0) {
            return Err(RleError::Malformed);
        }
        let covered = runs.iter().fold(0usize, |sum, run| sum.saturating_add(*run as usize));
        if Some(covered) != height.checked_mul(width) {
            let pixels = height.saturating_mul(width);
            return Err(RleError::Length { runs: covered, pixels });
        }
        let mut position = 0;
        let ranges = runs.iter().map(|run| {
            let range = position..position + *run as usize;
            position = range.end;
            range
        });
        Ok(ranges.skip(1).step_by(2).filter(|range| !range.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The expected strings are those of pycocotools 2.0.
    #[test]
    fn masks_are_encoded_as_pycocotools_does() {
        let mut rectangle = Mask::empty(5, 4);
        for (x, y) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)] {
            rectangle.pixels[y * 5 + x] = true;
        }
        assert_eq!(Rle::encode(&rectangle).counts, "5220003");

        let mut ring = Mask::empty(60, 50);
        for (index, pixel) in ring.pixels.iter_mut().enumerate() {
            let (x, y) = (index as i32 % 60 - 30, index as i32 / 60 - 25);
            *pixel = (50..400).contains(&(x * x + y * y));
        }
        let expected = "ia0=S14L4M2M4M2N2O0O2N2O0O2O]OD0;NK04ON02O000O20N020N020NO40L120N020N020N10001N021L052E0<c01N101N2N101N2N3L3N3L4LS?";
        assert_eq!(Rle::encode(&ring).counts, expected);
    }

    #[test]
    fn strings_that_do_not_fit_are_refused() {
        for counts in ["5", "~~", "PPPPPPPPPPPPPPPPPPPP", "o"] {
            let rle = Rle { size: [4, 5], counts: counts.into() };
            assert!(rle.decode().is_err(), "{counts}");
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(width in 1usize..40, height in 1usize..40, seed: u64) {
            let pixels = (0..width * height).map(|i| (seed.rotate_left(i as u32 * 7) ^ (i as u64 / 5)) & 3 == 0);
            let mask = Mask { width, height, pixels: pixels.collect() };
            let encoded = Rle::encode(&mask);
            for row in 0..height {
                let pixels = mask.pixels[row * width..][..width].to_vec();
                prop_assert_eq!(encoded.row(row), Ok(pixels));
            }
            for column in 0..width {
                let pixels = mask.pixels.iter().skip(column).step_by(width).copied().collect();
                prop_assert_eq!(encoded.column(column), Ok(pixels));
            }
            prop_assert_eq!(encoded.row(height), Ok(vec![false; width]));
            prop_assert_eq!(encoded.column(width), Ok(vec![false; height]));
            prop_assert_eq!(encoded.decode(), Ok(mask));
        }

        #[test]
        fn no_string_makes_decoding_fail_hard(counts in ".{0,40}") {
            let encoded = Rle { size: [7, 9], counts };
            let is_sound = encoded.decode().is_ok();
            prop_assert_eq!(encoded.row(3).is_ok(), is_sound);
            prop_assert_eq!(encoded.column(3).is_ok(), is_sound);
        }
    }
}
