//! Max pooling 3x3, stride 2, padding 1, and its gradient.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::kernels::max_pool::{KERNEL, STRIDE, fold_windows};
use crate::kernels::parallel;
use crate::network::cpu_ops::op::{
    ChannelsLast, CpuOp, HostTensor, Recorded, Saved, apply, from_channels_last,
};

/// Pools `[batch, channels, height, width]`; as in [`crate::network::resnet`], padding never wins.
pub fn max_pool(input: Tensor<4>) -> Tensor<4> {
    apply(vec![input.into()], MaxPool)
}

#[derive(Debug)]
struct MaxPool;

impl CpuOp for MaxPool {
    fn forward(&self, inputs: &[HostTensor], _: bool) -> (HostTensor, Saved) {
        let input = ChannelsLast::of(&inputs[0]);
        // The value in the first half, the winning tap in the second half of each output.
        let (found, dims) = fold_windows(
            input.values(),
            input.dims,
            (f32::NEG_INFINITY, 0u8),
            |best: &mut (f32, u8), value, tap| {
                if value > best.0 {
                    *best = (value, tap);
                }
            },
        );
        let values = found.iter().map(|(value, _)| *value).collect();
        let indices = Arc::new(found.iter().map(|(_, tap)| *tap).collect());
        let output = from_channels_last(values, dims);
        (output, Saved { indices, ..Saved::default() })
    }

    fn backward(
        &self,
        recorded: &Recorded,
        gradient: HostTensor,
        _: &[bool],
    ) -> Vec<Option<HostTensor>> {
        let [batch, channels, height, width] =
            std::array::from_fn(|axis| recorded.inputs[0].layout().shape()[axis]);
        let gradient = ChannelsLast::of(&gradient);
        let [_, rows, columns, _] = gradient.dims;
        let taps = &recorded.saved.indices;
        let mut values = vec![0.0; batch * height * width * channels];
        // Every input row asks the one or two output rows whose windows reach it.
        parallel::for_each_chunk(&mut values, width * channels, |index, out| {
            let (image, y) = (index / height, index % height);
            for ky in 0..KERNEL {
                let Some(offset) = (y + 1).checked_sub(ky) else { continue };
                if offset % STRIDE != 0 || offset / STRIDE >= rows {
                    continue;
                }
                let row = (image * rows + offset / STRIDE) * columns;
                for column in 0..columns {
                    let start = (row + column) * channels;
                    for kx in 0..KERNEL {
                        let x = (column * STRIDE + kx).wrapping_sub(1);
                        if x >= width {
                            continue;
                        }
                        let tap = (ky * KERNEL + kx) as u8;
                        let pixel = &mut out[x * channels..][..channels];
                        let taps = &taps[start..][..channels];
                        let gradient = &gradient.values()[start..][..channels];
                        for c in 0..channels {
                            pixel[c] += if taps[c] == tap { gradient[c] } else { 0.0 };
                        }
                    }
                }
            }
        });
        vec![Some(from_channels_last(values, [batch, height, width, channels]))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_ops::op::check::{gradients_are_differences, noise};
    use burn::tensor::module::max_pool2d;
    use burn::tensor::ops::MaxPoolOptions;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn it_pools_as_burn_does() {
        let values: Vec<f32> = noise(2 * 3 * 9 * 8, 4).into_iter().map(f32::abs).collect();
        let data = TensorData::new(values, [2, 3, 9, 8]);
        let input = Tensor::<4>::from_data(data, &Device::flex());
        let options = MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]);
        let expected = max_pool2d(input.clone(), options).into_data();
        max_pool(input).into_data().assert_eq(&expected, true);
    }

    #[test]
    fn its_gradients_are_differences() {
        gradients_are_differences(&[vec![2, 3, 7, 8]], 2e-2, |tensors| {
            max_pool(tensors[0].clone())
        });
    }
}
