//! From a slice to the network's input (docs/method.md, 3): torchvision's `GeneralizedRCNNTransform`.
//!
//! The rule is torchvision's: the short side becomes 512 px unless the long one would pass 1024,
//! bilinear without antialiasing; ImageNet's mean and deviation; zeros at the right and bottom up
//! to a multiple of 32. A 512x512 slice is only normalised.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::detection::bilinear::{blend, sample};
use crate::image::CtSlice;
use crate::unknown_name::UnknownName;

/// Short side of the network's input.
pub const SHORT_SIDE: usize = 512;
/// Longest side of the network's input.
pub const LONG_SIDE: usize = 1024;
/// Sides of the padded input are multiples of this.
pub const MULTIPLE: usize = 32;
/// Means of the channels of ImageNet, of intensities from 0 to 1.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Their standard deviations.
pub const DEVIATION: [f32; 3] = [0.229, 0.224, 0.225];

/// Which side of a slice becomes [`SHORT_SIDE`]; stored with a model, because it must be the one it was
/// trained with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// The short one, as torchvision and the paper do.
    #[default]
    ShortSide,
    /// The long one: a crop of a scan is not magnified beyond what whole scans are.
    LongSide,
}

impl Resize {
    /// Bounds of the short and the long side.
    fn sides(self) -> (usize, usize) {
        match self {
            Self::ShortSide => (SHORT_SIDE, LONG_SIDE),
            Self::LongSide => (SHORT_SIDE, SHORT_SIDE),
        }
    }

    /// Rows and columns of the network's picture of a slice of `height` x `width`, before padding.
    pub fn size(self, (height, width): (usize, usize)) -> (usize, usize) {
        let (short, long) = self.sides();
        resized((height, width), short, long)
    }

    /// Name in options and metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShortSide => "short-side",
            Self::LongSide => "long-side",
        }
    }
}

impl FromStr for Resize {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        [Self::ShortSide, Self::LongSide]
            .into_iter()
            .find(|resize| resize.name() == name)
            .ok_or_else(|| UnknownName {
                what: "way to resize",
                name: name.into(),
                known: "short-side and long-side",
            })
    }
}

/// Rows and columns after scaling a picture until a side meets its bound.
fn resized((height, width): (usize, usize), short_side: usize, long_side: usize) -> (usize, usize) {
    let (rows, columns) = (height as f64, width as f64);
    let scale = (short_side as f64 / rows.min(columns)).min(long_side as f64 / rows.max(columns));
    // A hair above, so that rounding cannot turn 512 into 511.
    let side = |side: f64| ((side * scale + 1e-6).floor() as usize).max(1);
    (side(rows), side(columns))
}

/// The resized and padded slice.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkInput {
    /// Intensities from 0 to 1, `[height, width]`, row-major; what is padding has no meaning.
    pub grey: Vec<f32>,
    /// Rows, a multiple of 32.
    pub height: usize,
    /// Columns, a multiple of 32.
    pub width: usize,
    /// Rows of the picture inside the padding.
    pub image_height: usize,
    /// Columns of the picture inside the padding.
    pub image_width: usize,
    /// Slice pixels per network pixel, horizontally and vertically.
    pub slice_from_network: [f32; 2],
}

impl NetworkInput {
    /// Prepares a slice for the network at the paper's size.
    pub fn new(slice: &CtSlice) -> Self {
        Self::resized(slice, Resize::default())
    }

    /// Prepares a slice for a network that was trained with `resize`.
    pub fn resized(slice: &CtSlice, resize: Resize) -> Self {
        let (short, long) = resize.sides();
        Self::with_sides(slice, short, long)
    }

    /// Prepares a slice for a network input of another size (the start-up check uses a small one).
    pub fn with_sides(slice: &CtSlice, short_side: usize, long_side: usize) -> Self {
        let size = resized((slice.height, slice.width), short_side, long_side);
        Self::of_size(slice, size)
    }

    /// Prepares a picture that has the network's scale already.
    pub fn unscaled(slice: &CtSlice) -> Self {
        Self::of_size(slice, (slice.height, slice.width))
    }

    fn of_size(slice: &CtSlice, (image_height, image_width): (usize, usize)) -> Self {
        let (height, width) =
            (image_height.next_multiple_of(MULTIPLE), image_width.next_multiple_of(MULTIPLE));
        let resized = resize_bilinear(slice, image_height, image_width);
        let mut grey = vec![0.0; height * width];
        for (row, source) in grey.chunks_exact_mut(width).zip(resized.chunks_exact(image_width)) {
            row[..image_width].copy_from_slice(source);
        }
        Self {
            grey,
            height,
            width,
            image_height,
            image_width,
            slice_from_network: [
                slice.width as f32 / image_width as f32,
                slice.height as f32 / image_height as f32,
            ],
        }
    }

