//! Chooses, on the device, the boxes whose masks will be needed.
//!
//! The host decides which boxes are lesions, but waiting for it before the mask branch can start
//! costs a round trip. Standard tensor operations come close enough: decode, compare all pairs,
//! suppress in a few rounds, rank, gather by a permutation matrix. The host then finds its lesions
//! among the candidates; a wrong guess costs time, never correctness.

use burn::tensor::activation::softmax;
use burn::tensor::{Int, Tensor, TensorData};

use crate::detection::BBox;
use crate::detection::boxes::{BoxCoder, MAX_LOG_SCALE};

/// Rounds of suppression: a chain of so many boxes, each suppressed by the next, is resolved.
const ROUNDS: usize = 6;

/// What makes a candidate.
#[derive(Clone, Copy, Debug)]
pub struct PreselectRule {
    /// Lower scores are out.
    pub score_threshold: f32,
    /// IoU over which the weaker is out.
    pub nms_threshold: f32,
    /// (height, width) that boxes are clipped to.
    pub image: (usize, usize),
    /// How many to choose.
    pub count: usize,
}

/// Chosen boxes, strongest first.
#[derive(Clone, Debug)]
pub struct Preselected {
    /// `[count, 4]` corners; zero where there are fewer candidates.
    pub boxes: Tensor<2>,
    /// `[count]`: `proposal * foreground classes + class - 1`, or -1.
    pub rows: Tensor<1>,
}

/// Chooses among the box head's `logits` `[proposals, classes]` and `deltas`
/// `[proposals, classes * 4]`.
pub fn choose(
    logits: Tensor<2>,
    deltas: Tensor<2>,
    proposals: &[BBox],
    rule: &PreselectRule,
) -> Preselected {
    let device = logits.device();
    let [count, classes] = logits.dims();
    let foreground = classes - 1;
    let rows = count * foreground;

    let scores = softmax(logits, 1).slice([0..count, 1..classes]).reshape([rows, 1]);
    let deltas = deltas.reshape([count, classes, 4]).slice([0..count, 1..classes, 0..4]);
    let corners: Vec<f32> = proposals
        .iter()
        .flat_map(|b| std::iter::repeat_n(<[f32; 4]>::from(*b), foreground))
        .flatten()
        .collect();
    let references = Tensor::<2>::from_data(TensorData::new(corners, [rows, 4]), &device);
    let [x1, y1, x2, y2] = decode(deltas.reshape([rows, 4]), references, rule.image);

    let area = (x2.clone() - x1.clone()) * (y2.clone() - y1.clone());
    let valid = scores.clone().greater_elem(rule.score_threshold).float()
        * area.clone().greater_elem(0.0).float();
    let across = |column: &Tensor<2>| column.clone().transpose();
    let width =
        (x2.clone().min_pair(across(&x2)) - x1.clone().max_pair(across(&x1))).clamp_min(0.0);
    let height =
        (y2.clone().min_pair(across(&y2)) - y1.clone().max_pair(across(&y1))).clamp_min(0.0);
    let intersection = width * height;
    let union = area.clone() + across(&area) - intersection.clone();
    // Without a division: IoU > t as intersection > t * union, which also holds NaN off.
    let overlaps = intersection.greater(union.mul_scalar(rule.nms_threshold)).float();

    let index = Tensor::<1, Int>::arange(0..rows as i64, &device).float().reshape([rows, 1]);
    let class = index.clone() - (index.clone() / foreground as f32).floor() * foreground as f32;
    let same_class = class.clone().equal(across(&class)).float();
    // `stronger[i][j]`: j ranks before i.
    let tied = scores.clone().equal(across(&scores)).float();
    let before = index.clone().greater(across(&index)).float();
    let stronger = scores.clone().lower(across(&scores)).float() + tied * before;

    let suppresses = overlaps * same_class * stronger.clone();
    let mut keep = valid.clone();
    for _ in 0..ROUNDS {
        let suppressed = suppresses.clone().matmul(keep).clamp_max(1.0);
        keep = valid.clone() * (suppressed.neg() + 1.0);
    }
    let rank = stronger.matmul(keep.clone());
    // `permutation[k][i]` is 1 where box i is the k-th survivor.
    let slots = Tensor::<1, Int>::arange(0..rule.count as i64, &device).float();
    let slots = slots.reshape([rule.count, 1]);
    let permutation = slots.equal(rank.transpose()).float() * keep.transpose();
    let boxes = permutation.clone().matmul(Tensor::cat(vec![x1, y1, x2, y2], 1));
    let rows = permutation.matmul(index + 1.0) - 1.0;
    Preselected { boxes, rows: rows.reshape([rule.count]) }
}

