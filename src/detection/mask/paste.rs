//! Pasting the mask head's small map into the slice (docs/method.md, 1.6): torchvision's `paste_masks_in_image`.

use crate::detection::bilinear::{blend, sample};
use crate::detection::{BBox, Mask};

/// Pastes a square `map` of `side` x `side` values (logits or probabilities) into a mask of
/// `width` x `height` pixels at `bbox`, cut at `threshold`.
///
/// As the reference does it: pad by one cell of zeros, widen the box in proportion, truncate its
/// corners towards zero, resize bilinearly (half-pixel centres), clip to the image.
pub fn paste_mask(
    map: &[f32],
    side: usize,
    bbox: &BBox,
    (width, height): (usize, usize),
    threshold: f32,
) -> Mask {
    let mut mask = Mask::empty(width, height);
    paste_values(map, side, bbox, (width, height), |index, value| {
        mask.pixels[index] = value > threshold;
    });
    mask
}

/// The same without the cut: calls `put(index, value)` for every pixel of the image that the map
/// covers, row by row.
pub fn paste_values(
    map: &[f32],
    side: usize,
    bbox: &BBox,
    (width, height): (usize, usize),
    mut put: impl FnMut(usize, f32),
) {
    let padded_side = side + 2;
    let mut padded = vec![0.0; padded_side * padded_side];
    for (row, values) in map.chunks_exact(side).enumerate() {
        padded[(row + 1) * padded_side + 1..][..side].copy_from_slice(values);
    }

    let scale = padded_side as f32 / side as f32;
    let half_width = bbox.width() * 0.5 * scale;
    let half_height = bbox.height() * 0.5 * scale;
    let center_x = (bbox.x1 + bbox.x2) * 0.5;
    let center_y = (bbox.y1 + bbox.y2) * 0.5;
    let x1 = (center_x - half_width) as i64;
    let y1 = (center_y - half_height) as i64;
    let x2 = (center_x + half_width) as i64;
    let y2 = (center_y + half_height) as i64;

    let columns = visible_span(x1, x2, width);
    let rows = visible_span(y1, y2, height);
    let sample_at = |pixel: usize, first: i64, last: i64| {
        let length = (last - first + 1).max(1) as usize;
        sample((pixel as i64 - first) as usize, padded_side, length)
    };
    let at = |row: usize, column: usize| padded[row * padded_side + column];
    let samples_x: Vec<_> = columns.clone().map(|x| sample_at(x, x1, x2)).collect();
    for y in rows {
        let row = sample_at(y, y1, y2);
        for (x, column) in columns.clone().zip(&samples_x) {
            put(y * width + x, blend(at, row, *column));
        }
    }
}

/// Pastes maps of `side` x `side` values with their boxes on one image, the highest value where they overlap,
/// NaN where there is none; row-major.
pub fn paste_highest<'a>(
    maps: impl IntoIterator<Item = (&'a [f32], BBox)>,
    side: usize,
    (width, height): (usize, usize),
) -> Vec<f32> {
    let mut values = vec![f32::NAN; width * height];
    for (map, bbox) in maps {
        paste_values(map, side, &bbox, (width, height), |index, value| {
            values[index] = values[index].max(value);
        });
    }
    values
}

/// The pixels from `first` to `last` (inclusive, at least one) that lie inside the image.
fn visible_span(first: i64, last: i64, length: usize) -> std::ops::Range<usize> {
    let end = last.max(first).saturating_add(1).clamp(0, length as i64) as usize;
    let start = first.clamp(0, length as i64) as usize;
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_full_map_fills_its_box() {
        let mask = paste_mask(&[1.0; 784], 28, &BBox::new(10.0, 20.0, 66.0, 48.0), (100, 80), 0.5);
        let area = mask.area() as f32;
        assert!((area - 56.0 * 28.0).abs() < 0.06 * 56.0 * 28.0, "{area}");
        assert!(mask.get(38, 34) && !mask.get(8, 34) && !mask.get(38, 51));
    }

    #[test]
    fn of_two_maps_the_higher_value_is_kept() {
        let (low, high) = ([1.0; 784], [3.0; 784]);
        let left = BBox::new(10.0, 10.0, 40.0, 40.0);
        let right = BBox::new(30.0, 10.0, 60.0, 40.0);
        let pasted = paste_highest([(&high[..], left), (&low[..], right)], 28, (80, 64));
        let at = |x: usize, y: usize| pasted[y * 80 + x];
        assert_eq!((at(20, 25), at(35, 25), at(50, 25)), (3.0, 3.0, 1.0));
        assert!(at(70, 25).is_nan());
    }

    proptest! {
        #[test]
        fn no_box_makes_it_fail(x1 in -2e4f32..2e4, y1 in -2e4f32..2e4, w in -10f32..4e4, h in -10f32..4e4) {
            let mask = paste_mask(&[1.0; 784], 28, &BBox::new(x1, y1, x1 + w, y1 + h), (64, 48), 0.5);
            prop_assert!(mask.area() <= 64 * 48);
        }
    }
}