    /// What the network's first convolution sees: each channel normalised by its own mean and deviation, `[3, height,
    /// width]`, with zeros as padding.
    pub fn normalised(&self) -> Vec<f32> {
        let mut values = vec![0.0; 3 * self.grey.len()];
        for (channel, plane) in values.chunks_exact_mut(self.grey.len()).enumerate() {
            let normalise = |value: f32| (value - MEAN[channel]) / DEVIATION[channel];
            let rows = plane.chunks_exact_mut(self.width).zip(self.grey.chunks_exact(self.width));
            for (row, source) in rows.take(self.image_height) {
                let inside = row[..self.image_width].iter_mut().zip(source);
                inside.for_each(|(out, value)| *out = normalise(*value));
            }
        }
        values
    }
}

/// The slice scaled until its long side is `side`, in the middle of a black square: what a network sees that
/// judges a slice as a whole. Reduced pictures are averaged over all they cover, so nothing aliases.
pub fn letterbox(slice: &CtSlice, side: usize) -> CtSlice {
    let (height, width) = resized((slice.height, slice.width), side, side);
    let columns = coverage(slice.width, width);
    let rows = coverage(slice.height, height);
    // Along rows first.
    let mut narrow = vec![0.0f32; slice.height * width];
    for (source, target) in
        slice.pixels.chunks_exact(slice.width).zip(narrow.chunks_exact_mut(width))
    {
        for (value, (first, weights)) in target.iter_mut().zip(&columns) {
            let covered = source[*first..].iter().zip(weights);
            *value = covered.map(|(pixel, weight)| f32::from(*pixel) * weight).sum();
        }
    }
    let (top, left) = ((side - height) / 2, (side - width) / 2);
    let mut pixels = vec![0u8; side * side];
    for (y, (first, weights)) in rows.iter().enumerate() {
        let target = &mut pixels[(top + y) * side + left..][..width];
        for (x, pixel) in target.iter_mut().enumerate() {
            let covered = weights.iter().enumerate();
            let value: f32 =
                covered.map(|(k, weight)| narrow[(first + k) * width + x] * weight).sum();
            *pixel = value.round().clamp(0.0, 255.0) as u8;
        }
    }
    CtSlice { width: side, height: side, pixels, ..slice.clone() }
}

/// For every cell of a resized axis: the first source cell that counts, and the weights from there on. A
/// triangle as wide as the reduction, as PIL's bilinear filter; plain bilinear where the axis grows.
fn coverage(source: usize, target: usize) -> Vec<(usize, Vec<f32>)> {
    let ratio = source as f32 / target as f32;
    let reach = ratio.max(1.0);
    (0..target)
        .map(|cell| {
            let centre = (cell as f32 + 0.5) * ratio;
            let first = ((centre - reach).floor().max(0.0) as usize).min(source - 1);
            let last = ((centre + reach).ceil() as usize).clamp(first + 1, source);
            let weight = |at: usize| (1.0 - ((at as f32 + 0.5 - centre) / reach).abs()).max(0.0);
            let weights: Vec<f32> = (first..last).map(weight).collect();
            let total: f32 = weights.iter().sum();
            (first, weights.into_iter().map(|weight| weight / total).collect())
        })
        .collect()
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
        CtSlice::new("", (width, height), (0..width * height).map(|i| (i % 251) as u8).collect())
    }

    #[test]
    fn a_512_slice_is_only_normalised() {
        let slice = slice(512, 512);
        let input = NetworkInput::new(&slice);
        assert_eq!((input.height, input.width, input.slice_from_network), (512, 512, [1.0, 1.0]));
        for (value, pixel) in input.normalised().iter().zip(&slice.pixels) {
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
            assert_eq!(input.grey.len(), padded.0 * padded.1);
        }
    }

    #[test]
    fn with_the_long_side_a_crop_is_not_magnified_beyond_a_scan() {
        let input = NetworkInput::resized(&slice(448, 309), Resize::LongSide);
        assert_eq!((input.image_height, input.image_width), (353, 512));
        assert_eq!((input.height, input.width), (384, 512));
        assert_eq!(Resize::LongSide.size((309, 448)), (353, 512));
        let whole = slice(512, 512);
        assert_eq!(NetworkInput::resized(&whole, Resize::LongSide), NetworkInput::new(&whole));
    }

    #[test]
    fn a_letterbox_keeps_the_shape_and_the_mean_and_adds_black() {
        let mut wide = slice(400, 200);
        wide.pixels.iter_mut().for_each(|pixel| *pixel = 100 + *pixel % 50);
        let mean = |pixels: &[u8]| {
            pixels.iter().map(|pixel| f64::from(*pixel)).sum::<f64>() / pixels.len() as f64
        };
        let boxed = letterbox(&wide, 64);
        assert_eq!((boxed.width, boxed.height), (64, 64));
        let (black, picture) = (&boxed.pixels[..16 * 64], &boxed.pixels[16 * 64..48 * 64]);
        assert!(black.iter().all(|pixel| *pixel == 0));
        assert!((mean(picture) - mean(&wide.pixels)).abs() < 1.0);
        let small = letterbox(&slice(3, 5), 40);
        assert_eq!(small.pixels.len(), 1600);
        assert_eq!(letterbox(&slice(64, 64), 64).pixels, slice(64, 64).pixels);
    }

    #[test]
    fn padding_is_zero_after_normalisation() {
        let input = NetworkInput::new(&slice(100, 700));
        assert_eq!(input.normalised()[input.width - 1], 0.0);
    }
}
