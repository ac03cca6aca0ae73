//! Transposed convolution, kernel 2, stride 2, with bias and ReLU.
//!
//! Windows do not overlap, so it is one matrix product per pixel: `[in]` to `[2, 2, out]`.

#[cfg(not(target_arch = "wasm32"))]
mod gradient;

use crate::kernels::lanes::{self, SumThenRelu};
use crate::kernels::matmul::PackedMatrices;
use crate::kernels::{FeatureMap, parallel};
#[cfg(not(target_arch = "wasm32"))]
pub use gradient::ConvTransposeGradient;

/// The layer, its weights in the order of the product.
#[derive(Clone, Debug)]
pub struct CpuConvTranspose2d {
    weights: PackedMatrices,
    bias: Vec<f32>,
}

impl CpuConvTranspose2d {
    /// From `weight` `[in, out, 2, 2]`.
    pub fn new(weight: &[f32], bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / (4 * outputs);
        let weights = taps_before_outputs(weight, outputs);
        Self { weights: PackedMatrices::new(weights, [inputs, 4 * outputs]), bias }
    }

    /// Doubles a map.
    pub fn forward(&self, input: &FeatureMap) -> FeatureMap {
        let (values, dims) = self.convolve(&input.values, input.dims);
        FeatureMap { values, dims }
    }

    /// The same on values that lie channels last, `[batch, height, width, channels]`.
    pub fn convolve(
        &self,
        input: &[f32],
        [batch, height, width, channels]: [usize; 4],
    ) -> (Vec<f32>, [usize; 4]) {
        let outputs = self.bias.len();
        let mut output = vec![0.0; 4 * batch * height * width * outputs];
        // Images are small: one is a matrix of its own.
        let image = height * width;
        parallel::for_each_chunk(&mut output, 4 * image * outputs, |index, out| {
            let pixels = &input[index * image * channels..][..image * channels];
            let mut products = vec![0.0; image * 4 * outputs];
            self.weights.multiply(0, pixels, &mut products);
            for (pixel, values) in products.chunks_exact(4 * outputs).enumerate() {
                let (row, column) = (pixel / width, pixel % width);
                for (tap, values) in values.chunks_exact(2 * outputs).enumerate() {
                    let start = output_start(row, tap, width, outputs) + 2 * column * outputs;
                    let places = out[start..][..2 * outputs].chunks_exact_mut(outputs);
                    for (place, values) in places.zip(values.chunks_exact(outputs)) {
                        lanes::map([values, &self.bias], [place], &SumThenRelu);
                    }
                }
            }
        });
        (output, [batch, 2 * height, 2 * width, outputs])
    }
}

/// `[in, out, 2, 2]` to `[in, 2, 2, out]`.
fn taps_before_outputs(weight: &[f32], outputs: usize) -> Vec<f32> {
    let mut ordered = vec![0.0; weight.len()];
    for (input, values) in weight.chunks_exact(outputs * 4).enumerate() {
        for (index, value) in values.iter().enumerate() {
            ordered[(input * 4 + index % 4) * outputs + index / 4] = *value;
        }
    }
    ordered
}

/// The output row's start for an input row and a tap row, in values.
fn output_start(row: usize, tap: usize, width: usize, outputs: usize) -> usize {
    (2 * row + tap) * 2 * width * outputs
}
