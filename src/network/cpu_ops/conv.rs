//! Convolution, optionally with bias and ReLU, and its gradients.

use burn::tensor::Tensor;

use crate::kernels::conv::{ConvShape, CpuConv2d, Epilogue};
use crate::kernels::matmul::{add_transposed_matmul, matmul};
use crate::kernels::parallel;
use crate::kernels::winograd::{self, Tiling};
use crate::network::cpu_ops::op::{
    ChannelsLast, CpuOp, HostTensor, Input, Recorded, Saved, apply, contiguous, from_channels_last,
    from_values,
};
use crate::network::cpu_ops::winograd_gradient;

/// Pixels whose patches are laid out at a time.
const RUN: usize = 256;

/// Convolves `[batch, in, height, width]` with `[out, in, kernel, kernel]`.
pub fn conv2d(
    input: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    [stride, padding]: [usize; 2],
    activate: bool,
) -> Tensor<4> {
    let [outputs, inputs, kernel, _] = weight.dims();
    let shape = ConvShape { inputs, outputs, kernel, stride, padding };
    let mut tensors: Vec<Input> = vec![input.into(), weight.into()];
    tensors.extend(bias.map(Input::from));
    apply(tensors, Convolution { shape, activate })
}

/// The function behind [`conv2d`]: input, weight and perhaps bias.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    /// Sizes.
    pub shape: ConvShape,
    /// ReLU.
    pub activate: bool,
}

impl CpuOp for Convolution {
    fn forward(&self, inputs: &[HostTensor], _: bool) -> (HostTensor, Saved) {
        let input = ChannelsLast::of(&inputs[0]);
        let weight = contiguous(&inputs[1]);
        let bias = inputs.get(2).map(|bias| contiguous(bias).storage::<f32>().to_vec());
        let kernel = CpuConv2d::new(weight.storage(), bias.unwrap_or_default(), self.shape);
        let (values, dims) = kernel.convolve(input.values(), input.dims, None, self.activate);
        (from_channels_last(values, dims), Saved::default())
    }

    fn backward(
        &self,
        recorded: &Recorded,
        gradient: HostTensor,
        wanted: &[bool],
    ) -> Vec<Option<HostTensor>> {
        let input = ChannelsLast::of(&recorded.inputs[0]);
        let gradient = self.before_activation(recorded, &gradient);
        let weight = contiguous(&recorded.inputs[1]);
        let geometry = Geometry::new(&self.shape, input.dims, gradient.dims);
        let mut found = vec![None; wanted.len()];
        if wanted[0] {
            let values = geometry.input_gradient(gradient.values(), weight.storage());
            found[0] = Some(from_channels_last(values, input.dims));
        }
        if wanted[1] {
            let values = geometry.weight_gradient(input.values(), gradient.values());
            let ConvShape { inputs, outputs, kernel, .. } = self.shape;
            found[1] = Some(from_values(values, [outputs, inputs, kernel, kernel]));
        }
        if wanted.get(2) == Some(&true) {
            let sums = channel_sums(gradient.values(), self.shape.outputs);
            found[2] = Some(from_values(sums, [self.shape.outputs]));
        }
        found
    }
}

impl Convolution {
    /// The gradient before the ReLU.
    fn before_activation(&self, recorded: &Recorded, gradient: &HostTensor) -> ChannelsLast {
        let gradient = ChannelsLast::of(gradient);
        if !self.activate {
            return gradient;
        }
        let output = ChannelsLast::of(&recorded.output);
        let values = where_positive(gradient.values(), output.values());
        ChannelsLast::of(&from_channels_last(values, gradient.dims))
    }
}

/// The gradient where the output of a ReLU is positive, zero elsewhere.
pub fn where_positive(gradient: &[f32], output: &[f32]) -> Vec<f32> {
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

/// Sums over pixels, per channel.
pub fn channel_sums(values: &[f32], channels: usize) -> Vec<f32> {
    let pixels = values.len() / channels;
    parallel::sum_over_parts(pixels, channels, |range, sums| {
        for pixel in values[range.start * channels..range.end * channels].chunks_exact(channels) {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += value;
            }
        }
    })
}

/// Sizes of one call.
struct Geometry<'a> {
    shape: &'a ConvShape,
    batch: usize,
    input: [usize; 2],
    output: [usize; 2],
}

impl<'a> Geometry<'a> {
    fn new(shape: &'a ConvShape, input: [usize; 4], output: [usize; 4]) -> Self {
        let [batch, height, width, _] = input;
        Self { shape, batch, input: [height, width], output: [output[1], output[2]] }
    }

