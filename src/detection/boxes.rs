//! Axis-aligned boxes: area, overlap, clipping, and the delta encoding of Faster R-CNN.

use serde::{Deserialize, Serialize};

/// Largest `dw`, `dh` that [`BoxCoder::decode`] exponentiates: `ln(1000 / 16)` (docs/method.md, 1.4).
pub const MAX_LOG_SCALE: f32 = 4.135_166_6;

/// A box `(x1, y1, x2, y2)` in pixels; `x2` and `y2` are exclusive, so the width is `x2 - x1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f32; 4]", into = "[f32; 4]")]
pub struct BBox {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

impl From<[f32; 4]> for BBox {
    fn from([x1, y1, x2, y2]: [f32; 4]) -> Self {
        Self { x1, y1, x2, y2 }
    }
}

impl From<BBox> for [f32; 4] {
    fn from(b: BBox) -> Self {
        [b.x1, b.y1, b.x2, b.y2]
    }
}

impl BBox {
    /// A box from its corners.
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// Width in pixels; negative if the corners are crossed.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// Height in pixels; negative if the corners are crossed.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Area in square pixels.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Intersection over union.
    ///
    /// Two boxes without area give `0 / 0`, which is NaN: no comparison with a threshold holds for
    /// it, so neither suppresses the other. The reference behaves so, and zero-height anchors make
    /// it matter (docs/method.md, 1.4).
    ///
    /// # Examples
    ///
    /// ```
    /// use groundglass::detection::BBox;
    ///
    /// let (left, right) = (BBox::new(0.0, 0.0, 10.0, 10.0), BBox::new(5.0, 0.0, 15.0, 10.0));
    /// assert_eq!(left.iou(&right), 50.0 / 150.0);
    /// ```
    pub fn iou(&self, other: &Self) -> f32 {
        let intersection = self.intersection(other);
        intersection / (self.area() + other.area() - intersection)
    }

    /// Area that both cover, in square pixels.
    pub fn intersection(&self, other: &Self) -> f32 {
        let width = (self.x2.min(other.x2) - self.x1.max(other.x1)).max(0.0);
        let height = (self.y2.min(other.y2) - self.y1.max(other.y1)).max(0.0);
        width * height
    }

    /// The part inside an image of `width` x `height` pixels.
    pub fn clip(&self, width: f32, height: f32) -> Self {
        Self {
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
            x2: self.x2.clamp(0.0, width),
            y2: self.y2.clamp(0.0, height),
        }
    }

    /// The box with `x` multiplied by `x_factor` and `y` by `y_factor`.
    pub fn scale(&self, x_factor: f32, y_factor: f32) -> Self {
        Self {
            x1: self.x1 * x_factor,
            y1: self.y1 * y_factor,
            x2: self.x2 * x_factor,
            y2: self.y2 * y_factor,
        }
    }
}

/// Encodes a box as offsets from a reference box (anchor or proposal), and decodes such offsets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxCoder {
    /// Multipliers of `(dx, dy, dw, dh)`.
    pub weights: [f32; 4],
}

impl BoxCoder {
    /// The coder of the region proposal network (docs/method.md, 1.4).
    pub const RPN: Self = Self { weights: [1.0, 1.0, 1.0, 1.0] };
    /// The coder of the box head (docs/method.md, 1.5).
    pub const ROI: Self = Self { weights: [10.0, 10.0, 5.0, 5.0] };

    /// Applies `deltas` to `reference`; `dw` and `dh` are clamped to [`MAX_LOG_SCALE`].
    pub fn decode(&self, deltas: [f32; 4], reference: &BBox) -> BBox {
        let [wx, wy, ww, wh] = self.weights;
        let (width, height) = (reference.width(), reference.height());
        let center_x = reference.x1 + 0.5 * width;
        let center_y = reference.y1 + 0.5 * height;
        let x = deltas[0] / wx * width + center_x;
        let y = deltas[1] / wy * height + center_y;
        let half_width = 0.5 * ((deltas[2] / ww).min(MAX_LOG_SCALE).exp() * width);
        let half_height = 0.5 * ((deltas[3] / wh).min(MAX_LOG_SCALE).exp() * height);
        BBox::new(x - half_width, y - half_height, x + half_width, y + half_height)
    }

