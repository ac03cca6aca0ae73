//! Batch normalisation with the statistics the two training stages need (docs/method.md, 4).

use burn::module::{Module, Param, RunningState};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::network::architecture::BATCH_NORM_EPSILON as EPSILON;
use crate::network::conv::Conv2d;

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
    /// Weight of a batch in the running statistics.
    #[module(skip)]
    pub momentum: f64,
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
            momentum: MOMENTUM,
        }
    }

    /// Normalises `[batch, channels, height, width]`.
    pub fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.forward_fused(input, None, false)
    }

    /// Normalisation, then `+ residual` and ReLU where asked for.
    pub fn forward_fused(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activate: bool,
    ) -> Tensor<4> {
        device::forward_fused(self, input, residual, activate)
    }

    fn forward_general(
        &self,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activate: bool,
    ) -> Tensor<4> {
        let (mean, variance) = match self.statistics {
            Statistics::Batch => {
                let (mean, variance) = batch_statistics(&input);
                self.update(&input, mean.clone().detach(), variance.clone().detach());
                (mean, variance)
            }
            Statistics::Running => (self.running_mean.value_sync(), self.running_var.value_sync()),
        };
        let scale = self.weight.val() / (variance + EPSILON).sqrt();
        let shift = self.bias.val() - mean * scale.clone();
        let mut output = input * broadcast(scale) + broadcast(shift);
        if let Some(residual) = residual {
            output = output + residual;
        }
        if activate { relu(output) } else { output }
    }

    /// Blends mean and biased variance of a batch into the running statistics; of the variance
    /// PyTorch keeps the unbiased one.
    fn update(&self, input: &Tensor<4>, mean: Tensor<1>, variance: Tensor<1>) {
        let [batch, _, height, width] = input.dims();
        let count = (batch * height * width) as f64;
        let blend = |running: &RunningState<Tensor<1>>, value: Tensor<1>| {
            running.update(running.value_sync() * (1.0 - self.momentum) + value * self.momentum);
            // burn holds an update back until it is asked for, and saving a module does not ask.
            running.value_sync();
        };
        blend(&self.running_mean, mean);
        blend(&self.running_var, variance * (count / (count - 1.0).max(1.0)));
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

/// Mean and biased variance of the batch.
fn batch_statistics(input: &Tensor<4>) -> (Tensor<1>, Tensor<1>) {
    let [batch, channels, height, width] = input.dims();
    let flat = input.clone().swap_dims(0, 1).reshape([channels, batch * height * width]);
    let mean = flat.clone().mean_dim(1);
    let centered = flat - mean.clone();
    let variance = centered.clone().mul(centered).mean_dim(1);
    (mean.reshape([channels]), variance.reshape([channels]))
}

#[cfg(not(target_arch = "wasm32"))]
mod device {
    use super::*;
    use crate::kernels::batch_norm::ChannelStatistics;
    use crate::network::cpu_ops::batch_norm::{batch_norm, statistics};
    use crate::network::cpu_ops::is_cpu_device;
    use crate::network::cpu_values::to_cpu_vec;
    use burn::tensor::TensorData;

    pub fn forward_fused(
        norm: &BatchNorm,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activate: bool,
    ) -> Tensor<4> {
        let device = input.device();
        if !is_cpu_device(&device) {
            return norm.forward_general(input, residual, activate);
        }
        let of_batch = norm.statistics == Statistics::Batch;
        let used = if of_batch {
            let found = statistics(&input);
            let device = norm.running_mean.value_sync().device();
            let vector = |values: &[f32]| {
                Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device)
            };
            norm.update(&input, vector(&found.mean), vector(&found.variance));
            found
        } else {
            ChannelStatistics {
                mean: to_cpu_vec(norm.running_mean.value_sync()),
                variance: to_cpu_vec(norm.running_var.value_sync()),
            }
        };
        let affine = [norm.weight.val(), norm.bias.val()];
        batch_norm(input, affine, residual, used, of_batch, activate)
    }
}

#[cfg(target_arch = "wasm32")]
mod device {
    use super::*;

    pub fn forward_fused(
        norm: &BatchNorm,
        input: Tensor<4>,
        residual: Option<Tensor<4>>,
        activate: bool,
    ) -> Tensor<4> {
        norm.forward_general(input, residual, activate)
    }
}

