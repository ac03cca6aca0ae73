//! Max pooling that remembers which pixel won, and the gradient that flows back to it.

use super::{KERNEL, STRIDE, fold_windows};
use crate::kernels::parallel;

/// Pools `[batch, height, width, channels]` values: the largest of each window, its tap (row by row), and the size.
pub fn max_pool_with_taps(input: &[f32], dims: [usize; 4]) -> (Vec<f32>, Vec<u8>, [usize; 4]) {
    let start = (f32::NEG_INFINITY, 0u8);
    let (found, dims) = fold_windows(input, dims, start, |best: &mut [(f32, u8)], pixel, tap| {
        for (best, value) in best.iter_mut().zip(pixel) {
            if *value > best.0 {
                *best = (*value, tap);
            }
        }
    });
    let values = found.iter().map(|(value, _)| *value).collect();
    (values, found.iter().map(|(_, tap)| *tap).collect(), dims)
}

/// Gradient of the input `[batch, height, width, channels]`, from that of the output, whose windows the taps won.
pub fn max_pool_gradient(
    gradient: &[f32],
    taps: &[u8],
    [batch, height, width, channels]: [usize; 4],
) -> Vec<f32> {
    let (rows, columns) = (height.div_ceil(STRIDE), width.div_ceil(STRIDE));
    let mut values = vec![0.0; batch * height * width * channels];
    // Every input row asks the one or two output rows whose windows reach it.
    parallel::for_each_chunk(&mut values, width * channels, |index, out| {
        let (image, y) = (index / height, index % height);
        for ky in 0..KERNEL {
            let Some(offset) = (y + 1).checked_sub(ky) else { continue };
            if offset % STRIDE != 0 || offset / STRIDE >= rows {
                continue;
            }
            let row = (image * rows + offset / STRIDE) * columns;
            for column in 0..columns {
                let start = (row + column) * channels;
                for kx in 0..KERNEL {
                    let x = (column * STRIDE + kx).wrapping_sub(1);
                    if x >= width {
                        continue;
                    }
                    let tap = (ky * KERNEL + kx) as u8;
                    let pixel = &mut out[x * channels..][..channels];
                    let taps = &taps[start..][..channels];
                    let gradient = &gradient[start..][..channels];
                    for c in 0..channels {
                        pixel[c] += if taps[c] == tap { gradient[c] } else { 0.0 };
                    }
                }
            }
        }
    });
    values
}
