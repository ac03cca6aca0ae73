//! [`crate::kernels::roi_align`] in burn's graph.

use burn::tensor::Tensor;

use crate::detection::BBox;
use crate::detection::roi_align::bins::{BinTaps, bin_taps};
use crate::kernels::roi_align::{RoiAlignGradient, pool_region};
use crate::kernels::{parallel, transpose};
use crate::network::cpu_ops::is_cpu_device;
use crate::network::cpu_ops::op::{
    ChannelsLast, CpuOp, CpuTensor, OpContext, SavedForBackward, apply, from_channels_last,
    from_values,
};
use crate::network::roi_align::{by_matrices, per_level};

/// Order of a pooled region's values in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PooledLayout {
    /// `[channels, bins, bins]`: what a fully connected layer flattens.
    ChannelsFirst,
    /// `[bins, bins, channels]`: what a convolution takes.
    ChannelsLast,
}

/// Pools `boxes` of one level `[1, channels, height, width]` to `[boxes, channels, bins, bins]`.
pub fn roi_align(
    features: &Tensor<4>,
    boxes: &[BBox],
    scale: f32,
    bins: usize,
    layout: PooledLayout,
) -> Tensor<4> {
    let function = RoiAlign { boxes: boxes.to_vec(), scale, bins, layout };
    apply(vec![features.clone().into()], function)
}

/// Pools boxes of a pyramid for training, each from the level of its size: by look-ups on the CPU,
/// by matrix products elsewhere.
pub fn pool(
    levels: &[Tensor<4>],
    scales: &[f32],
    boxes: &[BBox],
    bins: usize,
    layout: PooledLayout,
) -> Tensor<4> {
    per_level(levels, scales, boxes, |level, boxes, scale| {
        if is_cpu_device(&level.device()) {
            roi_align(level, boxes, scale, bins, layout)
        } else {
            by_matrices(level, boxes, scale, bins)
        }
    })
}

#[derive(Debug)]
struct RoiAlign {
    boxes: Vec<BBox>,
    scale: f32,
    bins: usize,
    layout: PooledLayout,
}

impl RoiAlign {
    fn taps(&self, bbox: &BBox, [_, height, width, _]: [usize; 4]) -> BinTaps {
        bin_taps(bbox, self.scale, (height, width), self.bins)
    }
}

impl CpuOp for RoiAlign {
    fn forward(&self, inputs: &[CpuTensor]) -> (CpuTensor, SavedForBackward) {
        let map = ChannelsLast::of(&inputs[0]);
        let channels = map.dims[3];
        let area = self.bins * self.bins;
        let mut values = vec![0.0; self.boxes.len() * area * channels];
        parallel::for_each_chunk(&mut values, area * channels, |index, out| {
            let taps = self.taps(&self.boxes[index], map.dims);
            match self.layout {
                PooledLayout::ChannelsLast => pool_region(map.values(), &taps, out, channels),
                PooledLayout::ChannelsFirst => {
                    let mut pooled = vec![0.0; area * channels];
                    pool_region(map.values(), &taps, &mut pooled, channels);
                    out.copy_from_slice(&transpose(&pooled, channels));
                }
            }
        });
        let (count, bins) = (self.boxes.len(), self.bins);
        let output = match self.layout {
            PooledLayout::ChannelsLast => from_channels_last(values, [count, bins, bins, channels]),
            PooledLayout::ChannelsFirst => from_values(values, [count, channels, bins, bins]),
        };
        (output, SavedForBackward::default())
    }

    fn backward(
        &self,
        context: &OpContext,
        gradient: CpuTensor,
        _: &[bool],
    ) -> Vec<Option<CpuTensor>> {
        let shape = context.inputs[0].layout().shape();
        let dims = [shape[0], shape[2], shape[3], shape[1]];
        let gradient = ChannelsLast::of(&gradient);
        let of = RoiAlignGradient { boxes: &self.boxes, scale: self.scale, bins: self.bins };
        let values = of.level_gradient(gradient.values(), dims);
        vec![Some(from_channels_last(values, dims))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_ops::op::check::{gradients_are_differences, noise};
    use burn::tensor::{Device, TensorData, Tolerance};

    fn boxes() -> Vec<BBox> {
        vec![
            BBox::new(3.0, 5.0, 70.0, 60.0),
            BBox::new(-20.0, 10.0, 40.0, 200.0),
            BBox::new(50.0, 50.0, 50.0, 50.0),
            BBox::new(30.5, 31.0, 90.0, 33.0),
        ]
    }

    #[test]
    fn it_pools_as_the_matrix_products_do() {
        let data = TensorData::new(noise(5 * 6 * 7, 1), [1, 5, 6, 7]);
        let map = Tensor::<4>::from_data(data, &Device::flex());
        let expected = by_matrices(&map, &boxes(), 1.0 / 16.0, 4).into_data();
        for layout in [PooledLayout::ChannelsFirst, PooledLayout::ChannelsLast] {
            let actual = roi_align(&map, &boxes(), 1.0 / 16.0, 4, layout).into_data();
            actual.assert_approx_eq(&expected, Tolerance::<f32>::default());
        }
    }

    #[test]
    fn gradients_are_differences_in_both_forms() {
        for layout in [PooledLayout::ChannelsFirst, PooledLayout::ChannelsLast] {
            gradients_are_differences(&[vec![1, 5, 6, 7]], 1e-2, |tensors| {
                roi_align(&tensors[0], &boxes(), 1.0 / 16.0, 3, layout)
            });
        }
        gradients_are_differences(&[vec![1, 5, 6, 7]], 1e-2, |tensors| {
            by_matrices(&tensors[0], &boxes(), 1.0 / 16.0, 3)
        });
    }
}
