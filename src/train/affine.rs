//! Turning, magnifying and shifting pictures with their masks.

use crate::geometry::Mask;
use crate::geometry::bilinear::{Sample, blend};

/// Turn and zoom around the centre, then shift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Radians, from the x axis towards the y axis.
    pub turn: f32,
    /// Factor of lengths.
    pub zoom: f32,
    /// Shift along x and y, as shares of width and height.
    pub shift: [f32; 2],
}

impl Affine {
    /// Where pixel `(x, y)` of the new picture, of `width` x `height`, comes from in the old one.
    fn source(&self, (x, y): (usize, usize), (width, height): (usize, usize)) -> [f32; 2] {
        let (width, height) = (width as f32, height as f32);
        let dx = x as f32 + 0.5 - width * (0.5 + self.shift[0]);
        let dy = y as f32 + 0.5 - height * (0.5 + self.shift[1]);
        let (sin, cos) = self.turn.sin_cos();
        [
            (cos * dx + sin * dy) / self.zoom + width / 2.0 - 0.5,
            (cos * dy - sin * dx) / self.zoom + height / 2.0 - 0.5,
        ]
    }

    /// Bilinear; what comes from outside is 0.
    pub fn move_pixels(&self, pixels: &[u8], size: (usize, usize)) -> Vec<u8> {
        let (width, height) = size;
        let sample = |at: f32, length: usize| {
            let low = at.clamp(0.0, (length - 1) as f32) as usize;
            let fraction = (at - low as f32).clamp(0.0, 1.0);
            Sample { low, high: (low + 1).min(length - 1), fraction }
        };
        let inside = |at: f32, length: usize| (-0.5..length as f32 - 0.5).contains(&at);
        places(size)
            .map(|place| {
                let [x, y] = self.source(place, size);
                if !inside(x, width) || !inside(y, height) {
                    return 0;
                }
                let at = |row: usize, column: usize| f32::from(pixels[row * width + column]);
                blend(at, sample(y, height), sample(x, width)).round() as u8
            })
            .collect()
    }

    /// The nearest pixel; what comes from outside is not set.
    pub fn move_mask(&self, mask: &Mask) -> Mask {
        let size = (mask.width, mask.height);
        let pixels = places(size)
            .map(|place| {
                let [x, y] = self.source(place, size).map(|at| at.round() as isize);
                mask.get(x, y)
            })
            .collect();
        Mask { pixels, ..*mask }
    }
}

fn places((width, height): (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
    (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_takes_the_first_row_to_the_last_column() {
        let affine = Affine { turn: std::f32::consts::FRAC_PI_2, zoom: 1.0, shift: [0.0; 2] };
        let pixels = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(affine.move_pixels(&pixels, (3, 3)), [7, 4, 1, 8, 5, 2, 9, 6, 3]);
    }

    #[test]
    fn what_is_shifted_in_is_black() {
        let affine = Affine { turn: 0.0, zoom: 1.0, shift: [0.5, 0.0] };
        assert_eq!(affine.move_pixels(&[1, 2, 3, 4, 5, 6, 7, 8], (4, 2)), [0, 0, 1, 2, 0, 0, 5, 6]);
    }
}