/// Decoded and clipped corners, `[rows, 1]` each.
fn decode(deltas: Tensor<2>, references: Tensor<2>, image: (usize, usize)) -> [Tensor<2>; 4] {
    let column = |tensor: &Tensor<2>, index: usize| tensor.clone().narrow(1, index, 1);
    let side = |low: usize, high: usize, center: usize, length: usize, limit: usize| {
        let start = column(&references, low);
        let extent = column(&references, high) - start.clone();
        let middle = column(&deltas, center) / BoxCoder::ROI.weights[center] * extent.clone()
            + start
            + extent.clone() * 0.5;
        let log_scale = column(&deltas, length) / BoxCoder::ROI.weights[length];
        let half = log_scale.clamp_max(MAX_LOG_SCALE).exp() * extent * 0.5;
        let clip = |edge: Tensor<2>| edge.clamp(0.0, limit as f32);
        (clip(middle.clone() - half.clone()), clip(middle + half))
    };
    let (x1, x2) = side(0, 2, 0, 2, image.1);
    let (y1, y2) = side(1, 3, 1, 3, image.0);
    [x1, y1, x2, y2]
}

/// RoIAlign (two samples per bin and axis) of boxes that are on the device, `[boxes, 4]`, from one
/// level `[1, channels, height, width]`, to `[boxes, channels, bins, bins]`.
///
/// The bilinear weight of a cell is a triangle around the sample, so the axis matrices come from a
/// few elementwise operations.
pub fn pool(features: &Tensor<4>, boxes: Tensor<2>, scale: f32, bins: usize) -> Tensor<4> {
    let [_, channels, height, width] = features.dims();
    let [count, _] = boxes.dims();
    let rows = axis_matrices(&boxes, (1, 3), scale, height, bins);
    let columns = axis_matrices(&boxes, (0, 2), scale, width, bins);
    let by_row = features.clone().reshape([channels, height, width]).swap_dims(0, 1);
    let pooled = rows
        .reshape([count * bins, height])
        .matmul(by_row.reshape([height, channels * width]))
        .reshape([count, bins * channels, width]);
    pooled.matmul(columns.swap_dims(1, 2)).reshape([count, bins, channels, bins]).swap_dims(1, 2)
}

