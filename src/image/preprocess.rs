//! From a slice to the network's input (specification 3).
//!
//! The rule is torchvision's: the short side becomes 512 px unless the long one would pass 1024,
//! bilinear without antialiasing; ImageNet's mean and deviation; zeros at the right and bottom up
//! to a multiple of 32. A 512x512 slice is only normalised.

use super::CtSlice;
use crate::geometry::bilinear::{blend, sample};

/// Short side of the network's input.
pub const SHORT_SIDE: usize = 512;
/// Longest side of the network's input.
pub const LONG_SIDE: usize = 1024;
/// Sides of the padded input are multiples of this.
pub const MULTIPLE: usize = 32;
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// The normalised, resized and padded slice.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkInput {
    /// `[3, height, width]`, row-major.
    pub values: Vec<f32>,
    /// Rows, a multiple of 32.
    pub height: usize,
    /// Columns, a multiple of 32.
    pub width: usize,
    /// Rows of the picture inside the padding.
    pub image_height: usize,
    /// Columns of the picture inside the padding.
    pub image_width: usize,
    /// Slice pixels per network pixel, horizontally and vertically.
    pub to_slice: [f32; 2],
}

impl NetworkInput {
    /// Prepares a slice for the network at the paper's size.
    pub fn new(slice: &CtSlice) -> Self {
        Self::with_sides(slice, SHORT_SIDE, LONG_SIDE)
    }

    /// Prepares a slice for a network input of another size (the start-up check uses a small one).
    pub fn with_sides(slice: &CtSlice, short_side: usize, long_side: usize) -> Self {
        let (rows, columns) = (slice.height as f64, slice.width as f64);
        let scale =
            (short_side as f64 / rows.min(columns)).min(long_side as f64 / rows.max(columns));
        // A hair above, so that rounding cannot turn 512 into 511.
        let resized = |side: f64| ((side * scale + 1e-6).floor() as usize).max(1);
        let (image_height, image_width) = (resized(rows), resized(columns));
        let (height, width) =
            (image_height.next_multiple_of(MULTIPLE), image_width.next_multiple_of(MULTIPLE));
        let grey = resize_bilinear(slice, image_height, image_width);
        let mut values = vec![0.0; 3 * height * width];
        for (channel, plane) in values.chunks_exact_mut(height * width).enumerate() {
            let normalise = |value: f32| (value - MEAN[channel]) / DEVIATION[channel];
            let rows = plane.chunks_exact_mut(width).zip(grey.chunks_exact(image_width));
            for (row, source) in rows {
                row.iter_mut().zip(source).for_each(|(out, value)| *out = normalise(*value));
            }
        }
        Self {
            values,
            height,
            width,
            image_height,
            image_width,
            to_slice: [
                slice.width as f32 / image_width as f32,
                slice.height as f32 / image_height as f32,
            ],
        }
    }
}

/// Intensities 0..1 at another size: bilinear, half-pixel centres, no antialiasing.
fn resize_bilinear(slice: &CtSlice, height: usize, width: usize) -> Vec<f32> {
    let at = |y: usize, x: usize| f32::from(slice.pixels[y * slice.width + x]) / 255.0;
    let columns: Vec<_> = (0..width).map(|x| sample(x, slice.width, width)).collect();
    let mut resized = Vec::with_capacity(height * width);
    for y in 0..height {
        let row = sample(y, slice.height, height);
        resized.extend(columns.iter().map(|column| blend(at, row, *column)));
    }
    resized
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(width: usize, height: usize) -> CtSlice {
        CtSlice {
            source: String::new(),
            width,
            height,
            pixels: (0..width * height).map(|i| (i % 251) as u8).collect(),
            spacing_mm: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_512_slice_is_only_normalised() {
        let slice = slice(512, 512);
        let input = NetworkInput::new(&slice);
        assert_eq!((input.height, input.width, input.to_slice), (512, 512, [1.0, 1.0]));
        for (value, pixel) in input.values.iter().zip(&slice.pixels) {
            assert_eq!(*value, (f32::from(*pixel) / 255.0 - 0.485) / 0.229);
        }
    }

    #[test]
    fn the_short_side_becomes_512_unless_the_long_one_would_pass_1024() {
        for ((width, height), image, padded) in [
            ((630, 630), (512, 512), (512, 512)),
            ((300, 200), (768, 512), (768, 512)),
            ((100, 700), (146, 1024), (160, 1024)),
            ((33, 4096), (8, 1024), (32, 1024)),
        ] {
            let input = NetworkInput::new(&slice(width, height));
            assert_eq!((input.image_width, input.image_height), image, "{width} x {height}");
            assert_eq!((input.width, input.height), padded, "{width} x {height}");
            assert_eq!(input.values.len(), 3 * padded.0 * padded.1);
        }
    }

    #[test]
    fn padding_is_zero_after_normalisation() {
        let input = NetworkInput::new(&slice(100, 700));
        assert_eq!(input.values[input.width - 1], 0.0);
    }
}
