//! Gradients of a convolution with respect to its input and its weights.

use super::ConvShape;
use super::im2col::append_patch;
use crate::kernels::matmul::{add_transposed_matmul, matmul};
use crate::kernels::parallel;
use crate::kernels::winograd::{self, Tiling};

/// Pixels whose patches are laid out at a time.
const RUN: usize = 256;

/// Gradients of a convolution of values that lie channels last.
pub struct ConvGradient<'a> {
    shape: &'a ConvShape,
    batch: usize,
    input: [usize; 2],
    output: [usize; 2],
}

impl<'a> ConvGradient<'a> {
    /// Of an input and an output of these sizes, `[batch, height, width, channels]`.
    pub fn new(shape: &'a ConvShape, input: [usize; 4], output: [usize; 4]) -> Self {
        let [batch, height, width, _] = input;
        Self { shape, batch, input: [height, width], output: [output[1], output[2]] }
    }

    fn tiling(&self) -> Tiling {
        Tiling::new(self.input[0], self.input[1])
    }

    /// Gradient of the weights, `[out, in, kernel, kernel]`, from the input and the gradient of the output.
    pub fn weight_gradient(&self, input: &[f32], gradient: &[f32]) -> Vec<f32> {
        let ConvShape { inputs, outputs, kernel, .. } = *self.shape;
        if self.shape.uses_winograd() {
            let channels = [inputs, outputs];
            let tiling = self.tiling();
            return winograd::weight_gradient(input, gradient, channels, &tiling, self.batch);
        }
        let area = kernel * kernel;
        let [height, width] = self.input;
        let (in_image, out_image) = (height * width * inputs, self.output[0] * self.output[1]);
        let pixels = self.batch * self.output[0] * self.output[1];
        let sums = parallel::sum_over_parts(pixels, area * inputs * outputs, |range, sums| {
            let mut columns = Vec::new();
            let mut first = range.start;
            while first < range.end {
                let end = (first + RUN).min(range.end);
                columns.clear();
                for pixel in first..end {
                    let (image, rest) = (pixel / out_image, pixel % out_image);
                    let place = [rest / self.output[1], rest % self.output[1]];
                    let input = &input[image * in_image..][..in_image];
                    append_patch(&mut columns, input, (height, width), self.shape, place);
                }
                let gradient = &gradient[first * outputs..end * outputs];
                let sizes = [area * inputs, end - first, outputs];
                add_transposed_matmul(sums, &columns, gradient, sizes);
                first = end;
            }
        });
        let mut ordered = vec![0.0; sums.len()];
        for (row, values) in sums.chunks_exact(outputs).enumerate() {
            let (tap, input) = (row / inputs, row % inputs);
            for (output, value) in values.iter().enumerate() {
                ordered[(output * inputs + input) * area + tap] = *value;
            }
        }
        ordered
    }

    /// Gradient of the input, from the gradient of the output and the weights.
    pub fn input_gradient(&self, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
        let ConvShape { inputs, outputs, .. } = *self.shape;
        let mut values = vec![0.0; self.batch * self.input[0] * self.input[1] * inputs];
        if self.shape.uses_winograd() {
            winograd::input_gradient(weight, self.shape, gradient, &self.tiling(), &mut values);
            return values;
        }
        let [height, width] = self.input;
        let stride = self.shape.stride;
        let phases: Vec<Vec<Phase>> = (0..stride)
            .map(|row| (0..stride).map(|column| self.phase(weight, row, column)).collect())
            .collect();
        // Whole periods of rows, so that every row phase fills a matrix of its own.
        let periods = (RUN / width.div_ceil(stride)).max(1);
        for (image, values) in values.chunks_exact_mut(height * width * inputs).enumerate() {
            let out_image = self.output[0] * self.output[1] * outputs;
            let gradient = &gradient[image * out_image..][..out_image];
            let rows = periods * stride;
            parallel::for_each_chunk(values, rows * width * inputs, |index, out| {
                let count = out.len() / (width * inputs);
                for (row_phase, phases) in phases.iter().enumerate() {
                    for (column_phase, phase) in phases.iter().enumerate() {
                        let places: Vec<[usize; 2]> = (row_phase..count)
                            .step_by(stride)
                            .flat_map(|y| {
                                (column_phase..width).step_by(stride).map(move |x| [y, x])
                            })
                            .collect();
                        self.fill(gradient, phase, &places, index * rows, out);
                    }
                }
            });
        }
        values
    }

    /// The kernel's taps that reach input pixels at `(row, column)` modulo the stride.
    fn phase(&self, weight: &[f32], row: usize, column: usize) -> Phase {
        let ConvShape { inputs, outputs, kernel, stride, padding } = *self.shape;
        let reaches =
            |at: usize, tap: usize| (at + padding + kernel * stride - tap).is_multiple_of(stride);
        let taps: Vec<[usize; 2]> = (0..kernel)
            .filter(|ky| reaches(row, *ky))
            .flat_map(|ky| (0..kernel).filter(|kx| reaches(column, *kx)).map(move |kx| [ky, kx]))
            .collect();
        let mut weights = vec![0.0; taps.len() * outputs * inputs];
        for (index, [ky, kx]) in taps.iter().enumerate() {
            for output in 0..outputs {
                for input in 0..inputs {
                    weights[(index * outputs + output) * inputs + input] =
                        weight[((output * inputs + input) * kernel + ky) * kernel + kx];
                }
            }
        }
        Phase { taps, weights }
    }

    /// Computes the gradient at `places` (row within `out`, column) of one phase.
    fn fill(
        &self,
        gradient: &[f32],
        phase: &Phase,
        places: &[[usize; 2]],
        first_row: usize,
        out: &mut [f32],
    ) {
        let ConvShape { inputs, outputs, stride, padding, .. } = *self.shape;
        if phase.taps.is_empty() || places.is_empty() {
            return;
        }
        let [out_height, out_width] = self.output;
        let mut columns = Vec::with_capacity(places.len() * phase.taps.len() * outputs);
        for [y, x] in places {
            for [ky, kx] in &phase.taps {
                let row = (first_row + y + padding).wrapping_sub(*ky);
                let column = (x + padding).wrapping_sub(*kx);
                // A negative difference wraps to something huge.
                if row < out_height * stride && column < out_width * stride {
                    let start = (row / stride * out_width + column / stride) * outputs;
                    columns.extend_from_slice(&gradient[start..][..outputs]);
                } else {
                    columns.resize(columns.len() + outputs, 0.0);
                }
            }
        }
        let inner = phase.taps.len() * outputs;
        let mut products = vec![0.0; places.len() * inputs];
        matmul(&mut products, &columns, &phase.weights, [places.len(), inner, inputs]);
        for ([y, x], values) in places.iter().zip(products.chunks_exact(inputs)) {
            out[(y * self.input[1] + x) * inputs..][..inputs].copy_from_slice(values);
        }
    }
}

/// Input pixels that meet the same taps of a strided kernel.
struct Phase {
    taps: Vec<[usize; 2]>,
    /// `[taps, out, in]`.
    weights: Vec<f32>,
}
