//! The losses of both stages (docs/method.md, 1.4 to 1.6, 2.4). All are means or sums as PyTorch
//! takes them, and scalars `[1]`.

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Int, Tensor, TensorData};

/// The value of a loss on the CPU.
pub fn value(loss: &Tensor<1>) -> f32 {
    loss.clone().into_data().iter::<f32>().next().unwrap_or(f32::NAN)
}

/// Binary cross entropy with logits, mean over all values; targets between 0 and 1.
pub fn binary_cross_entropy<const D: usize>(logits: Tensor<D>, targets: Tensor<D>) -> Tensor<1> {
    // max(x, 0) - x y + log(1 + exp(-|x|)) never overflows.
    let tail = (logits.clone().abs().neg().exp() + 1.0).log();
    (relu(logits.clone()) - logits * targets + tail).mean()
}

/// Cross entropy, mean over rows of `logits` `[rows, classes]`.
pub fn cross_entropy(logits: Tensor<2>, classes: &[usize]) -> Tensor<1> {
    let [rows, width] = logits.dims();
    let own = classes.iter().enumerate().map(|(row, class)| row * width + class);
    let own = indices(own, &logits.device());
    log_softmax(logits, 1).reshape([rows * width]).select(0, own).mean().neg()
}

/// Smooth L1 with the corner at 1, summed.
pub fn smooth_l1_sum(predicted: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let distance = (predicted - targets).abs();
    // With m = min(d, 1): d < 1 gives d^2 / 2, else d - 1/2.
    let inner = distance.clone().clamp_max(1.0);
    (inner.clone() * (distance - inner * 0.5)).sum()
}

/// L1, summed.
pub fn l1_sum(predicted: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    (predicted - targets).abs().sum()
}

/// Indices as a tensor.
pub fn indices(
    values: impl IntoIterator<Item = usize>,
    device: &burn::tensor::Device,
) -> Tensor<1, Int> {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), &device.clone().inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn row<const D: usize>(values: &[f32], dims: [usize; D], device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), dims), device)
    }

    /// Compares value and gradient of `loss` at `values` with `expected` computed in f64.
    fn check(
        values: &[f32],
        loss: impl Fn(Tensor<1>) -> Tensor<1>,
        expected: impl Fn(&[f64]) -> f64,
    ) {
        let device = Device::flex().autodiff();
        let input = row(values, [values.len()], &device).require_grad();
        let output = loss(input.clone());
        let wide: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        let value = f64::from(output.clone().into_data().iter::<f32>().next().unwrap());
        assert!((value - expected(&wide)).abs() < 1e-5 * value.abs().max(1.0));
        let gradients = output.backward();
        let gradient = input.grad(&gradients).unwrap().into_data();
        for (at, actual) in gradient.iter::<f32>().enumerate() {
            let moved = |by: f64| {
                let mut wide = wide.clone();
                wide[at] += by;
                expected(&wide)
            };
            let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((f64::from(actual) - difference).abs() < 1e-4, "{at}: {actual} {difference}");
        }
    }

    const VALUES: [f32; 6] = [0.3, -1.7, 2.5, -0.2, 40.0, -35.0];
    const TARGETS: [f32; 6] = [1.0, 0.0, 0.25, 0.5, 1.0, 0.0];

    #[test]
    fn binary_cross_entropy_and_its_gradient_are_exact() {
        check(
            &VALUES,
            |x| {
                let device = x.device();
                binary_cross_entropy(x, row(&TARGETS, [6], &device))
            },
            |x| {
                let one = |x: f64, y: f64| {
                    let log1p = (-x.abs()).exp().ln_1p();
                    x.max(0.0) - x * y + log1p
                };
                x.iter().zip(TARGETS).map(|(x, y)| one(*x, f64::from(y))).sum::<f64>() / 6.0
            },
        );
    }

    #[test]
    fn cross_entropy_and_its_gradient_are_exact() {
        check(
            &VALUES,
            |x| cross_entropy(x.reshape([3, 2]), &[0, 1, 1]),
            |x| {
                let one = |row: &[f64], class: usize| {
                    let top = row[0].max(row[1]);
                    top + row.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - row[class]
                };
                (one(&x[..2], 0) + one(&x[2..4], 1) + one(&x[4..], 1)) / 3.0
            },
        );
    }

    #[test]
    fn smooth_and_plain_l1_and_their_gradients_are_exact() {
        let distance = |x: &[f64]| -> Vec<f64> {
            x.iter().zip(TARGETS).map(|(x, y)| (x - f64::from(y)).abs()).collect()
        };
        check(
            &VALUES,
            |x| {
                let device = x.device();
                smooth_l1_sum(x.reshape([2, 3]), row(&TARGETS, [2, 3], &device))
            },
            |x| {
                let one = |d: f64| if d < 1.0 { d * d / 2.0 } else { d - 0.5 };
                distance(x).into_iter().map(one).sum()
            },
        );
        check(
            &VALUES,
            |x| {
                let device = x.device();
                l1_sum(x.reshape([2, 3]), row(&TARGETS, [2, 3], &device))
            },
            |x| distance(x).into_iter().sum(),
        );
    }
}
