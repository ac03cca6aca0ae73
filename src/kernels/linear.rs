//! Fully connected layer.

use crate::kernels::epilogue::Epilogue;
use crate::kernels::matmul::PackedMatrices;
use crate::kernels::{parallel, transpose};

/// Rows multiplied at a time.
const ROWS: usize = 64;

/// `y = x W^T + b`.
#[derive(Clone, Debug)]
pub struct CpuLinear {
    /// `[in, out]`.
    weights: PackedMatrices,
    inputs: usize,
    bias: Vec<f32>,
}

impl CpuLinear {
    /// From PyTorch's `weight` `[out, in]`.
    pub fn new(weight: &[f32], bias: Vec<f32>) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let weights = PackedMatrices::new(transpose(weight, inputs), [inputs, outputs]);
        Self { weights, inputs, bias }
    }

    /// Maps `[rows, in]` to `[rows, out]`, then ReLU if `activate`.
    pub fn forward(&self, input: &[f32], activate: bool) -> Vec<f32> {
        let (inputs, outputs) = (self.inputs, self.bias.len());
        let rows = input.len() / inputs;
        let mut output = vec![0.0; rows * outputs];
        let epilogue = Epilogue { bias: &self.bias, residual: None, activate };
        parallel::for_each_chunk(&mut output, ROWS * outputs, |index, out| {
            let rows = out.len() / outputs;
            let left = &input[index * ROWS * inputs..][..rows * inputs];
            self.weights.multiply(0, left, out);
            out.chunks_exact_mut(outputs).for_each(|row| epilogue.apply(row, 0));
        });
        output
    }
}
