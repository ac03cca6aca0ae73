//! [`crate::kernels::max_pool`] in burn's graph.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::kernels::max_pool::{max_pool_gradient, max_pool_with_taps};
use crate::network::cpu_ops::op::{
    ChannelsLast, CpuOp, CpuTensor, OpContext, SavedForBackward, apply, from_channels_last,
};

/// Pools `[batch, channels, height, width]`; as in [`crate::network::resnet`], padding never wins.
pub fn max_pool(input: Tensor<4>) -> Tensor<4> {
    apply(vec![input.into()], MaxPool)
}

#[derive(Debug)]
struct MaxPool;

impl CpuOp for MaxPool {
    fn forward(&self, inputs: &[CpuTensor]) -> (CpuTensor, SavedForBackward) {
        let input = ChannelsLast::of(&inputs[0]);
        let (values, taps, dims) = max_pool_with_taps(input.values(), input.dims);
        let indices = Arc::new(taps);
        let output = from_channels_last(values, dims);
        (output, SavedForBackward { indices })
    }

    fn backward(
        &self,
        context: &OpContext,
        gradient: CpuTensor,
        _: &[bool],
    ) -> Vec<Option<CpuTensor>> {
        let [batch, channels, height, width]: [usize; 4] =
            std::array::from_fn(|axis| context.inputs[0].layout().shape()[axis]);
        let gradient = ChannelsLast::of(&gradient);
        let dims = [batch, height, width, channels];
        let values = max_pool_gradient(gradient.values(), &context.saved.indices, dims);
        vec![Some(from_channels_last(values, dims))]
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
