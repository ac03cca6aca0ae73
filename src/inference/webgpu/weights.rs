//! Weights as the shaders read them.

use crate::kernels::conv::ConvShape;
use crate::kernels::winograd::ENTRIES;

/// `[outputs, inputs, area]` to `[area, inputs, outputs]`, channels filled up with zeros to the given numbers.
pub fn taps_first(kernels: &[f32], shape: &ConvShape, [inputs, outputs]: [usize; 2]) -> Vec<f32> {
    let area = shape.kernel * shape.kernel;
    let mut taps = vec![0.0; area * inputs * outputs];
    for (output, kernel) in kernels.chunks_exact(shape.inputs * area).enumerate() {
        for (input, kernel) in kernel.chunks_exact(area).enumerate() {
            for (tap, value) in kernel.iter().enumerate() {
                taps[(tap * inputs + input) * outputs + output] = *value;
            }
        }
    }
    taps
}

/// `G` of F(4x4, 3x3) for the points 0, ±√½, ±√2 and infinity (Lavin and Gray 2016 with other points): row by row.
const KERNEL_TRANSFORM: [[f64; 3]; 6] = {
    const ROOT: f64 = std::f64::consts::SQRT_2;
    [
        [1.0, 0.0, 0.0],
        [-2.0 / 3.0, -ROOT / 3.0, -1.0 / 3.0],
        [-2.0 / 3.0, ROOT / 3.0, -1.0 / 3.0],
        [1.0 / 6.0, ROOT / 6.0, 1.0 / 3.0],
        [1.0 / 6.0, -ROOT / 6.0, 1.0 / 3.0],
        [0.0, 0.0, 1.0],
    ]
};

/// `G g G^T` of 3x3 kernels `[outputs, inputs, 3, 3]`: 36 matrices `[inputs, outputs]`.
pub fn winograd(kernels: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    let mut transformed = vec![0.0; ENTRIES * inputs * outputs];
    for (output, kernel) in kernels.chunks_exact(inputs * 9).enumerate() {
        for (input, kernel) in kernel.chunks_exact(9).enumerate() {
            let at = |y: usize, x: usize| f64::from(kernel[3 * y + x]);
            let half = KERNEL_TRANSFORM
                .map(|row| [0, 1, 2].map(|x| (0..3).map(|y| row[y] * at(y, x)).sum::<f64>()));
            let entries = half.iter().flat_map(|row| {
                KERNEL_TRANSFORM.iter().map(|other| (0..3).map(|x| row[x] * other[x]).sum::<f64>())
            });
            for (entry, value) in entries.enumerate() {
                transformed[(entry * inputs + input) * outputs + output] = value as f32;
            }
        }
    }
    transformed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_come_first_and_channels_are_filled_up() {
        let shape = ConvShape { inputs: 1, outputs: 2, kernel: 1, stride: 1, padding: 0 };
        assert_eq!(
            taps_first(&[3.0, 5.0], &shape, [2, 4]),
            [3.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
    }

    #[test]
    fn a_kernel_of_one_tap_is_transformed_to_a_product_of_two_columns() {
        let mut kernel = [0.0; 9];
        kernel[4] = 2.0;
        let entries = winograd(&kernel, 1, 1);
        for (entry, value) in entries.iter().enumerate() {
            let expected = 2.0 * KERNEL_TRANSFORM[entry / 6][1] * KERNEL_TRANSFORM[entry % 6][1];
            assert!((f64::from(*value) - expected).abs() < 1e-6, "{entry}");
        }
    }
}
