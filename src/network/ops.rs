//! Operations that devices run differently: burn's own, or, natively on the CPU, ours with their
//! gradients ([`crate::network::cpu_ops`]).

use burn::tensor::Tensor;
use burn::tensor::activation::relu;

/// burn's own operations, for every device.
mod general {
    use burn::tensor::module::{
        conv_transpose2d as burn_conv_transpose2d, conv2d as burn_conv2d, max_pool2d,
    };
    use burn::tensor::ops::{ConvOptions, ConvTransposeOptions, MaxPoolOptions};

    use super::*;

    pub fn conv2d(
        input: Tensor<4>,
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        [stride, padding]: [usize; 2],
        activate: bool,
    ) -> Tensor<4> {
        let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
        let output = burn_conv2d(input, weight, bias, options);
        if activate { relu(output) } else { output }
    }

    pub fn max_pool(input: Tensor<4>) -> Tensor<4> {
        // Padding is never the maximum: after ReLU nothing is below zero.
        max_pool2d(input, MaxPoolOptions::new([3, 3]).with_stride([2, 2]).with_padding([1, 1]))
    }

    pub fn conv_transpose2d(input: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
        let options = ConvTransposeOptions::new([2, 2], [0, 0], [0, 0], [1, 1], 1);
        relu(burn_conv_transpose2d(input, weight, Some(bias), options))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::{Tensor, general};
    use crate::network::cpu_ops::{self, is_cpu_device};

    /// Convolution, `[stride, padding]`, then ReLU if `activate`.
    pub fn conv2d(
        input: Tensor<4>,
        weight: Tensor<4>,
        bias: Option<Tensor<1>>,
        steps: [usize; 2],
        activate: bool,
    ) -> Tensor<4> {
        if is_cpu_device(&input.device()) {
            cpu_ops::conv::conv2d(input, weight, bias, steps, activate)
        } else {
            general::conv2d(input, weight, bias, steps, activate)
        }
    }

    /// Max pooling 3x3, stride 2, padding 1, of values that are not negative.
    pub fn max_pool(input: Tensor<4>) -> Tensor<4> {
        if is_cpu_device(&input.device()) {
            cpu_ops::max_pool::max_pool(input)
        } else {
            general::max_pool(input)
        }
    }

    /// Transposed convolution 2x2, stride 2, then ReLU.
    pub fn conv_transpose2d(input: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
        if is_cpu_device(&input.device()) {
            cpu_ops::conv_transpose::conv_transpose2d(input, weight, bias)
        } else {
            general::conv_transpose2d(input, weight, bias)
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use general::*;
#[cfg(not(target_arch = "wasm32"))]
pub use native::*;
