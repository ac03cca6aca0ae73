//! Fully connected layer with PyTorch's weight layout.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Device, Tensor};

/// Configuration of a [`Linear`].
#[derive(Clone, Copy, Debug)]
pub struct LinearConfig {
    /// Input features.
    pub inputs: usize,
    /// Output features.
    pub outputs: usize,
    /// Draw weights by `kaiming_normal(fan_out, relu)` (module S) and not by PyTorch's default.
    pub kaiming_fan_out: bool,
}

impl LinearConfig {
    /// A layer with PyTorch's default initial weights.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, kaiming_fan_out: false }
    }

    /// Initialises the layer; the weights are drawn when first used.
    pub fn init(&self, device: &Device) -> Linear {
        let bound = 1.0 / (self.inputs as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        let weight = if self.kaiming_fan_out {
            Initializer::Normal { mean: 0.0, std: (2.0 / self.outputs as f64).sqrt() }
        } else {
            uniform.clone()
        };
        Linear {
            weight: weight.init([self.outputs, self.inputs], device),
            bias: uniform.init([self.outputs], device),
        }
    }
}

/// `y = x W^T + b`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// Maps `[rows, in]` to `[rows, out]`.
    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        input.matmul(self.weight.val().transpose()) + self.bias.val().unsqueeze()
    }
}
