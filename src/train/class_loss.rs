//! The loss of whole slices' classes, and what keeps it from being learnt by heart.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::classes::CLASSES;
use crate::train::rng::{RngStream, rng};

/// Zeroes the share `share` of the features `[batch, channels]`, drawn by step, so that a resumed run draws the
/// same.
pub fn dropout(
    features: Tensor<2>,
    share: f64,
    seed: u64,
    step: u64,
    device: &Device,
) -> Tensor<2> {
    if share == 0.0 {
        return features;
    }
    let dims = features.dims();
    let mut rng = rng(seed, RngStream::Dropout, step);
    let kept = (1.0 / (1.0 - share)) as f32;
    let mask: Vec<f32> =
        (0..dims[0] * dims[1]).map(|_| if rng.random_bool(share) { 0.0 } else { kept }).collect();
    features * Tensor::from_data(TensorData::new(mask, dims), device)
}

/// Cross entropy of logits `[batch, 3]` against labels of which the share `smoothing` is spread over all
/// classes; mean over the batch.
pub fn smoothed_cross_entropy(
    logits: Tensor<2>,
    labels: &[usize],
    smoothing: f64,
    device: &Device,
) -> Tensor<1> {
    let spread = (smoothing / CLASSES as f64) as f32;
    let target = |label: usize| (0..CLASSES).map(move |class| (class == label, spread));
    let targets: Vec<f32> = labels
        .iter()
        .flat_map(|label| target(*label))
        .map(|(own, spread)| if own { 1.0 - smoothing as f32 + spread } else { spread })
        .collect();
    let targets = Tensor::from_data(TensorData::new(targets, [labels.len(), CLASSES]), device);
    (log_softmax(logits, 1) * targets).sum().neg() / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_spreads_the_label() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[2.0, 0.0, -1.0]], &device);
        let loss = |smoothing| {
            let loss = smoothed_cross_entropy(logits.clone(), &[0], smoothing, &device);
            loss.into_data().iter::<f64>().next().unwrap()
        };
        let total = (2f64.exp() + 1.0 + (-1f64).exp()).ln();
        assert!((loss(0.0) - (total - 2.0)).abs() < 1e-5);
        assert!((loss(0.3) - (0.7 * (total - 2.0) + 0.1 * (3.0 * total - 1.0))).abs() < 1e-5);
    }
}
