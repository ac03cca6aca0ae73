//! Convolution on a CPU, natively and in wasm.
//!
//! 3x3 kernels of stride 1, nine tenths of the work, go through Winograd's algorithm
//! ([`crate::kernels::winograd`]), the others through one matrix product per stripe of rows.

#[cfg(not(target_arch = "wasm32"))]
mod gradient;
mod im2col;
mod shape;

use self::im2col::append_patch;
use crate::kernels::epilogue::Epilogue;
use crate::kernels::matmul::PackedMatrices;
use crate::kernels::winograd::{self, Tiling};
use crate::kernels::{FeatureMap, parallel};
#[cfg(not(target_arch = "wasm32"))]
pub use gradient::ConvGradient;
pub use shape::ConvShape;

/// A convolution with its weights in the layout its algorithm expects.
#[derive(Clone, Debug)]
pub struct CpuConv2d {
    weights: PackedMatrices,
    bias: Vec<f32>,
    shape: ConvShape,
}

impl CpuConv2d {
    /// Prepares `weight` `[out, in, kernel, kernel]`, row-major. An empty `bias` is none.
    pub fn new(weight: &[f32], bias: Vec<f32>, shape: ConvShape) -> Self {
        let bias = if bias.is_empty() { vec![0.0; shape.outputs] } else { bias };
        let weights = if shape.uses_winograd() {
            winograd::transform_weights(weight, shape.inputs, shape.outputs)
        } else {
            let inner = shape.kernel * shape.kernel * shape.inputs;
            PackedMatrices::new(channels_last_weights(weight, &shape), [inner, shape.outputs])
        };
        Self { weights, bias, shape }
    }

    /// Convolves, then adds `residual` and applies ReLU if asked to.
    pub fn forward(
        &self,
        input: &FeatureMap,
        residual: Option<&FeatureMap>,
        activate: bool,
    ) -> FeatureMap {
        let residual = residual.map(|map| map.values.as_slice());
        let (values, dims) = self.convolve(&input.values, input.dims, residual, activate);
        FeatureMap { values, dims }
    }

    /// The same on values that lie channels last, `[batch, height, width, channels]`.
    pub fn convolve(
        &self,
        input: &[f32],
        [batch, height, width, _]: [usize; 4],
        residual: Option<&[f32]>,
        activate: bool,
    ) -> (Vec<f32>, [usize; 4]) {
        let (out_height, out_width) =
            (self.shape.output_side(height), self.shape.output_side(width));
        let image = height * width * self.shape.inputs;
        let out_image = out_height * out_width * self.shape.outputs;
        let mut output = vec![0.0; batch * out_image];
        let epilogue = |index: usize| Epilogue {
            bias: &self.bias,
            residual: residual.map(|values| &values[index * out_image..]),
            activate,
        };
        if self.shape.uses_winograd() {
            let tiling = Tiling::new(height, width);
            let epilogue = epilogue(0);
            winograd::forward(&self.weights, &self.shape, input, &tiling, &mut output, &epilogue);
        } else {
            for (index, out) in output.chunks_exact_mut(out_image).enumerate() {
                let input = &input[index * image..][..image];
                self.forward_im2col(input, (height, width), out, &epilogue(index));
            }
        }
        (output, [batch, out_height, out_width, self.shape.outputs])
    }

    /// One matrix product per stripe of output rows.
    fn forward_im2col(
        &self,
        input: &[f32],
        (height, width): (usize, usize),
        output: &mut [f32],
        epilogue: &Epilogue<'_>,
    ) {
        let ConvShape { inputs, outputs, kernel, stride, .. } = self.shape;
        let (out_height, out_width) =
            (self.shape.output_side(height), self.shape.output_side(width));
        let inner = kernel * kernel * inputs;
        // About 256 pixels a stripe keep its matrix in the second-level cache.
        let stripe_rows = (256 / out_width).clamp(1, out_height);
        let stripe = stripe_rows * out_width * outputs;
        let direct = kernel == 1 && stride == 1;
        parallel::for_each_chunk(output, stripe, |index, out| {
            let pixels = out.len() / outputs;
            let first_row = index * stripe_rows;
            let mut columns = Vec::new();
            let left = if direct {
                &input[first_row * out_width * inputs..][..pixels * inputs]
            } else {
                columns.reserve_exact(pixels * inner);
                for row in first_row..first_row + pixels / out_width {
                    for column in 0..out_width {
                        append_patch(
                            &mut columns,
                            input,
                            (height, width),
                            &self.shape,
                            [row, column],
                        );
                    }
                }
                &columns
            };
            self.weights.multiply(0, left, out);
            for (pixel, values) in out.chunks_exact_mut(outputs).enumerate() {
                epilogue.apply(values, index * stripe + pixel * outputs);
            }
        });
    }
}

/// `[out, in, k, k]` to `[k, k, in, out]`.
fn channels_last_weights(weight: &[f32], shape: &ConvShape) -> Vec<f32> {
    let area = shape.kernel * shape.kernel;
    let mut ordered = vec![0.0; weight.len()];
    for output in 0..shape.outputs {
        for input in 0..shape.inputs {
            for tap in 0..area {
                ordered[(tap * shape.inputs + input) * shape.outputs + output] =
                    weight[(output * shape.inputs + input) * area + tap];
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_values::{channels_last, to_cpu_vec};
    use burn::tensor::activation::relu;
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Tensor, TensorData};
    use proptest::prelude::*;

    fn noise(length: usize, seed: usize) -> Vec<f32> {
        (0..length).map(|i| (((i + seed) * 7919) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn it_agrees_with_burns_own_convolution(
            batch in 1usize..3, inputs in 1usize..40, outputs in 1usize..20,
            height in 7usize..23, width in 7usize..23,
            (kernel, stride) in prop::sample::select(vec![(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)]),
            with_residual: bool, activate: bool,
        ) {
            let device = Device::flex();
            let padding = kernel / 2;
            let shape = ConvShape { inputs, outputs, kernel, stride, padding };
            let tensor = |dims: [usize; 4], seed| {
                Tensor::<4>::from_data(TensorData::new(noise(dims.iter().product(), seed), dims), &device)
            };
            let weight = tensor([outputs, inputs, kernel, kernel], 3);
            let bias = noise(outputs, 5);
            let input = tensor([batch, inputs, height, width], 1);
            let bias_tensor = Tensor::<1>::from_data(TensorData::new(bias.clone(), [outputs]), &device);
            let options = ConvOptions::new([stride; 2], [padding; 2], [1, 1], 1);
            let mut expected = conv2d(input.clone(), weight.clone(), Some(bias_tensor), options);
            let residual = with_residual.then(|| tensor(expected.dims(), 9));
            if let Some(residual) = &residual {
                expected = expected + residual.clone();
            }
            if activate {
                expected = relu(expected);
            }
            let map = |tensor: Tensor<4>| {
                let [batch, channels, height, width] = tensor.dims();
                FeatureMap { values: channels_last(tensor), dims: [batch, height, width, channels] }
            };
            let conv = CpuConv2d::new(&to_cpu_vec(weight), bias, shape);
            let actual = conv.forward(&map(input), residual.map(map).as_ref(), activate);
            let expected = map(expected);
            prop_assert_eq!(actual.dims, expected.dims);
            for (a, e) in actual.values.iter().zip(&expected.values) {
                prop_assert!((a - e).abs() < 2e-4 * (inputs as f32).max(4.0), "{a} is not {e}");
            }
        }
    }
}
