//! Batch normalisation with residual and ReLU in one pass, and its gradients; values lie channels last.
//!
//! Only training needs it: at inference the running statistics are folded into the convolution before.

use std::borrow::Cow;

use crate::kernels::epilogue::relu_gradient;
use crate::kernels::parallel;

/// Pixels a thread takes at a time.
const PART: usize = 512;

/// Mean and biased variance per channel.
#[derive(Clone, Debug)]
pub struct ChannelStatistics {
    /// Means.
    pub mean: Vec<f32>,
    /// Biased variances.
    pub variance: Vec<f32>,
}

impl ChannelStatistics {
    /// Over batch, rows and columns.
    pub fn of(values: &[f32], channels: usize) -> Self {
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
        Self { mean: mean.collect(), variance: variance.collect() }
    }
}

/// `weight * (x - mean) * scale + bias`, then the residual and ReLU if asked for.
#[derive(Clone, Debug)]
pub struct CpuBatchNorm {
    /// Mean per channel.
    pub mean: Vec<f32>,
    /// One over the standard deviation.
    pub scale: Vec<f32>,
    /// Whether the statistics are those of the very input, so that gradients flow through them, too.
    pub of_batch: bool,
    /// ReLU.
    pub activate: bool,
}

/// Gradients of a [`CpuBatchNorm`].
pub struct BatchNormGradient<'a> {
    norm: &'a CpuBatchNorm,
    input: &'a [f32],
    /// The gradient before the ReLU, which is that of the residual.
    gradient: Cow<'a, [f32]>,
    /// Sum of the gradient, per channel.
    plain: Vec<f32>,
    /// Sum of the gradient times the centred input, per channel.
    weighted: Vec<f32>,
}

impl CpuBatchNorm {
    /// Normalises the input.
    pub fn forward(
        &self,
        input: &[f32],
        [weight, bias]: [&[f32]; 2],
        residual: Option<&[f32]>,
    ) -> Vec<f32> {
        let channels = self.mean.len();
        let scale: Vec<f32> = weight.iter().zip(&self.scale).map(|(w, s)| w * s).collect();
        let shift: Vec<f32> = (0..channels).map(|c| bias[c] - self.mean[c] * scale[c]).collect();
        let mut output = vec![0.0; input.len()];
        let part = PART * channels;
        parallel::for_each_chunk(&mut output, part, |index, out| {
            let start = index * part;
            for (offset, pixel) in out.chunks_exact_mut(channels).enumerate() {
                let start = start + offset * channels;
                let values = &input[start..][..channels];
                for c in 0..channels {
                    pixel[c] = values[c] * scale[c] + shift[c];
                }
                if let Some(residual) = residual {
                    let residual = &residual[start..][..channels];
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
        output
    }

    /// Its gradients, from the input, the output and the gradient of the output.
    pub fn gradient<'a>(
        &'a self,
        input: &'a [f32],
        output: &[f32],
        gradient: &'a [f32],
    ) -> BatchNormGradient<'a> {
        let gradient = if self.activate {
            Cow::Owned(relu_gradient(gradient, output))
        } else {
            Cow::Borrowed(gradient)
        };
        let channels = self.mean.len();
        let sums =
            parallel::sum_over_parts(gradient.len() / channels, 2 * channels, |range, sums| {
                let (plain, weighted) = sums.split_at_mut(channels);
                let values = &input[range.start * channels..range.end * channels];
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
        let (plain, weighted) = (plain.to_vec(), weighted.to_vec());
        BatchNormGradient { norm: self, input, gradient, plain, weighted }
    }
}

impl BatchNormGradient<'_> {
    /// Gradient of the input: `weight * scale * (dy - mean(dy) - normalised * mean(dy * normalised))` where the
    /// statistics are those of the batch, `weight * scale * dy` elsewhere.
    pub fn input_gradient(&self, weight: &[f32]) -> Vec<f32> {
        let CpuBatchNorm { mean, scale, of_batch, .. } = self.norm;
        let channels = mean.len();
        let count = (self.gradient.len() / channels) as f32;
        let factor: Vec<f32> = (0..channels).map(|c| weight[c] * scale[c]).collect();
        let (mut slope, mut shift) = (vec![0.0; channels], vec![0.0; channels]);
        if *of_batch {
            for c in 0..channels {
                let squared = scale[c] * scale[c];
                slope[c] = factor[c] * squared * self.weighted[c] / count;
                shift[c] = slope[c] * mean[c] - factor[c] * self.plain[c] / count;
            }
        }
        let mut values = vec![0.0; self.gradient.len()];
        let part = PART * channels;
        parallel::for_each_chunk(&mut values, part, |index, out| {
            for (offset, pixel) in out.chunks_exact_mut(channels).enumerate() {
                let start = index * part + offset * channels;
                let gradient = &self.gradient[start..][..channels];
                let input = &self.input[start..][..channels];
                for c in 0..channels {
                    pixel[c] = factor[c] * gradient[c] - slope[c] * input[c] + shift[c];
                }
            }
        });
        values
    }

    /// Gradient of the weight.
    pub fn weight_gradient(&self) -> Vec<f32> {
        self.weighted.iter().zip(&self.norm.scale).map(|(sum, scale)| sum * scale).collect()
    }

    /// Gradient of the bias.
    pub fn bias_gradient(&self) -> Vec<f32> {
        self.plain.clone()
    }

    /// Gradient of the residual.
    pub fn residual_gradient(self) -> Vec<f32> {
        self.gradient.into_owned()
    }
}
