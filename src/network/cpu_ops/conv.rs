//! [`crate::kernels::conv`] in burn's graph.

use burn::tensor::Tensor;

use crate::kernels::conv::{ConvGradient, ConvShape, CpuConv2d};
use crate::kernels::epilogue::{bias_gradient, relu_gradient};
use crate::network::cpu_ops::op::{
    ChannelsLast, CpuOp, CpuTensor, Input, OpContext, SavedForBackward, apply, contiguous,
    from_channels_last, from_values,
};

/// Convolves `[batch, in, height, width]` with `[out, in, kernel, kernel]`.
pub fn conv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    [stride, padding]: [usize; 2],
    activate: bool,
) -> Tensor<4> {
    let [outputs, inputs, kernel, _] = weight.dims();
    let shape = ConvShape { inputs, outputs, kernel, stride, padding };
    let mut tensors: Vec<Input> = vec![input.into(), weight.into()];
    tensors.extend(bias.map(Input::from));
    apply(tensors, Convolution { shape, activate })
}

/// The function behind [`conv2d`]: input, weight and perhaps bias.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Sizes.
    pub shape: ConvShape,
    /// ReLU.
    pub activate: bool,
}

impl CpuOp for Convolution {
    fn forward(&self, inputs: &[CpuTensor]) -> (CpuTensor, SavedForBackward) {
        let input = ChannelsLast::of(&inputs[0]);
        let weight = contiguous(&inputs[1]);
        let bias = inputs.get(2).map(|bias| contiguous(bias).storage::<f32>().to_vec());
        let kernel = CpuConv2d::new(weight.storage(), bias.unwrap_or_default(), self.shape);
        let (values, dims) = kernel.convolve(input.values(), input.dims, None, self.activate);
        (from_channels_last(values, dims), SavedForBackward::default())
    }

    fn backward(
        &self,
        context: &OpContext,
        gradient: CpuTensor,
        wanted: &[bool],
    ) -> Vec<Option<CpuTensor>> {
        let input = ChannelsLast::of(&context.inputs[0]);
        let gradient = self.before_activation(context, &gradient);
        let weight = contiguous(&context.inputs[1]);
        let gradients = ConvGradient::new(&self.shape, input.dims, gradient.dims);
        let mut found = vec![None; wanted.len()];
        if wanted[0] {
            let values = gradients.input_gradient(gradient.values(), weight.storage());
            found[0] = Some(from_channels_last(values, input.dims));
        }
        if wanted[1] {
            let values = gradients.weight_gradient(input.values(), gradient.values());
            let ConvShape { inputs, outputs, kernel, .. } = self.shape;
            found[1] = Some(from_values(values, [outputs, inputs, kernel, kernel]));
        }
        if wanted.get(2) == Some(&true) {
            let sums = bias_gradient(gradient.values(), self.shape.outputs);
            found[2] = Some(from_values(sums, [self.shape.outputs]));
        }
        found
    }
}

impl Convolution {
    /// The gradient before the ReLU.
    fn before_activation(&self, context: &OpContext, gradient: &CpuTensor) -> ChannelsLast {
        let gradient = ChannelsLast::of(gradient);
        if !self.activate {
            return gradient;
        }
        let output = ChannelsLast::of(&context.output);
        let values = relu_gradient(gradient.values(), output.values());
        ChannelsLast::of(&from_channels_last(values, gradient.dims))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_ops::op::check::{alternating, gradients_are_differences};

    fn check(inputs: usize, outputs: usize, kernel: usize, stride: usize, side: [usize; 2]) {
        let shapes = [
            vec![2, inputs, side[0], side[1]],
            vec![outputs, inputs, kernel, kernel],
            vec![outputs],
        ];
        for activate in [false, true] {
            gradients_are_differences(&shapes, 1e-2, |tensors| {
                let bias = tensors[2].clone().reshape([outputs]);
                // Far from the ReLU's corner, where a difference is no gradient.
                let bias = bias + alternating(outputs, 20.0);
                let (input, weight) = (tensors[0].clone(), tensors[1].clone());
                conv2d(input, weight, Some(bias), [stride, kernel / 2], activate)
            });
        }
    }

    #[test]
    fn winograd_gradients_are_differences() {
        check(16, 5, 3, 1, [9, 6]);
        check(17, 3, 3, 1, [14, 14]);
    }

    #[test]
    fn strided_and_pointwise_gradients_are_differences() {
        check(3, 4, 3, 2, [9, 8]);
        check(3, 4, 7, 2, [11, 12]);
        check(5, 4, 1, 1, [6, 7]);
        check(5, 4, 1, 2, [7, 6]);
        check(4, 3, 3, 1, [5, 6]);
    }
}