fn broadcast(values: Tensor<1>) -> Tensor<4> {
    let [channels] = values.dims();
    values.reshape([1, channels, 1, 1])
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::network::conv::Conv2dConfig;
    use crate::network::cpu_values::to_cpu_vec;
    use burn::tensor::TensorData;

    fn input(device: &Device) -> Tensor<4> {
        let values: Vec<f32> =
            (0..2 * 3 * 4 * 5).map(|i| ((i * 29) % 37) as f32 / 9.0 - 2.0).collect();
        Tensor::from_data(TensorData::new(values, [2, 3, 4, 5]), device)
    }

    /// A layer with statistics and affine parameters that are all different.
    fn layer(device: &Device) -> BatchNorm {
        let vector = |values: [f32; 3]| {
            Tensor::<1>::from_data(TensorData::new(values.to_vec(), [3]), device)
        };
        BatchNorm {
            weight: Param::from_tensor(vector([1.5, -0.5, 2.0])),
            bias: Param::from_tensor(vector([0.1, 0.2, -0.3])),
            running_mean: RunningState::new(vector([0.3, -0.2, 0.7])),
            running_var: RunningState::new(vector([1.7, 0.4, 2.2])),
            statistics: Statistics::Running,
            momentum: MOMENTUM,
        }
    }

    fn channel(values: &[f32], channel: usize) -> Vec<f64> {
        let planes = values.chunks_exact(20).enumerate();
        planes
            .filter(|(i, _)| i % 3 == channel)
            .flat_map(|(_, p)| p.iter().map(|v| f64::from(*v)))
            .collect()
    }

    #[test]
    fn batch_statistics_normalise_and_update_the_running_ones_with_the_unbiased_variance() {
        let device = Device::flex();
        let norm = BatchNorm { statistics: Statistics::Batch, ..BatchNorm::init(3, &device) };
        let values = to_cpu_vec(input(&device));
        let output = to_cpu_vec(norm.forward(input(&device)));
        let (mean, var) =
            (to_cpu_vec(norm.running_mean.value_sync()), to_cpu_vec(norm.running_var.value_sync()));
        for c in 0..3 {
            let x = channel(&values, c);
            let n = x.len() as f64;
            let expected_mean = x.iter().sum::<f64>() / n;
            let squares: f64 = x.iter().map(|v| (v - expected_mean).powi(2)).sum();
            assert!((f64::from(mean[c]) - 0.1 * expected_mean).abs() < 1e-5);
            assert!((f64::from(var[c]) - (0.9 + 0.1 * squares / (n - 1.0))).abs() < 1e-5);
            let y = channel(&output, c);
            assert!((y.iter().sum::<f64>() / n).abs() < 1e-5);
            assert!((y.iter().map(|v| v * v).sum::<f64>() / n - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn what_is_saved_are_the_latest_statistics() {
        let device = Device::flex();
        let norm = BatchNorm { statistics: Statistics::Batch, ..BatchNorm::init(3, &device) };
        norm.forward(input(&device));
        let saved = crate::network::parameters::state_of(&norm);
        let mean = to_cpu_vec(norm.running_mean.value_sync());
        assert_eq!(saved.tensors["running_mean"].values, mean);
        assert!(mean.iter().all(|value| *value != 0.0));
    }

    #[test]
    fn running_statistics_stay_as_they_are_and_let_gradients_through() {
        let device = Device::flex().autodiff();
        let norm = layer(&device);
        let x = input(&device).require_grad();
        let loss = norm.forward(x.clone()).powf_scalar(2.0).sum();
        let gradients = loss.backward();
        assert_eq!(to_cpu_vec(norm.running_mean.value_sync()), [0.3, -0.2, 0.7]);

        // Central differences of the same loss.
        let plain = Device::flex();
        let loss_of = |norm: &BatchNorm, x: Tensor<4>| -> f64 {
            to_cpu_vec(norm.forward(x)).iter().map(|v| f64::from(*v).powi(2)).sum()
        };
        let step = 1e-2f32;
        let shifted = |delta: f32| {
            let mut norm = layer(&plain);
            let add = Tensor::<1>::from_data(TensorData::new(vec![0.0, delta, 0.0], [3]), &plain);
            norm.weight = Param::from_tensor(norm.weight.val() + add);
            loss_of(&norm, input(&plain))
        };
        let expected = (shifted(step) - shifted(-step)) / f64::from(2.0 * step);
        let weight = norm.weight.val().grad(&gradients).map(to_cpu_vec).unwrap_or_default();
        assert!((f64::from(weight[1]) - expected).abs() < 1e-2 * expected.abs().max(1.0));

        let values = to_cpu_vec(input(&plain));
        let at = 47;
        let moved = |delta: f32| {
            let mut values = values.clone();
            values[at] += delta;
            let data = TensorData::new(values, [2, 3, 4, 5]);
            loss_of(&layer(&plain), Tensor::from_data(data, &plain))
        };
        let expected = (moved(step) - moved(-step)) / f64::from(2.0 * step);
        let reached = x.grad(&gradients).map(to_cpu_vec).unwrap_or_default();
        assert!((f64::from(reached[at]) - expected).abs() < 1e-2 * expected.abs().max(1.0));
    }

    #[test]
    fn folding_into_the_convolution_changes_nothing() {
        let device = Device::flex();
        let conv = Conv2dConfig::before_norm([3, 3], 3, 1).init(&device);
        let norm = layer(&device);
        let expected = to_cpu_vec(norm.forward(conv.forward(input(&device))));
        let folded = to_cpu_vec(norm.fold_into(conv).forward(input(&device)));
        for (a, e) in folded.iter().zip(expected) {
            assert!((a - e).abs() < 1e-4, "{a} is not {e}");
        }
    }
}
