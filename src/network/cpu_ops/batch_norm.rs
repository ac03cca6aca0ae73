//! [`crate::kernels::batch_norm`] in burn's graph.

use burn::tensor::Tensor;

use crate::kernels::batch_norm::{ChannelStatistics, CpuBatchNorm};
use crate::network::architecture::BATCH_NORM_EPSILON as EPSILON;
use crate::network::cpu_ops::op::{
    ChannelsLast, CpuOp, CpuTensor, Input, OpContext, SavedForBackward, apply, contiguous,
    from_channels_last, from_values,
};

/// Statistics over batch, rows and columns of `[batch, channels, height, width]`.
pub fn statistics(input: &Tensor<4>) -> ChannelStatistics {
    let [_, channels, _, _] = input.dims();
    let found: Tensor<1> = apply(vec![input.clone().detach().into()], Statistics);
    let mut mean = found.into_data().try_into_vec_as::<f32>().unwrap_or_default();
    let variance = mean.split_off(channels);
    ChannelStatistics { mean, variance }
}

/// Means, then variances; a constant for the graph.
#[derive(Debug)]
struct Statistics;

impl CpuOp for Statistics {
    fn forward(&self, inputs: &[CpuTensor]) -> (CpuTensor, SavedForBackward) {
        let input = ChannelsLast::of(&inputs[0]);
        let channels = input.dims[3];
        let ChannelStatistics { mean, variance } = ChannelStatistics::of(input.values(), channels);
        (from_values([mean, variance].concat(), [2 * channels]), SavedForBackward::default())
    }

    fn backward(&self, _: &OpContext, _: CpuTensor, _: &[bool]) -> Vec<Option<CpuTensor>> {
        vec![None]
    }
}

/// `weight * (x - mean) / sqrt(variance + epsilon) + bias`, then `+ residual` and ReLU if asked for.
///
/// `of_batch` says that the statistics are those of this very input, so that gradients flow through
/// them too; else they are constants.
pub fn batch_norm(
    input: Tensor<4>,
    [weight, bias]: [Tensor<1>; 2],
    residual: Option<Tensor<4>>,
    statistics: ChannelStatistics,
    of_batch: bool,
    activate: bool,
) -> Tensor<4> {
    let mut tensors: Vec<Input> = vec![input.into(), weight.into(), bias.into()];
    tensors.extend(residual.map(Input::from));
    let scale = statistics.variance.iter().map(|v| (1.0 / (f64::from(*v) + EPSILON).sqrt()) as f32);
    let scale = scale.collect();
    apply(tensors, CpuBatchNorm { mean: statistics.mean, scale, of_batch, activate })
}

impl CpuOp for CpuBatchNorm {
    fn forward(&self, inputs: &[CpuTensor]) -> (CpuTensor, SavedForBackward) {
        let input = ChannelsLast::of(&inputs[0]);
        let (weight, bias) = (contiguous(&inputs[1]), contiguous(&inputs[2]));
        let residual = inputs.get(3).map(ChannelsLast::of);
        let residual = residual.as_ref().map(ChannelsLast::values);
        let affine = [weight.storage(), bias.storage()];
        let output = CpuBatchNorm::forward(self, input.values(), affine, residual);
        (from_channels_last(output, input.dims), SavedForBackward::default())
    }

    fn backward(
        &self,
        context: &OpContext,
        gradient: CpuTensor,
        wanted: &[bool],
    ) -> Vec<Option<CpuTensor>> {
        let [input, output, gradient] =
            [&context.inputs[0], &context.output, &gradient].map(ChannelsLast::of);
        let weight = contiguous(&context.inputs[1]);
        let (dims, channels) = (gradient.dims, self.mean.len());
        let gradients = self.gradient(input.values(), output.values(), gradient.values());
        let mut found = vec![None; wanted.len()];
        if wanted[0] {
            let values = gradients.input_gradient(weight.storage());
            found[0] = Some(from_channels_last(values, dims));
        }
        if wanted[1] {
            found[1] = Some(from_values(gradients.weight_gradient(), [channels]));
        }
        if wanted[2] {
            found[2] = Some(from_values(gradients.bias_gradient(), [channels]));
        }
        if wanted.get(3) == Some(&true) {
            found[3] = Some(from_channels_last(gradients.residual_gradient(), dims));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_ops::op::check::{alternating, gradients_are_differences};

    #[test]
    fn gradients_are_differences_in_each_mode() {
        let shapes = [vec![2, 3, 4, 5], vec![3], vec![3], vec![2, 3, 4, 5]];
        for of_batch in [false, true] {
            for activate in [false, true] {
                gradients_are_differences(&shapes, 1e-2, |tensors| {
                    let statistics = if of_batch {
                        statistics(&tensors[0])
                    } else {
                        let (mean, variance) = (vec![0.1, -0.2, 0.3], vec![0.5, 1.5, 0.9]);
                        ChannelStatistics { mean, variance }
                    };
                    let vector = |index: usize| tensors[index].clone().reshape([3]);
                    let affine = [vector(1), vector(2) + alternating(3, 20.0)];
                    let residual = Some(tensors[3].clone());
                    batch_norm(tensors[0].clone(), affine, residual, statistics, of_batch, activate)
                });
            }
        }
    }
}
