//! [`crate::kernels::conv_transpose`] in burn's graph.

use burn::tensor::Tensor;

use crate::kernels::conv_transpose::{ConvTransposeGradient, CpuConvTranspose2d};
use crate::network::cpu_ops::op::{
    ChannelsLast, CpuOp, CpuTensor, OpContext, SavedForBackward, apply, contiguous,
    from_channels_last, from_values,
};

/// Doubles `[batch, in, height, width]` by `weight` `[in, out, 2, 2]`, then ReLU.
pub fn conv_transpose2d(input: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    apply(vec![input.into(), weight.into(), bias.into()], ConvTranspose2d)
}

#[derive(Debug)]
struct ConvTranspose2d;

impl CpuOp for ConvTranspose2d {
    fn forward(&self, inputs: &[CpuTensor]) -> (CpuTensor, SavedForBackward) {
        let input = ChannelsLast::of(&inputs[0]);
        let (weight, bias) = (contiguous(&inputs[1]), contiguous(&inputs[2]));
        let layer = CpuConvTranspose2d::new(weight.storage(), bias.storage::<f32>().to_vec());
        let (values, dims) = layer.convolve(input.values(), input.dims);
        (from_channels_last(values, dims), SavedForBackward::default())
    }

    fn backward(
        &self,
        context: &OpContext,
        gradient: CpuTensor,
        wanted: &[bool],
    ) -> Vec<Option<CpuTensor>> {
        let input = ChannelsLast::of(&context.inputs[0]);
        let weight = contiguous(&context.inputs[1]);
        let (gradient, output) = (ChannelsLast::of(&gradient), ChannelsLast::of(&context.output));
        let (channels, outputs) = (input.dims[3], gradient.dims[3]);
        let gradients =
            ConvTransposeGradient::new(gradient.values(), output.values(), input.dims, outputs);
        let mut found = vec![None; wanted.len()];
        if wanted[0] {
            let values = gradients.input_gradient(weight.storage());
            found[0] = Some(from_channels_last(values, input.dims));
        }
        if wanted[1] {
            let values = gradients.weight_gradient(input.values());
            found[1] = Some(from_values(values, [channels, outputs, 2, 2]));
        }
        if wanted[2] {
            found[2] = Some(from_values(gradients.bias_gradient(), [outputs]));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_ops::op::check::{alternating, gradients_are_differences, noise};
    use burn::tensor::activation::relu;
    use burn::tensor::module::conv_transpose2d as burn_conv_transpose2d;
    use burn::tensor::ops::ConvTransposeOptions;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn it_upscales_as_burn_does() {
        let device = Device::flex();
        let tensor = |dims: [usize; 4], seed| {
            let data = TensorData::new(noise(dims.iter().product(), seed), dims);
            Tensor::<4>::from_data(data, &device)
        };
        let (input, weight) = (tensor([2, 3, 4, 5], 1), tensor([3, 6, 2, 2], 2));
        let bias = tensor([6, 1, 1, 1], 3).reshape([6]);
        let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
        let expected =
            relu(burn_conv_transpose2d(input.clone(), weight.clone(), Some(bias.clone()), options));
        let tolerance = burn::tensor::Tolerance::<f32>::default();
        let actual = conv_transpose2d(input, weight, bias).into_data();
        actual.assert_approx_eq(&expected.into_data(), tolerance);
    }

    #[test]
    fn its_gradients_are_differences() {
        let shapes = [vec![2, 3, 4, 3], vec![3, 4, 2, 2], vec![4]];
        gradients_are_differences(&shapes, 1e-2, |tensors| {
            let bias = tensors[2].clone().reshape([4]) + alternating(4, 20.0);
            conv_transpose2d(tensors[0].clone(), tensors[1].clone(), bias)
        });
    }
}
