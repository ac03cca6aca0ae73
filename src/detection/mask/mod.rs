//! Binary masks.

pub mod brush;
pub mod connected_components;
pub mod contour;
pub mod holes;
pub mod paste;
pub mod rle;

/// Side of the mask that Mask R-CNN's mask head gives for a box.
pub const MASK_SIDE: usize = 28;

/// Side that areas and distances in pixels refer to, so that they do not depend on the size in which a slice was stored.
const REFERENCE_SIDE: f64 = 512.0;

/// Pixels of a slice of this size for one of the same slice whose longer side has 512.
pub fn scale_from_512((width, height): (usize, usize)) -> f64 {
    width.max(height) as f64 / REFERENCE_SIDE
}

/// A binary mask, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `true` inside; `height * width` values.
    pub pixels: Vec<bool>,
}

impl Mask {
    /// A mask with nothing set.
    pub fn empty(width: usize, height: usize) -> Self {
        Self { width, height, pixels: vec![false; width * height] }
    }

    /// Whether the pixel is set; outside the mask nothing is.
    pub fn get(&self, x: isize, y: isize) -> bool {
        let inside =
            (0..self.width as isize).contains(&x) && (0..self.height as isize).contains(&y);
        inside && self.pixels[y as usize * self.width + x as usize]
    }

    /// Number of set pixels.
    pub fn area(&self) -> usize {
        self.pixels.iter().filter(|&&p| p).count()
    }

    /// Intersection over union with a mask of the same size; 1 for two empty masks.
    pub fn iou(&self, other: &Self) -> f64 {
        let pairs = || self.pixels.iter().zip(&other.pixels);
        let intersection = pairs().filter(|(a, b)| **a && **b).count();
        let union = pairs().filter(|(a, b)| **a || **b).count();
        if union == 0 { 1.0 } else { intersection as f64 / union as f64 }
    }
}
