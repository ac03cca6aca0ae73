//! RoIAlign, exact to the reference (docs/method.md, 1.5), as products with one matrix per axis:
//! differentiable, and what GPUs are good at. [`crate::kernels::roi_align`] is the form for CPUs.

use burn::tensor::{Int, Tensor, TensorData};

use crate::detection::BBox;
use crate::detection::roi_align::axis::axis_matrix;
use crate::detection::roi_align::bins::{SAMPLING, level_of};

/// Pools `boxes` of one level `[1, channels, height, width]` to `[boxes, channels, bins, bins]` by
/// two matrix products. Gradients flow to the features, not to the boxes.
pub fn by_matrices(features: &Tensor<4>, boxes: &[BBox], scale: f32, bins: usize) -> Tensor<4> {
    let [_, channels, height, width] = features.dims();
    let device = features.device();
    let count = boxes.len();
    let matrix = |span: &dyn Fn(&BBox) -> (f32, f32), length| -> TensorData {
        let values: Vec<f32> = boxes
            .iter()
            .flat_map(|b| axis_matrix(span(b), scale, length, bins, SAMPLING))
            .collect();
        TensorData::new(values, [count * bins, length])
    };
    let rows = Tensor::<2>::from_data(matrix(&|b| (b.y1, b.y2), height), &device);
    let columns = Tensor::<2>::from_data(matrix(&|b| (b.x1, b.x2), width), &device);

    let by_row = features.clone().reshape([channels, height, width]).swap_dims(0, 1);
    let pooled_rows = rows.matmul(by_row.reshape([height, channels * width]));
    let pooled_rows = pooled_rows.reshape([count, bins * channels, width]);
    let columns = columns.reshape([count, bins, width]).swap_dims(1, 2);
    pooled_rows.matmul(columns).reshape([count, bins, channels, bins]).swap_dims(1, 2)
}

/// The same for a pyramid, each box from the level of its size.
pub fn by_matrices_per_level(
    levels: &[Tensor<4>],
    scales: &[f32],
    boxes: &[BBox],
    bins: usize,
) -> Tensor<4> {
    per_level(levels, scales, boxes, |level, boxes, scale| by_matrices(level, boxes, scale, bins))
}

/// Pools each box from the level of its size by `pool(level, boxes, scale)`, in the order of `boxes`.
pub fn per_level(
    levels: &[Tensor<4>],
    scales: &[f32],
    boxes: &[BBox],
    pool: impl Fn(&Tensor<4>, &[BBox], f32) -> Tensor<4>,
) -> Tensor<4> {
    if let ([level], [scale]) = (levels, scales) {
        return pool(level, boxes, *scale);
    }
    let mut order = Vec::with_capacity(boxes.len());
    let mut pooled = Vec::new();
    for (index, (level, scale)) in levels.iter().zip(scales).enumerate() {
        let members: Vec<usize> =
            (0..boxes.len()).filter(|i| level_of(&boxes[*i], levels.len()) == index).collect();
        if !members.is_empty() {
            let own: Vec<BBox> = members.iter().map(|i| boxes[*i]).collect();
            pooled.push(pool(level, &own, *scale));
            order.extend(members);
        }
    }
    let mut back = vec![0i32; order.len()];
    for (position, index) in order.into_iter().enumerate() {
        back[index] = position as i32;
    }
    let device = levels[0].device();
    let length = back.len();
    let back = Tensor::<1, Int>::from_data(TensorData::new(back, [length]), &device);
    Tensor::cat(pooled, 0).select(0, back)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{self, FeatureMap};
    use crate::network::cpu_values::channels_last;
    use burn::tensor::Device;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn matrices_and_lookups_agree(
            corners in prop::collection::vec((-40f32..200.0, -40f32..200.0, 0f32..150.0, 0f32..150.0), 1..6),
            bins in 1usize..8,
        ) {
            let device = Device::flex();
            let boxes: Vec<_> = corners.iter().map(|c| BBox::new(c.0, c.1, c.0 + c.2, c.1 + c.3)).collect();
            let values: Vec<f32> = (0..3 * 8 * 10).map(|v| ((v * 37) % 101) as f32 / 50.0 - 1.0).collect();
            let map = Tensor::<4>::from_data(TensorData::new(values.clone(), [1, 3, 8, 10]), &device);
            let products = by_matrices(&map, &boxes, 1.0 / 16.0, bins).into_data();
            let level = FeatureMap { values: channels_last(map), dims: [1, 8, 10, 3] };
            let lookups = kernels::roi_align::pool(&[level], &[1.0 / 16.0], &boxes, bins);
            // `[boxes, channels, bins, bins]` against channels last.
            let area = bins * bins;
            for (index, product) in products.iter::<f32>().enumerate() {
                let (region, channel, bin) = (index / (3 * area), index / area % 3, index % area);
                let lookup = lookups.values[(region * area + bin) * 3 + channel];
                prop_assert!((product - lookup).abs() < 1e-5, "{product} {lookup}");
            }
        }
    }
}
