//! Batch normalisation with residual and ReLU in one pass, and its gradients.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::kernels::parallel;
use crate::network::batch_norm::EPSILON;
use crate::network::cpu_ops::conv::where_positive;
use crate::network::cpu_ops::op::{
    ChannelsLast, CpuOp, HostTensor, Input, Recorded, Saved, apply, contiguous, from_channels_last,
    from_values,
};

/// Mean and biased variance per channel.
#[derive(Clone, Debug)]
pub struct ChannelStatistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Biased variances.
    pub variance: Vec<f32>,
}

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
    fn forward(&self, inputs: &[HostTensor], _: bool) -> (HostTensor, Saved) {
        let input = ChannelsLast::of(&inputs[0]);
        let channels = input.dims[3];
        let values = input.values();
        let count = (values.len() / channels) as f64;
        // Around the first pixel, so that large means do not eat small variances.
        let centre = &values[..channels];
        let parts = parallel::map_parts(values.len() / channels, |range| {
            let mut totals = vec![0.0f64; 2 * channels];
            // Partial sums in f32 over few pixels, totals in f64.
            for run in values[range.start * channels..range.end * channels].chunks(64 * channels) {
                let mut partial = vec![0.0f32; 2 * channels];
                let (first, second) = partial.split_at_mut(channels);
                for pixel in run.chunks_exact(channels) {
                    for c in 0..channels {
                        let value = pixel[c] - centre[c];
                        first[c] += value;
                        second[c] += value * value;
                    }
                }
                for (total, partial) in totals.iter_mut().zip(&partial) {
                    *total += f64::from(*partial);
                }
            }
            totals
        });
        let total = |at: usize| parts.iter().map(|part| part[at]).sum::<f64>() / count;
        let mean = (0..channels).map(|c| (total(c) + f64::from(centre[c])) as f32);
        let variance =
            (0..channels).map(|c| (total(channels + c) - total(c) * total(c)).max(0.0) as f32);
        (from_values(mean.chain(variance).collect(), [2 * channels]), Saved::default())
    }

    fn backward(&self, _: &Recorded, _: HostTensor, _: &[bool]) -> Vec<Option<HostTensor>> {
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
    apply(tensors, Normalisation { mean: statistics.mean, scale, of_batch, activate })
}

#[derive(Debug)]
struct Normalisation {
    mean: Vec<f32>,
    /// One over the standard deviation.
    scale: Vec<f32>,
    of_batch: bool,
    activate: bool,
}

impl CpuOp for Normalisation {
    fn forward(&self, inputs: &[HostTensor], _: bool) -> (HostTensor, Saved) {
        let input = ChannelsLast::of(&inputs[0]);
        let (weight, bias) = (contiguous(&inputs[1]), contiguous(&inputs[2]));
        let residual = inputs.get(3).map(ChannelsLast::of);
        let channels = self.mean.len();
        let scale: Vec<f32> =
            weight.storage::<f32>().iter().zip(&self.scale).map(|(w, s)| w * s).collect();
        let shift: Vec<f32> =
            (0..channels).map(|c| bias.storage::<f32>()[c] - self.mean[c] * scale[c]).collect();
        let mut output = vec![0.0; input.values().len()];
        let part = 512 * channels;
        parallel::for_each_chunk(&mut output, part, |index, out| {
            let start = index * part;
            for (offset, pixel) in out.chunks_exact_mut(channels).enumerate() {
                let start = start + offset * channels;
                let values = &input.values()[start..][..channels];
                for c in 0..channels {
                    pixel[c] = values[c] * scale[c] + shift[c];
                }
                if let Some(residual) = &residual {
                    let residual = &residual.values()[start..][..channels];
                    for c in 0..channels {
                        pixel[c] += residual[c];
                    }
                }
                if self.activate {
                    for value in pixel {
                        *value = value.max(0.0);
                    }
                }
            }
        });
        (from_channels_last(output, input.dims), Saved::default())
    }

    fn backward(
        &self,
        recorded: &Recorded,
        gradient: HostTensor,
        wanted: &[bool],
    ) -> Vec<Option<HostTensor>> {
        let input = ChannelsLast::of(&recorded.inputs[0]);
        let weight = contiguous(&recorded.inputs[1]);
        let weight: &[f32] = weight.storage();
        let gradient = ChannelsLast::of(&gradient);
        let dims = gradient.dims;
        let gradient = if self.activate {
            let output = ChannelsLast::of(&recorded.output);
            Arc::new(where_positive(gradient.values(), output.values()))
        } else {
            Arc::new(gradient.values().to_vec())
        };
        let channels = self.mean.len();
        let pixels = gradient.len() / channels;
        // Per channel: the sum of the gradient, and of the gradient times the normalised input.
        let sums = parallel::sum_over_parts(pixels, 2 * channels, |range, sums| {
            let (plain, weighted) = sums.split_at_mut(channels);
            let values = &input.values()[range.start * channels..range.end * channels];
            let gradient = &gradient[range.start * channels..range.end * channels];
            for (value, gradient) in
                values.chunks_exact(channels).zip(gradient.chunks_exact(channels))
            {
                for c in 0..channels {
                    plain[c] += gradient[c];
                    weighted[c] += gradient[c] * (value[c] - self.mean[c]);
                }
            }
        });
        let (plain, weighted) = sums.split_at(channels);
        let mut found = vec![None; wanted.len()];
        if wanted[0] {
            let mut values = vec![0.0; gradient.len()];
            // dx = weight * scale * (dy - mean(dy) - normalised * mean(dy * normalised))
            let count = pixels as f32;
            let factor: Vec<f32> = (0..channels).map(|c| weight[c] * self.scale[c]).collect();
            let (mut slope, mut shift) = (vec![0.0; channels], vec![0.0; channels]);
            if self.of_batch {
                for c in 0..channels {
                    let squared = self.scale[c] * self.scale[c];
                    slope[c] = factor[c] * squared * weighted[c] / count;
                    shift[c] = slope[c] * self.mean[c] - factor[c] * plain[c] / count;
                }
            }
            let part = 512 * channels;
            parallel::for_each_chunk(&mut values, part, |index, out| {
                for (offset, pixel) in out.chunks_exact_mut(channels).enumerate() {
                    let start = index * part + offset * channels;
                    let gradient = &gradient[start..][..channels];
                    let input = &input.values()[start..][..channels];
                    for c in 0..channels {
                        pixel[c] = factor[c] * gradient[c] - slope[c] * input[c] + shift[c];
                    }
                }
            });
            found[0] = Some(from_channels_last(values, dims));
        }
        if wanted[1] {
            let values = weighted.iter().zip(&self.scale).map(|(sum, scale)| sum * scale);
            found[1] = Some(from_values(values.collect(), [channels]));
        }
        if wanted[2] {
            found[2] = Some(from_values(plain.to_vec(), [channels]));
        }
        if wanted.get(3) == Some(&true) {
            let values = Arc::try_unwrap(gradient).unwrap_or_else(|shared| shared.to_vec());
            found[3] = Some(from_channels_last(values, dims));
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