    fn tiling(&self) -> Tiling {
        Tiling::new(self.input[0], self.input[1])
    }

    /// Gradient of the weights, `[out, in, kernel, kernel]`.
    fn weight_gradient(&self, input: &[f32], gradient: &[f32]) -> Vec<f32> {
        let ConvShape { inputs, outputs, kernel, .. } = *self.shape;
        if self.shape.uses_winograd() {
            let channels = [inputs, outputs];
            let tiling = self.tiling();
            return winograd_gradient::weight_gradient(
                input, gradient, channels, &tiling, self.batch,
            );
        }
        let area = kernel * kernel;
        let pixels = self.batch * self.output[0] * self.output[1];
        let sums = parallel::sum_over_parts(pixels, area * inputs * outputs, |range, sums| {
            let mut columns = Vec::new();
            let mut first = range.start;
            while first < range.end {
                let end = (first + RUN).min(range.end);
                columns.clear();
                for pixel in first..end {
                    self.append_patch(input, pixel, &mut columns);
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

    /// The input under the kernel at an output pixel, `[kernel, kernel, in]`.
    fn append_patch(&self, input: &[f32], pixel: usize, columns: &mut Vec<f32>) {
        let ConvShape { inputs, kernel, stride, padding, .. } = *self.shape;
        let [height, width] = self.input;
        let [out_height, out_width] = self.output;
        let (image, rest) = (pixel / (out_height * out_width), pixel % (out_height * out_width));
        let (row, column) = (rest / out_width, rest % out_width);
        for ky in 0..kernel {
            for kx in 0..kernel {
                let y = (row * stride + ky).wrapping_sub(padding);
                let x = (column * stride + kx).wrapping_sub(padding);
                if y < height && x < width {
                    let start = ((image * height + y) * width + x) * inputs;
                    columns.extend_from_slice(&input[start..][..inputs]);
                } else {
                    columns.resize(columns.len() + inputs, 0.0);
                }
            }
        }
    }

    /// Gradient of the input, channels last.
    fn input_gradient(&self, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
        let ConvShape { inputs, outputs, .. } = *self.shape;
        let mut values = vec![0.0; self.batch * self.input[0] * self.input[1] * inputs];
        if self.shape.uses_winograd() {
            // A convolution with the kernel turned by half a turn and its channels swapped.
            let mut taps = vec![0.0; 9 * inputs * outputs];
            for (output, kernels) in weight.chunks_exact(inputs * 9).enumerate() {
                for (input, kernel) in kernels.chunks_exact(9).enumerate() {
                    for (tap, value) in kernel.iter().enumerate() {
                        taps[((8 - tap) * outputs + output) * inputs + input] = *value;
                    }
                }
            }
            let weights = winograd::transform_taps(&taps, inputs * outputs);
            let turned = ConvShape { inputs: outputs, outputs: inputs, ..*self.shape };
            let bias = vec![0.0; inputs];
            let epilogue = Epilogue { bias: &bias, residual: None, activate: false };
            let tiling = self.tiling();
            winograd::forward(&weights, &turned, gradient, &tiling, &mut values, &epilogue);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_ops::op::check::{alternating, gradients_are_differences};

    fn check(inputs: usize, outputs: usize, kernel: usize, stride: usize, side: [usize; 2]) {
        let shapes = [
            vec![2, inputs, side[0], side[1]],
            vec![outputs, inputs, kernel, kernel],
            vec![outputs],
        ];
        for activate in [false, true] {
            gradients_are_differences(&shapes, 1e-2, |tensors| {
                let bias = tensors[2].clone().reshape([outputs]);
                // Far from the ReLU's corner, where a difference is no gradient.
                let bias = bias + alternating(outputs, 20.0);
                let (input, weight) = (tensors[0].clone(), tensors[1].clone());
                conv2d(input, weight, Some(bias), [stride, kernel / 2], activate)
            });
        }
    }

    #[test]
    fn winograd_gradients_are_differences() {
        check(16, 5, 3, 1, [9, 6]);
        check(17, 3, 3, 1, [14, 14]);
    }

    #[test]
    fn strided_and_pointwise_gradients_are_differences() {
        check(3, 4, 3, 2, [9, 8]);
        check(3, 4, 7, 2, [11, 12]);
        check(5, 4, 1, 1, [6, 7]);
        check(5, 4, 1, 2, [7, 6]);
        check(4, 3, 3, 1, [5, 6]);
    }
}
