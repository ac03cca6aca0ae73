//! Gradients of the transposed convolution with respect to its input, weights and bias.

use super::{output_start, taps_before_outputs};
use crate::kernels::epilogue;
use crate::kernels::matmul::{add_transposed_matmul, matmul};
use crate::kernels::parallel;

/// Gradients of a layer with bias and ReLU.
pub struct ConvTransposeGradient {
    /// The gradient before the ReLU, `[batch, 2 height, 2 width, out]`.
    gradient: Vec<f32>,
    /// The same in the order of the product, `[pixels, 2, 2, out]`.
    ordered: Vec<f32>,
    /// `[batch, height, width, in]`.
    input: [usize; 4],
    outputs: usize,
}

impl ConvTransposeGradient {
    /// From the gradient of the output and the output itself, both channels last, and the input's size.
    pub fn new(gradient: &[f32], output: &[f32], input: [usize; 4], outputs: usize) -> Self {
        let gradient = epilogue::relu_gradient(gradient, output);
        let width = input[2];
        let mut ordered = vec![0.0; gradient.len()];
        parallel::for_each_chunk(&mut ordered, 4 * outputs, |pixel, values| {
            let (row, column) = (pixel / width, pixel % width);
            for (tap, values) in values.chunks_exact_mut(2 * outputs).enumerate() {
                // Rows run on from image to image.
                let start = output_start(row, tap, width, outputs) + 2 * column * outputs;
                values.copy_from_slice(&gradient[start..][..2 * outputs]);
            }
        });
        Self { gradient, ordered, input, outputs }
    }

    /// Gradient of the input, from `weight` `[in, out, 2, 2]`.
    pub fn input_gradient(&self, weight: &[f32]) -> Vec<f32> {
        let ([batch, height, width, channels], outputs) = (self.input, self.outputs);
        let image = height * width;
        let weights = taps_before_outputs(weight, outputs);
        let turned = crate::kernels::transpose(&weights, 4 * outputs);
        let mut values = vec![0.0; batch * image * channels];
        parallel::for_each_chunk(&mut values, image * channels, |index, out| {
            let left = &self.ordered[index * image * 4 * outputs..][..image * 4 * outputs];
            matmul(out, left, &turned, [image, 4 * outputs, channels]);
        });
        values
    }

    /// Gradient of the weights, `[in, out, 2, 2]`, from the input.
    pub fn weight_gradient(&self, input: &[f32]) -> Vec<f32> {
        let ([batch, height, width, channels], outputs) = (self.input, self.outputs);
        let pixels = batch * height * width;
        let sums = parallel::sum_over_parts(pixels, channels * 4 * outputs, |range, sums| {
            let left = &input[range.start * channels..range.end * channels];
            let right = &self.ordered[range.start * 4 * outputs..range.end * 4 * outputs];
            add_transposed_matmul(sums, left, right, [channels, range.len(), 4 * outputs]);
        });
        let mut values = vec![0.0; sums.len()];
        for (input, sums) in sums.chunks_exact(4 * outputs).enumerate() {
            for (index, sum) in sums.iter().enumerate() {
                values[(input * outputs + index % outputs) * 4 + index / outputs] = *sum;
            }
        }
        values
    }

    /// Gradient of the bias.
    pub fn bias_gradient(&self) -> Vec<f32> {
        epilogue::bias_gradient(&self.gradient, self.outputs)
    }
}
