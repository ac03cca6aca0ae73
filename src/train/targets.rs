//! Targets of the mask branch (docs/method.md, 1.6).

use crate::detection::roi_align::axis::{SamplingRatio, axis_matrix};
use crate::detection::{BBox, Mask};
use crate::network::heads::MASK_SIDE;

/// The part of an instance's mask inside a proposal, `MASK_SIDE` x `MASK_SIDE`: RoIAlign of the
/// binary mask with as many samples as pixels, so values between 0 and 1.
pub fn mask_target(mask: &Mask, bbox: &BBox) -> Vec<f32> {
    let matrix = |span, length| axis_matrix(span, 1.0, length, MASK_SIDE, SamplingRatio::Adaptive);
    let rows = matrix((bbox.y1, bbox.y2), mask.height);
    let columns = matrix((bbox.x1, bbox.x2), mask.width);
    let [row_spans, column_spans] = [(&rows, mask.height), (&columns, mask.width)]
        .map(|(matrix, length)| matrix.chunks_exact(length).map(span).collect::<Vec<_>>());
    let mut target = vec![0.0; MASK_SIDE * MASK_SIDE];
    let first = row_spans.iter().map(|span| span.start).min().unwrap_or(0);
    let last = row_spans.iter().map(|span| span.end).max().unwrap_or(0);
    let mut across = vec![0.0; MASK_SIDE];
    for y in first..last {
        let pixels = &mask.pixels[y * mask.width..][..mask.width];
        for (bin, (sum, span)) in across.iter_mut().zip(&column_spans).enumerate() {
            let weights = &columns[bin * mask.width..][..mask.width];
            let inside = span.clone().filter(|x| pixels[*x]);
            *sum = inside.map(|x| weights[x]).sum();
        }
        for (bin, out) in target.chunks_exact_mut(MASK_SIDE).enumerate() {
            if row_spans[bin].contains(&y) {
                let weight = rows[bin * mask.height + y];
                for (value, sum) in out.iter_mut().zip(&across) {
                    *value += weight * sum;
                }
            }
        }
    }
    target
}

/// Where a row of weights is not zero.
fn span(weights: &[f32]) -> std::ops::Range<usize> {
    let first = weights.iter().position(|weight| *weight != 0.0).unwrap_or(0);
    let end = weights.iter().rposition(|weight| *weight != 0.0).map_or(first, |last| last + 1);
    first..end
}