/// `[boxes, bins, length]`.
fn axis_matrices(
    boxes: &Tensor<2>,
    (low, high): (usize, usize),
    scale: f32,
    length: usize,
    bins: usize,
) -> Tensor<3> {
    const SAMPLES: usize = 2;
    let device = boxes.device();
    let [count, _] = boxes.dims();
    let start = boxes.clone().narrow(1, low, 1).mul_scalar(scale);
    let end = boxes.clone().narrow(1, high, 1).mul_scalar(scale);
    let bin = (end - start.clone()).clamp_min(1.0) / bins as f32;
    let offsets: Vec<f32> =
        (0..bins * SAMPLES).map(|index| (index as f32 + 0.5) / SAMPLES as f32).collect();
    let offsets = Tensor::<2>::from_data(TensorData::new(offsets, [1, bins * SAMPLES]), &device);
    let position = start + bin * offsets;
    let inside = position.clone().greater_equal_elem(-1.0).float()
        * position.clone().lower_equal_elem(length as f32).float();
    let position = position.clamp(0.0, (length - 1) as f32).reshape([count, bins * SAMPLES, 1]);
    let cells = Tensor::<1, Int>::arange(0..length as i64, &device).float();
    let distance = (position - cells.reshape([1, 1, length])).abs();
    let weight = (distance.neg() + 1.0).clamp_min(0.0) * inside.reshape([count, bins * SAMPLES, 1]);
    weight.reshape([count * bins, SAMPLES, length]).mean_dim(1).reshape([count, bins, length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::detections::BoxOutputs;
    use crate::network::cpu_values::to_cpu_vec;
    use crate::network::roi_align::by_matrices;
    use burn::tensor::Device;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn the_devices_choice_is_the_hosts(
            raw in prop::collection::vec(
                ((0f32..400.0, 0f32..400.0, 1f32..120.0, 1f32..120.0), prop::collection::vec(-3f32..3.0, 15)), 1..30),
            classes in 2usize..4,
            nms_threshold in 0.3f32..0.8,
        ) {
            let device = Device::flex();
            let proposals: Vec<_> = raw.iter().map(|(b, _)| BBox::new(b.0, b.1, b.0 + b.2, b.1 + b.3)).collect();
            let logits: Vec<f32> = raw.iter().flat_map(|(_, v)| v[..classes].to_vec()).collect();
            let deltas: Vec<f32> = raw.iter().flat_map(|(_, v)| v[3..3 + 4 * classes].to_vec()).collect();
            let outputs = BoxOutputs {
                proposals: proposals.clone(), logits: logits.clone(), deltas: deltas.clone(), classes, image: (512, 512),
            };
            let expected = outputs.detect(0.2, nms_threshold, 12);
            let count = proposals.len();
            let rule = PreselectRule { score_threshold: 0.2, nms_threshold, image: (512, 512), count: 12 };
            let chosen = choose(
                Tensor::from_data(TensorData::new(logits, [count, classes]), &device),
                Tensor::from_data(TensorData::new(deltas, [count, classes * 4]), &device),
                &proposals,
                &rule,
            );
            let rows: Vec<i64> = chosen.rows.into_data().iter::<f32>().map(|r| r.round() as i64).collect();
            let boxes = to_cpu_vec(chosen.boxes);
            for (slot, row) in rows.iter().enumerate() {
                let wanted = expected.get(slot).map(|d| (d.proposal * (classes - 1) + d.class - 1) as i64);
                prop_assert_eq!(*row, wanted.unwrap_or(-1));
                if let Some(detection) = expected.get(slot) {
                    for (a, e) in boxes[slot * 4..].iter().zip(<[f32; 4]>::from(detection.bbox)) {
                        prop_assert!((a - e).abs() < 1e-2);
                    }
                }
            }
        }

        #[test]
        fn pooling_on_the_device_is_roi_align(
            corners in prop::collection::vec((-40f32..200.0, -40f32..200.0, 0f32..150.0, 0f32..150.0), 1..6),
        ) {
            let device = Device::flex();
            let boxes: Vec<_> = corners.iter().map(|c| BBox::new(c.0, c.1, c.0 + c.2, c.1 + c.3)).collect();
            let values: Vec<f32> = (0..2 * 8 * 10).map(|v| ((v * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let map = Tensor::<4>::from_data(TensorData::new(values, [1, 2, 8, 10]), &device);
            let expected = to_cpu_vec(by_matrices(&map, &boxes, 1.0 / 16.0, 5));
            let flat: Vec<f32> = boxes.iter().flat_map(|b| <[f32; 4]>::from(*b)).collect();
            let tensor = Tensor::from_data(TensorData::new(flat, [boxes.len(), 4]), &device);
            for (a, e) in to_cpu_vec(pool(&map, tensor, 1.0 / 16.0, 5)).iter().zip(expected) {
                prop_assert!((a - e).abs() < 1e-4, "{a} {e}");
            }
        }
    }
}
