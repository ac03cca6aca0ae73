//! Targets of the mask branch (specification 1.6).

use crate::geometry::roi_sampling::{SamplingRatio, axis_matrix};
use crate::geometry::{BBox, Mask};
use crate::network::heads::MASK_SIDE;

/// The part of an instance's mask inside a proposal, `MASK_SIDE` x `MASK_SIDE`: RoIAlign of the
/// binary mask with as many samples as pixels, so values between 0 and 1.
pub fn mask_target(mask: &Mask, bbox: &BBox) -> Vec<f32> {
    let matrix = |span, length| axis_matrix(span, 1.0, length, MASK_SIDE, SamplingRatio::Adaptive);
    let rows = matrix((bbox.y1, bbox.y2), mask.height);
    let columns = matrix((bbox.x1, bbox.x2), mask.width);
    // Cells outside the box weigh nothing; skip them.
    let span = |matrix: &[f32], length: usize| {
        let used = |at: &usize| matrix.iter().skip(*at).step_by(length).any(|w| *w != 0.0);
        let first = (0..length).find(used).unwrap_or(0);
        let last = (0..length).rev().find(used).unwrap_or(0);
        first..last + 1
    };
    let (used_rows, used_columns) = (span(&rows, mask.height), span(&columns, mask.width));
    let mut target = vec![0.0; MASK_SIDE * MASK_SIDE];
    let mut across = vec![0.0; MASK_SIDE];
    for y in used_rows {
        let pixels = &mask.pixels[y * mask.width..][..mask.width];
        for (bin, sum) in across.iter_mut().enumerate() {
            let weights = &columns[bin * mask.width..][..mask.width];
            *sum = used_columns.clone().filter(|x| pixels[*x]).map(|x| weights[x]).sum();
        }
        for (bin, out) in target.chunks_exact_mut(MASK_SIDE).enumerate() {
            let weight = rows[bin * mask.height + y];
            if weight != 0.0 {
                for (value, sum) in out.iter_mut().zip(&across) {
                    *value += weight * sum;
                }
            }
        }
    }
    target
}
