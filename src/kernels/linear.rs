//! Fully connected layer.

use crate::kernels::matmul::matmul;
use crate::kernels::{parallel, transpose};

/// Rows multiplied at a time.
const ROWS: usize = 64;

/// `y = x W^T + b`.
#[derive(Clone, Debug)]
pub struct CpuLinear {
    /// `[in, out]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl CpuLinear {
    /// From PyTorch's `weight` `[out, in]`.
    pub fn new(weight: &[f32], bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        Self { weights: transpose(weight, weight.len() / outputs), bias }
    }

    /// Maps `[rows, in]` to `[rows, out]`, then ReLU if `activate`.
    pub fn forward(&self, input: &[f32], activate: bool) -> Vec<f32> {
        let outputs = self.bias.len();
        let inputs = self.weights.len() / outputs;
        let rows = input.len() / inputs;
        let mut output = vec![0.0; rows * outputs];
        parallel::for_each_chunk(&mut output, ROWS * outputs, |index, out| {
            let rows = out.len() / outputs;
            let left = &input[index * ROWS * inputs..][..rows * inputs];
            matmul(out, left, &self.weights, [rows, inputs, outputs]);
            for row in out.chunks_exact_mut(outputs) {
                for (value, bias) in row.iter_mut().zip(&self.bias) {
                    *value += bias;
                    if activate {
                        *value = value.max(0.0);
                    }
                }
            }
        });
        output
    }
}
