//! 2-D convolution, square kernels, NCHW.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::network::ops;

/// How fresh weights are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ConvInit {
    /// `kaiming_normal(fan_out, relu)`: backbone and mask branch (docs/method.md, 1.1, 1.6).
    KaimingFanOut,
    /// PyTorch's default `U(-1/sqrt(fan_in), 1/sqrt(fan_in))`: feature pyramid (docs/method.md, 1.2).
    Uniform,
    /// `N(0, 0.01)` and zero bias: region proposal network (docs/method.md, 1.4).
    SmallNormal,
}

/// Configuration of a [`Conv2d`].
#[derive(Clone, Copy, Debug)]
pub struct Conv2dConfig {
    /// Input and output channels.
    pub channels: [usize; 2],
    /// Kernel side.
    pub kernel: usize,
    /// Stride. Default: 1
    pub stride: usize,
    /// Whether there is a bias. Default: true
    pub bias: bool,
    /// Initial weights. Default: PyTorch's
    pub init: ConvInit,
}

impl Conv2dConfig {
    /// A convolution that keeps the size (padding `kernel / 2`, stride 1) and has a bias.
    pub fn new(channels: [usize; 2], kernel: usize) -> Self {
        Self { channels, kernel, stride: 1, bias: true, init: ConvInit::Uniform }
    }

    /// A bias-free convolution before a batch norm.
    pub fn before_norm(channels: [usize; 2], kernel: usize, stride: usize) -> Self {
        Self { channels, kernel, stride, bias: false, init: ConvInit::KaimingFanOut }
    }

    /// With other initial weights.
    pub fn with_init(mut self, init: ConvInit) -> Self {
        self.init = init;
        self
    }

    /// Initialises the layer; the weights are drawn when first used.
    pub fn init(&self, device: &Device) -> Conv2d {
        let [inputs, outputs] = self.channels;
        let area = self.kernel * self.kernel;
        let (fan_in, fan_out) = (inputs * area, outputs * area);
        let bound = 1.0 / (fan_in as f64).sqrt();
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        let (weight, bias) = match self.init {
            ConvInit::KaimingFanOut => {
                (Initializer::Normal { mean: 0.0, std: (2.0 / fan_out as f64).sqrt() }, uniform)
            }
            ConvInit::Uniform => (uniform.clone(), uniform),
            ConvInit::SmallNormal => {
                (Initializer::Normal { mean: 0.0, std: 0.01 }, Initializer::Zeros)
            }
        };
        Conv2d {
            weight: weight.init([outputs, inputs, self.kernel, self.kernel], device),
            bias: self.bias.then(|| bias.init([outputs], device)),
            stride: self.stride,
            padding: self.kernel / 2,
        }
    }
}

/// A 2-D convolution with optional bias.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[out, in, kernel, kernel]`.
    pub weight: Param<Tensor<4>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// Convolves `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.forward_fused(input, None, false)
    }

    /// Convolution, then `+ residual` and ReLU where asked for, in one pass where that is faster.
    pub fn forward_fused(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activate: bool,
    ) -> Tensor<4> {
        let (weight, bias) = (self.weight.val(), self.bias.as_ref().map(Param::val));
        let steps = [self.stride, self.padding];
        match residual {
            None => ops::conv2d(input, weight, bias, steps, activate),
            Some(residual) => {
                let output = ops::conv2d(input, weight, bias, steps, false) + residual;
                if activate { relu(output) } else { output }
            }
        }
    }

    /// The layer with weight and bias replaced (batch norm folded into it).
    pub fn with_weights(self, weight: Tensor<4>, bias: Tensor<1>) -> Self {
        Self { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)), ..self }
    }
}
