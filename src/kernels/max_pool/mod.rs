//! Max pooling 3x3, stride 2, padding 1.

#[cfg(not(target_arch = "wasm32"))]
mod gradient;

use crate::kernels::lanes::{Max, update};
use crate::kernels::{FeatureMap, parallel};
#[cfg(not(target_arch = "wasm32"))]
pub use gradient::{max_pool_gradient, max_pool_with_taps};

/// Side of a window.
const KERNEL: usize = 3;
/// Step between windows.
const STRIDE: usize = 2;

/// Pools a map.
pub fn max_pool(input: &FeatureMap) -> FeatureMap {
    let (values, dims) =
        fold_windows(&input.values, input.dims, f32::NEG_INFINITY, |best, pixel, _| {
            update(best, pixel, &Max);
        });
    FeatureMap { values, dims }
}

/// Folds each window of `[batch, height, width, channels]` values, channel by channel, from `start`
/// by `take(results, pixel, tap)`; taps are numbered row by row. Padding is in no window.
fn fold_windows<T: Copy + Send + Sync>(
    values: &[f32],
    [batch, height, width, channels]: [usize; 4],
    start: T,
    take: impl Fn(&mut [T], &[f32], u8) + Sync + Send,
) -> (Vec<T>, [usize; 4]) {
    let (rows, columns) = (height.div_ceil(STRIDE), width.div_ceil(STRIDE));
    let mut found = vec![start; batch * rows * columns * channels];
    parallel::for_each_chunk(&mut found, columns * channels, |index, out| {
        let (image, row) = (index / rows, index % rows);
        let image = &values[image * height * width * channels..][..height * width * channels];
        for (column, results) in out.chunks_exact_mut(channels).enumerate() {
            for tap in 0..KERNEL * KERNEL {
                let y = (row * STRIDE + tap / KERNEL).wrapping_sub(1);
                let x = (column * STRIDE + tap % KERNEL).wrapping_sub(1);
                if y < height && x < width {
                    let pixel = &image[(y * width + x) * channels..][..channels];
                    take(results, pixel, tap as u8);
                }
            }
        }
    });
    (found, [batch, rows, columns, channels])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_by_one_and_padding_never_wins() {
        let values = vec![-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -0.5];
        let pooled = max_pool(&FeatureMap { values, dims: [1, 3, 3, 1] });
        assert_eq!(pooled.dims, [1, 2, 2, 1]);
        assert_eq!(pooled.values, [-1.0, -2.0, -4.0, -0.5]);
    }
}
