//! Batch normalisation with the statistics the two training stages need (specification 13).

use burn::module::{Module, Param, RunningState};
use burn::tensor::{Device, Tensor};

use super::conv::Conv2d;

/// Added to the variance (PyTorch's default).
pub const EPSILON: f64 = 1e-5;
/// Weight of a batch in the running statistics (PyTorch's default).
pub const MOMENTUM: f64 = 0.1;

/// Which statistics normalise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statistics {
    /// Those of the batch; the running ones are updated. Stage I training.
    Batch,
    /// The running ones, constant. Inference, and stage II training, where gradients still reach
    /// the affine parameters and the layers below.
    #[default]
    Running,
}

/// `y = weight * (x - mean) / sqrt(var + epsilon) + bias`, channel by channel.
///
/// burn's own layer takes batch statistics whenever gradients are recorded, and keeps the biased
/// variance; the reference freezes the statistics in stage II and keeps the unbiased one.
#[derive(Module, Debug)]
pub struct BatchNorm {
    /// Scale, `[channels]`.
    pub weight: Param<Tensor<1>>,
    /// Shift, `[channels]`.
    pub bias: Param<Tensor<1>>,
    /// `[channels]`.
    pub running_mean: RunningState<Tensor<1>>,
    /// `[channels]`.
    pub running_var: RunningState<Tensor<1>>,
    /// Which statistics normalise.
    #[module(skip)]
    pub statistics: Statistics,
}

impl BatchNorm {
    /// A layer that changes nothing yet: scale 1, shift 0, mean 0, variance 1.
    pub fn init(channels: usize, device: &Device) -> Self {
        Self {
            weight: Param::from_tensor(Tensor::ones([channels], device)),
            bias: Param::from_tensor(Tensor::zeros([channels], device)),
            running_mean: RunningState::new(Tensor::zeros([channels], device)),
            running_var: RunningState::new(Tensor::ones([channels], device)),
            statistics: Statistics::default(),
        }
    }

    /// Normalises `[batch, channels, height, width]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let (mean, variance) = match self.statistics {
            Statistics::Batch => self.batch_statistics(&input),
            Statistics::Running => (self.running_mean.value_sync(), self.running_var.value_sync()),
        };
        let scale = self.weight.val() / (variance + EPSILON).sqrt();
        let shift = self.bias.val() - mean * scale.clone();
        input * broadcast(scale) + broadcast(shift)
    }

    /// Mean and biased variance of the batch; updates the running statistics with the mean and the
    /// unbiased variance, as PyTorch does.
    fn batch_statistics(&self, input: &Tensor<4>) -> (Tensor<1>, Tensor<1>) {
        let [batch, channels, height, width] = input.dims();
        let count = (batch * height * width) as f64;
        let flat = input.clone().swap_dims(0, 1).reshape([channels, batch * height * width]);
        let mean = flat.clone().mean_dim(1);
        let centered = flat - mean.clone();
        let variance = centered.clone().mul(centered).mean_dim(1);
        let (mean, variance) = (mean.reshape([channels]), variance.reshape([channels]));

        let blend = |running: &RunningState<Tensor<1>>, value: Tensor<1>| {
            running.update(running.value_sync() * (1.0 - MOMENTUM) + value.detach() * MOMENTUM);
        };
        blend(&self.running_mean, mean.clone());
        blend(&self.running_var, variance.clone() * (count / (count - 1.0).max(1.0)));
        (mean, variance)
    }

    /// Folds the running statistics and the affine parameters into the convolution before.
    pub fn fold_into(&self, conv: Conv2d) -> Conv2d {
        let scale = self.weight.val() / (self.running_var.value_sync() + EPSILON).sqrt();
        let shift = self.bias.val() - self.running_mean.value_sync() * scale.clone();
        let [outputs] = scale.dims();
        let weight = conv.weight.val() * scale.reshape([outputs, 1, 1, 1]);
        conv.with_weights(weight, shift)
    }
}

fn broadcast(values: Tensor<1>) -> Tensor<4> {
    let [channels] = values.dims();
    values.reshape([1, channels, 1, 1])
}
