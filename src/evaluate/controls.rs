//! A classifier that sees nothing of medicine: twelve trivial features of a picture and a linear model. A network
//! that is no better has learnt what its sources look like.

use crate::classes::CLASSES;
use crate::image::CtSlice;
use crate::statistics::{log_sum_exp, quantile};

/// Features of a picture.
pub const FEATURES: usize = 12;
/// Weight of the squared coefficients.
const DECAY: f64 = 1e-2;
/// Steps of gradient descent on standardised features, and how long they are. The loss is convex.
const STEPS: usize = 3000;
const RATE: f64 = 0.5;
/// Share of a side that is taken for the border.
const BORDER: f64 = 0.05;

/// Width, height, their ratio; mean and deviation; shares of black and of white; mean and deviation of the
/// border; the first, second and third quartile.
pub fn features(slice: &CtSlice) -> [f64; FEATURES] {
    let (width, height) = (slice.width, slice.height);
    let grey = |pixel: &u8| f64::from(*pixel) / 255.0;
    let moments = |values: &[f64]| {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt())
    };
    let mut values: Vec<f64> = slice.pixels.iter().map(grey).collect();
    let edge = ((width.min(height) as f64 * BORDER) as usize).max(1);
    let is_border = |place: usize| {
        let (x, y) = (place % width, place / width);
        x.min(width - 1 - x) < edge || y.min(height - 1 - y) < edge
    };
    let border: Vec<f64> = (0..values.len()).filter(|i| is_border(*i)).map(|i| values[i]).collect();
    let ((mean, deviation), (border_mean, border_deviation)) = (moments(&values), moments(&border));
    let share = |is: fn(&&u8) -> bool| {
        slice.pixels.iter().filter(is).count() as f64 / slice.pixels.len().max(1) as f64
    };
    let (black, white) = (share(|pixel| **pixel <= 2), share(|pixel| **pixel >= 253));
    values.sort_by(f64::total_cmp);
    let [low, middle, high] =
        [0.25, 0.5, 0.75].map(|share| quantile(&values, share).unwrap_or_default());
    [
        width as f64,
        height as f64,
        width as f64 / height as f64,
        mean,
        deviation,
        black,
        white,
        border_mean,
        border_deviation,
        low,
        middle,
        high,
    ]
}

/// Multinomial logistic regression, every class of equal weight.
#[derive(Clone, Debug)]
pub struct LinearModel {
    /// Mean and deviation of each feature.
    scale: [(f64, f64); FEATURES],
    /// Coefficients of each class; the last is its constant.
    weights: [[f64; FEATURES + 1]; CLASSES],
}

impl LinearModel {
    /// Fits pairs of features and class.
    pub fn fit(slices: &[([f64; FEATURES], usize)]) -> Self {
        let count = slices.len().max(1) as f64;
        let scale = std::array::from_fn(|k| {
            let mean = slices.iter().map(|(x, _)| x[k]).sum::<f64>() / count;
            let variance = slices.iter().map(|(x, _)| (x[k] - mean).powi(2)).sum::<f64>() / count;
            (mean, variance.sqrt().max(1e-9))
        });
        let mut model = Self { scale, weights: [[0.0; FEATURES + 1]; CLASSES] };
        let mut sizes = [0usize; CLASSES];
        slices.iter().for_each(|(_, class)| sizes[*class] += 1);
        let present = sizes.iter().filter(|size| **size > 0).count().max(1) as f64;
        let inputs: Vec<_> = slices.iter().map(|(x, class)| (model.standard(x), *class)).collect();
        for _ in 0..STEPS {
            let mut gradient = model.weights.map(|row| row.map(|weight| weight * DECAY));
            for (input, class) in &inputs {
                let weight = 1.0 / (sizes[*class] as f64 * present);
                for (k, probability) in model.probabilities_of(input).into_iter().enumerate() {
                    let off = weight * (probability - f64::from(u8::from(k == *class)));
                    gradient[k].iter_mut().zip(input).for_each(|(g, x)| *g += off * x);
                }
            }
            for (row, gradient) in model.weights.iter_mut().zip(gradient) {
                row.iter_mut().zip(gradient).for_each(|(weight, g)| *weight -= RATE * g);
            }
        }
        model
    }

    /// Chances of the classes.
    pub fn probabilities(&self, features: &[f64; FEATURES]) -> [f64; CLASSES] {
        self.probabilities_of(&self.standard(features))
    }

    fn standard(&self, features: &[f64; FEATURES]) -> [f64; FEATURES + 1] {
        std::array::from_fn(|k| match self.scale.get(k) {
            Some((mean, deviation)) => (features[k] - mean) / deviation,
            None => 1.0,
        })
    }

    fn probabilities_of(&self, input: &[f64; FEATURES + 1]) -> [f64; CLASSES] {
        let logits = self.weights.map(|row| row.iter().zip(input).map(|(w, x)| w * x).sum::<f64>());
        let total = log_sum_exp(&logits);
        logits.map(|logit| (logit - total).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_look_different_are_told_apart() {
        let slice = |class: usize, number: usize| {
            let side = 60 + class * 8 + number % 3;
            let pixels = (0..side * side).map(|i| (i % (97 + 11 * class)) as u8 + number as u8);
            CtSlice {
                source: String::new(),
                width: side,
                height: side,
                pixels: pixels.collect(),
                spacing_mm: None,
                plane: None,
                not_chest_ct: None,
                warnings: Vec::new(),
            }
        };
        let of = |numbers: std::ops::Range<usize>| -> Vec<_> {
            let all = numbers.flat_map(|n| (0..CLASSES).map(move |class| (class, n)));
            all.map(|(class, n)| (features(&slice(class, n)), class)).collect()
        };
        let model = LinearModel::fit(&of(0..20));
        for (x, class) in of(20..30) {
            let probabilities = model.probabilities(&x);
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            assert!(probabilities[class] > 0.5, "{class}: {probabilities:?}");
        }
    }

    #[test]
    fn without_a_difference_all_classes_are_as_likely_however_many_slices_they_have() {
        let x = [1.0; FEATURES];
        let slices: Vec<_> = [0, 0, 0, 0, 1, 2].map(|class| (x, class)).into();
        let probabilities = LinearModel::fit(&slices).probabilities(&x);
        assert!(probabilities.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-6), "{probabilities:?}");
    }
}
