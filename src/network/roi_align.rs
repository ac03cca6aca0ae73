//! RoIAlign, exact to the reference (specification 1.5), in two forms.
//!
//! *Matrix products* from one matrix per axis: differentiable, and what GPUs are good at.
//! *Direct look-ups*: a tenth of the arithmetic, and the faster form on CPUs.
//! Both work through the regions in batches, so memory does not grow with their number.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::geometry::BBox;
use crate::geometry::roi_sampling::{SamplingRatio, Tap, axis_matrix, axis_taps};
use crate::parallel;

/// Samples per bin and axis in the detector's heads.
const SAMPLING: SamplingRatio = SamplingRatio::Fixed(2);

/// The scale of a level: feature cells per pixel, rounded to a power of two as torchvision does.
pub fn level_scale(feature: usize, image: usize) -> f32 {
    (feature as f32 / image as f32).log2().round().exp2()
}

/// The pyramid level for a box of its size, canonical size 224 px at level 4; `levels` start at
/// level 2. One level takes all.
pub fn level_of(bbox: &BBox, levels: usize) -> usize {
    if levels == 1 {
        return 0;
    }
    let level = (4.0 + (bbox.area().max(0.0).sqrt() / 224.0 + 1e-6).log2()).floor();
    (level.clamp(2.0, levels as f32 + 1.0) - 2.0) as usize
}

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

/// A level on the host, channels last, so that one cell's channels lie together.
#[derive(Clone, Debug)]
pub struct HostLevel {
    values: Vec<f32>,
    height: usize,
    width: usize,
    channels: usize,
}

impl HostLevel {
    /// From values `[height, width, channels]` and the sizes `[channels, height, width]`.
    pub fn new(values: Vec<f32>, [channels, height, width]: [usize; 3]) -> Self {
        Self { values, height, width, channels }
    }

    /// Pools one box into `out` (`[channels, bins, bins]`, row-major).
    fn pool(&self, bbox: &BBox, scale: f32, bins: usize, out: &mut [f32]) {
        let taps = bin_taps(bbox, scale, (self.height, self.width), bins);
        let mut sums = vec![0.0; self.channels];
        for bin in 0..bins * bins {
            sums.fill(0.0);
            taps.for_each(bin, |cell, weight| {
                let cell = &self.values[cell * self.channels..][..self.channels];
                for (sum, value) in sums.iter_mut().zip(cell) {
                    *sum += weight * value;
                }
            });
            for (channel, value) in sums.iter().enumerate() {
                out[channel * bins * bins + bin] = *value;
            }
        }
    }
}

/// Which cells of a map, with which weights, make up each bin of a region.
pub struct BinTaps {
    rows: Vec<Vec<(usize, f32)>>,
    columns: Vec<Vec<(usize, f32)>>,
    width: usize,
    mean: f32,
}

/// The cells under `bbox` on a map of `(height, width)` cells.
pub fn bin_taps(bbox: &BBox, scale: f32, (height, width): (usize, usize), bins: usize) -> BinTaps {
    let (rows, samples) = axis_taps((bbox.y1, bbox.y2), scale, height, bins, SAMPLING);
    let (columns, _) = axis_taps((bbox.x1, bbox.x2), scale, width, bins, SAMPLING);
    BinTaps {
        rows: rows.chunks(samples).map(merge).collect(),
        columns: columns.chunks(samples).map(merge).collect(),
        width,
        mean: 1.0 / (samples * samples) as f32,
    }
}

impl BinTaps {
    /// Calls `visit(cell, weight)` for the cells of bin `bin` (row by row).
    pub fn for_each(&self, bin: usize, mut visit: impl FnMut(usize, f32)) {
        let bins = self.columns.len();
        for &(row, row_weight) in &self.rows[bin / bins] {
            for &(column, column_weight) in &self.columns[bin % bins] {
                visit(row * self.width + column, row_weight * column_weight * self.mean);
            }
        }
    }
}

/// Weights per cell of the samples of one bin; neighbouring samples mostly share cells.
fn merge(taps: &[Tap]) -> Vec<(usize, f32)> {
    let mut cells: Vec<(usize, f32)> = Vec::with_capacity(2 * taps.len());
    for tap in taps {
        for (cell, weight) in [(tap.low, tap.low_weight), (tap.high, tap.high_weight)] {
            if weight == 0.0 {
                continue;
            }
            match cells.iter_mut().find(|(known, _)| *known == cell) {
                Some((_, sum)) => *sum += weight,
                None => cells.push((cell, weight)),
            }
        }
    }
    cells
}

/// Pools `boxes` by direct look-ups, each from the level of its size, to
/// `[boxes, channels, bins, bins]` on `device`.
pub fn by_lookup(
    levels: &[HostLevel],
    scales: &[f32],
    boxes: &[BBox],
    bins: usize,
    device: &Device,
) -> Tensor<4> {
    let channels = levels[0].channels;
    let length = channels * bins * bins;
    let mut values = vec![0.0; boxes.len() * length];
    parallel::for_each_chunk(&mut values, length, |index, out| {
        let level = level_of(&boxes[index], levels.len());
        levels[level].pool(&boxes[index], scales[level], bins, out);
    });
    Tensor::from_data(TensorData::new(values, [boxes.len(), channels, bins, bins]), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_conv::channels_last;
    use proptest::prelude::*;

    #[test]
    fn one_level_takes_all_and_four_share_by_size() {
        assert_eq!(level_of(&BBox::new(0.0, 0.0, 900.0, 900.0), 1), 0);
        for (side, level) in [(10.0, 0), (100.0, 0), (112.1, 1), (224.1, 2), (448.1, 3), (5e3, 3)] {
            assert_eq!(level_of(&BBox::new(0.0, 0.0, side, side), 4), level, "{side}");
        }
        assert_eq!(level_scale(32, 512), 1.0 / 16.0);
    }

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
            let level = HostLevel::new(channels_last(map.clone()), [3, 8, 10]);
            let lookups = by_lookup(&[level], &[1.0 / 16.0], &boxes, bins, &device).into_data();
            for (a, b) in products.iter::<f32>().zip(lookups.iter::<f32>()) {
                prop_assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
