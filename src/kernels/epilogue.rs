//! What follows a sum before it is stored: bias, residual, ReLU; and its gradients.

use crate::kernels::lanes::{Sum, SumThenRelu, update};

/// What happens to a sum before it is stored.
pub struct Epilogue<'a> {
    /// Added to every pixel, per channel.
    pub bias: &'a [f32],
    /// Added pixel by pixel, channels last, the size of the output.
    pub residual: Option<&'a [f32]>,
    /// ReLU.
    pub activate: bool,
}

impl Epilogue<'_> {
    /// Finishes the channels of the pixel that starts at `offset` in the output.
    pub fn apply(&self, pixel: &mut [f32], offset: usize) {
        let residual = self.residual.map(|values| &values[offset..]);
        match (residual, self.activate) {
            (None, false) => update(pixel, self.bias, &Sum),
            (None, true) => update(pixel, self.bias, &SumThenRelu),
            (Some(residual), activate) => {
                update(pixel, self.bias, &Sum);
                if activate {
                    update(pixel, residual, &SumThenRelu);
                } else {
                    update(pixel, residual, &Sum);
                }
            }
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod gradient {
    use crate::kernels::parallel;

    /// The gradient before a ReLU: that after it where its output is positive, zero elsewhere.
    pub fn relu_gradient(gradient: &[f32], output: &[f32]) -> Vec<f32> {
        let mut values = vec![0.0; gradient.len()];
        parallel::for_each_chunk(&mut values, 1 << 16, |index, chunk| {
            let start = index << 16;
            let sources = gradient[start..].iter().zip(&output[start..]);
            for (value, (gradient, output)) in chunk.iter_mut().zip(sources) {
                *value = if *output > 0.0 { *gradient } else { 0.0 };
            }
        });
        values
    }

    /// The gradient of a bias: the sum over pixels, per channel, of values that lie channels last.
    pub fn bias_gradient(values: &[f32], channels: usize) -> Vec<f32> {
        let pixels = values.len() / channels;
        parallel::sum_over_parts(pixels, channels, |range, sums| {
            for pixel in values[range.start * channels..range.end * channels].chunks_exact(channels)
            {
                for (sum, value) in sums.iter_mut().zip(pixel) {
                    *sum += value;
                }
            }
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub use gradient::{bias_gradient, relu_gradient};