    /// The deltas that turn `reference` into `target`.
    ///
    /// For a `reference` without area they are infinite or NaN; such a box never overlaps anything
    /// and so is never a training target.
    pub fn encode(&self, target: &BBox, reference: &BBox) -> [f32; 4] {
        let [wx, wy, ww, wh] = self.weights;
        let (width, height) = (reference.width(), reference.height());
        let center_x = reference.x1 + 0.5 * width;
        let center_y = reference.y1 + 0.5 * height;
        let target_x = target.x1 + 0.5 * target.width();
        let target_y = target.y1 + 0.5 * target.height();
        [
            wx * (target_x - center_x) / width,
            wy * (target_y - center_y) / height,
            ww * (target.width() / width).ln(),
            wh * (target.height() / height).ln(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assert_close(actual: BBox, expected: [f32; 4]) {
        for (a, e) in <[f32; 4]>::from(actual).into_iter().zip(expected) {
            assert!((a - e).abs() < 1e-4, "{actual:?} is not {expected:?}");
        }
    }

    #[test]
    fn decoding_gives_the_values_worked_out_by_hand() {
        let decoded =
            BoxCoder::ROI.decode([1.0, -2.0, 0.5, -0.5], &BBox::new(10.0, 20.0, 50.0, 100.0));
        assert_close(decoded, [11.896_582, 7.806_503, 56.103_42, 80.193_5]);
        let flat = BoxCoder::RPN.decode([0.1, 0.2, -0.3, 6.0], &BBox::new(-3.0, 0.0, 3.0, 0.0));
        assert_close(flat, [-1.622_454_7, 0.0, 2.822_454_7, 0.0]);
    }

    #[test]
    fn two_boxes_without_area_overlap_by_nan_and_a_real_box_overlaps_them_by_zero() {
        let flat = BBox::new(1.0, 1.0, 5.0, 1.0);
        assert!(flat.iou(&flat).is_nan());
        assert_eq!(flat.iou(&BBox::new(0.0, 0.0, 4.0, 4.0)), 0.0);
    }

    prop_compose! {
        fn any_box()(x in 0f32..500.0, y in 0f32..500.0, w in 1f32..200.0, h in 1f32..200.0) -> BBox {
            BBox::new(x, y, x + w, y + h)
        }
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(target in any_box(), reference in any_box()) {
            prop_assume!(target.width() / reference.width() < 60.0);
            prop_assume!(target.height() / reference.height() < 60.0);
            for coder in [BoxCoder::RPN, BoxCoder::ROI] {
                let decoded = coder.decode(coder.encode(&target, &reference), &reference);
                for (a, e) in <[f32; 4]>::from(decoded).into_iter().zip(<[f32; 4]>::from(target)) {
                    prop_assert!((a - e).abs() < 0.01, "{decoded:?} {target:?}");
                }
            }
        }

        #[test]
        fn overlap_is_symmetric_between_zero_and_one_and_full_with_itself(a in any_box(), b in any_box()) {
            prop_assert_eq!(a.iou(&b), b.iou(&a));
            prop_assert!((0.0..=1.0).contains(&a.iou(&b)));
            prop_assert!((a.iou(&a) - 1.0).abs() < 1e-6);
        }

        #[test]
        fn a_clipped_box_lies_inside_the_image(a in any_box()) {
            let clipped = a.clip(256.0, 128.0);
            prop_assert!(clipped.x1 >= 0.0 && clipped.x2 <= 256.0 && clipped.y2 <= 128.0);
            prop_assert!(clipped.width() >= 0.0 && clipped.height() >= 0.0);
        }
    }
}
