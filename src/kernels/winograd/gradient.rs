//! Gradients of Winograd's convolution.
//!
//! That of the input is a convolution with the kernel turned by half a turn and its channels swapped.
//!
//! With `y = A^T [(G g G^T) * (B^T d B)] A`, the gradient of the kernel is
//! `G^T [sum over tiles of (A dy A^T) * (B^T d B)] G`: the same patches as in the forward pass,
//! multiplied with transformed gradients, 36 matrix products in all.

use super::{ENTRIES, PATCH, TILE, Tiling, forward, gather_patches, split_front, transform_taps};
use crate::kernels::conv::ConvShape;
use crate::kernels::epilogue::Epilogue;
use crate::kernels::lanes::{self, Formula, Number};
use crate::kernels::matmul::add_transposed_matmul;
use crate::kernels::parallel;

/// Tiles transformed at a time.
const RUN: usize = 64;

/// Writes the gradient of the input into `values`, from the kernel `[out, in, 3, 3]` and the gradient of the
/// output, both maps channels last.
pub fn input_gradient(
    weight: &[f32],
    shape: &ConvShape,
    gradient: &[f32],
    tiling: &Tiling,
    values: &mut [f32],
) {
    let ConvShape { inputs, outputs, .. } = *shape;
    let mut taps = vec![0.0; 9 * inputs * outputs];
    for (output, kernels) in weight.chunks_exact(inputs * 9).enumerate() {
        for (input, kernel) in kernels.chunks_exact(9).enumerate() {
            for (tap, value) in kernel.iter().enumerate() {
                taps[((8 - tap) * outputs + output) * inputs + input] = *value;
            }
        }
    }
    let weights = transform_taps(&taps, [outputs, inputs]);
    let turned = ConvShape { inputs: outputs, outputs: inputs, ..*shape };
    let bias = vec![0.0; inputs];
    let epilogue = Epilogue { bias: &bias, residual: None, activate: false };
    forward(&weights, &turned, gradient, tiling, values, &epilogue);
}

/// Gradient of the kernel `[out, in, 3, 3]` from the input and the gradient of the output, both
/// channels last.
pub fn weight_gradient(
    input: &[f32],
    gradient: &[f32],
    [inputs, outputs]: [usize; 2],
    tiling: &Tiling,
    images: usize,
) -> Vec<f32> {
    let tiles = images * tiling.per_image();
    let sums = parallel::sum_over_parts(tiles, ENTRIES * inputs * outputs, |range, sums| {
        let mut first = range.start;
        while first < range.end {
            let run = first..(first + RUN).min(range.end);
            let count = run.len();
            let patches = gather_patches(input, inputs, tiling, run.clone());
            let gradients = gather_gradients(gradient, outputs, tiling, run.clone());
            for entry in 0..ENTRIES {
                add_transposed_matmul(
                    &mut sums[entry * inputs * outputs..][..inputs * outputs],
                    &patches[entry * count * inputs..][..count * inputs],
                    &gradients[entry * count * outputs..][..count * outputs],
                    [inputs, count, outputs],
                );
            }
            first = run.end;
        }
    });
    kernel_adjoint(&sums, inputs, outputs)
}

/// `A dy A^T` for a range of tiles: `[36, tiles, channels]`.
fn gather_gradients(
    gradient: &[f32],
    channels: usize,
    tiling: &Tiling,
    range: std::ops::Range<usize>,
) -> Vec<f32> {
    let tiles = range.len();
    let mut transformed = vec![0.0; ENTRIES * tiles * channels];
    let mut scratch = vec![0.0; PATCH * TILE * channels];
    let zeros = vec![0.0; channels];
    for (tile, global) in range.enumerate() {
        let (image, top, left) = tiling.place(global);
        let pixel = |i: usize, j: usize| {
            let (y, x) = (top + i, left + j);
            if y < tiling.height && x < tiling.width {
                let start = ((image * tiling.height + y) * tiling.width + x) * channels;
                &gradient[start..][..channels]
            } else {
                &zeros[..]
            }
        };
        for j in 0..TILE {
            let column: [&[f32]; TILE] = std::array::from_fn(|i| pixel(i, j));
            let mut rest = &mut scratch[j * PATCH * channels..][..PATCH * channels];
            let out = std::array::from_fn(|_| split_front(&mut rest, channels));
            lanes::map(column, out, &OutputAdjoint);
        }
        let mut rest = &mut transformed[..];
        for i in 0..PATCH {
            let row: [&[f32]; TILE] =
                std::array::from_fn(|j| &scratch[(j * PATCH + i) * channels..][..channels]);
            let out: [&mut [f32]; PATCH] = std::array::from_fn(|_| {
                &mut split_front(&mut rest, tiles * channels)[tile * channels..][..channels]
            });
            lanes::map(row, out, &OutputAdjoint);
        }
    }
    transformed
}

/// `A y` along one axis.
struct OutputAdjoint;

impl Formula<TILE, PATCH> for OutputAdjoint {
    #[inline(always)]
    fn apply<N: Number>(&self, [y0, y1, y2, y3]: [N; TILE]) -> [N; PATCH] {
        let (even, odd) = (y0 + y2, y1 + y3);
        let (even_far, odd_far) = (y0 + y2.times(4.0), y1.times(2.0) + y3.times(8.0));
        [y0, even + odd, even - odd, even_far + odd_far, even_far - odd_far, y3]
    }
}

/// `G^T u G` for every pair of channels: `[36, in, out]` to `[out, in, 3, 3]`.
fn kernel_adjoint(sums: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    let length = inputs * outputs;
    let along = |u: [&[f32]; PATCH], at: usize| -> [f32; 3] {
        let (near, near_difference) = (u[1][at] + u[2][at], u[1][at] - u[2][at]);
        let (far, far_difference) = (u[3][at] + u[4][at], u[3][at] - u[4][at]);
        [
            u[0][at] / 4.0 - near / 6.0 + far / 24.0,
            far_difference / 12.0 - near_difference / 6.0,
            (far - near) / 6.0 + u[5][at],
        ]
    };
    let mut half = vec![0.0; 3 * PATCH * length];
    for column in 0..PATCH {
        let entries: [&[f32]; PATCH] =
            std::array::from_fn(|row| &sums[(row * PATCH + column) * length..][..length]);
        for at in 0..length {
            for (row, value) in along(entries, at).into_iter().enumerate() {
                half[(row * PATCH + column) * length + at] = value;
            }
        }
    }
    let mut kernel = vec![0.0; 9 * length];
    for row in 0..3 {
        let entries: [&[f32]; PATCH] =
            std::array::from_fn(|column| &half[(row * PATCH + column) * length..][..length]);
        for at in 0..length {
            let (input, output) = (at / outputs, at % outputs);
            for (column, value) in along(entries, at).into_iter().enumerate() {
                kernel[(output * inputs + input) * 9 + row * 3 + column] = value;
            }
        }
    }
    kernel
}
