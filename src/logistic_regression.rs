//! Multinomial logistic regression on the features of slices.

use crate::classes::CLASSES;
use crate::statistics::log_sum_exp;

/// Steps of accelerated gradient descent, unless nothing moves any more before.
const STEPS: usize = 5000;
/// Largest slope that counts as none.
const FLAT: f64 = 1e-9;
/// Steps of the power method that bounds the curvature, and what is added for what it may have missed.
const POWER_STEPS: usize = 50;
const MARGIN: f64 = 1.05;

/// A linear model of the classes, on features that it standardises.
#[derive(Clone, Debug)]
pub struct LogisticRegression {
    /// Mean and deviation of each feature.
    scale: Vec<(f64, f64)>,
    /// Coefficients of each class; the last is its constant.
    weights: [Vec<f64>; CLASSES],
}

impl LogisticRegression {
    /// Fits `rows` of features, each with its class and its share of the loss. `decay` is the weight of half the
    /// squared coefficients, constants included, beside the mean loss.
    pub fn fit(rows: &[Vec<f64>], classes: &[usize], shares: &[f64], decay: f64) -> Self {
        let count = rows.len().max(1) as f64;
        let features = rows.first().map_or(0, Vec::len);
        let scale = (0..features).map(|k| {
            let mean = rows.iter().map(|row| row[k]).sum::<f64>() / count;
            let variance = rows.iter().map(|row| (row[k] - mean).powi(2)).sum::<f64>() / count;
            (mean, variance.sqrt().max(1e-9))
        });
        let weights = std::array::from_fn(|_| vec![0.0; features + 1]);
        let mut model = Self { scale: scale.collect(), weights };
        let inputs: Vec<Vec<f64>> = rows.iter().map(|row| model.standard(row)).collect();
        let total: f64 = shares.iter().sum();
        let shares: Vec<f64> = shares.iter().map(|share| share / total).collect();
        // Nesterov's method; the loss is convex, and half the largest eigenvalue bounds its curvature.
        let rate = 1.0 / (0.5 * largest_eigenvalue(&inputs, &shares) * MARGIN + decay);
        let (mut before, mut momentum) = (model.weights.clone(), 1.0f64);
        for _ in 0..STEPS {
            let gradient = model.gradient(&inputs, classes, &shares, decay);
            if gradient.iter().flatten().all(|slope| slope.abs() < FLAT) {
                break;
            }
            let next = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
            let ahead = (momentum - 1.0) / next;
            momentum = next;
            for ((row, gradient), before) in
                model.weights.iter_mut().zip(&gradient).zip(&mut before)
            {
                for ((weight, slope), before) in row.iter_mut().zip(gradient).zip(before) {
                    let stepped = *weight - rate * slope;
                    *weight = stepped + ahead * (stepped - *before);
                    *before = stepped;
                }
            }
        }
        model
    }

    /// Chances of the classes.
    pub fn probabilities(&self, features: &[f64]) -> [f64; CLASSES] {
        self.probabilities_of(&self.standard(features))
    }

    /// Coefficients of each class on features as they are, and its constant.
    pub fn coefficients(&self) -> [(Vec<f64>, f64); CLASSES] {
        std::array::from_fn(|class| {
            let (constant, slopes) = self.weights[class].split_last().unwrap_or((&0.0, &[]));
            let raw: Vec<f64> =
                slopes.iter().zip(&self.scale).map(|(w, (_, deviation))| w / deviation).collect();
            let shift: f64 = raw.iter().zip(&self.scale).map(|(w, (mean, _))| w * mean).sum();
            (raw, constant - shift)
        })
    }

    fn gradient(
        &self,
        inputs: &[Vec<f64>],
        classes: &[usize],
        shares: &[f64],
        decay: f64,
    ) -> [Vec<f64>; CLASSES] {
        let mut gradient =
            self.weights.each_ref().map(|row| row.iter().map(|weight| weight * decay).collect());
        for ((input, class), share) in inputs.iter().zip(classes).zip(shares) {
            for (k, probability) in self.probabilities_of(input).into_iter().enumerate() {
                let off = share * (probability - f64::from(u8::from(k == *class)));
                let row: &mut Vec<f64> = &mut gradient[k];
                row.iter_mut().zip(input).for_each(|(slope, x)| *slope += off * x);
            }
        }
        gradient
    }

    /// Standardised features, and one for the constant.
    fn standard(&self, features: &[f64]) -> Vec<f64> {
        let scaled =
            features.iter().zip(&self.scale).map(|(x, (mean, deviation))| (x - mean) / deviation);
        scaled.chain([1.0]).collect()
    }

    fn probabilities_of(&self, input: &[f64]) -> [f64; CLASSES] {
        let logit = |row: &Vec<f64>| row.iter().zip(input).map(|(w, x)| w * x).sum::<f64>();
        let logits = self.weights.each_ref().map(logit);
        let total = log_sum_exp(&logits);
        logits.map(|logit| (logit - total).exp())
    }
}

/// The largest eigenvalue of the weighted second moments, by the power method.
fn largest_eigenvalue(inputs: &[Vec<f64>], shares: &[f64]) -> f64 {
    let Some(features) = inputs.first().map(Vec::len) else { return 1.0 };
    let mut vector = vec![1.0 / (features as f64).sqrt(); features];
    let mut value = 1.0;
    for _ in 0..POWER_STEPS {
        let mut product = vec![0.0; features];
        for (input, share) in inputs.iter().zip(shares) {
            let along: f64 = input.iter().zip(&vector).map(|(x, v)| x * v).sum();
            product.iter_mut().zip(input).for_each(|(sum, x)| *sum += share * along * x);
        }
        value = product.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        vector = product.into_iter().map(|x| x / value).collect();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points around one centre for each class.
    fn points() -> (Vec<Vec<f64>>, Vec<usize>) {
        let point = |number: usize| {
            let class = number % CLASSES;
            let wave = (number as f64 * 1.7).sin();
            (vec![class as f64 * 3.0 + wave, 50.0 - 20.0 * class as f64 + 8.0 * wave, wave], class)
        };
        (0..90).map(point).unzip()
    }

    #[test]
    fn where_nothing_slopes_any_more_it_stops() {
        let (rows, classes) = points();
        let shares = vec![1.0; rows.len()];
        let model = LogisticRegression::fit(&rows, &classes, &shares, 0.01);
        let inputs: Vec<_> = rows.iter().map(|row| model.standard(row)).collect();
        let shares = vec![1.0 / rows.len() as f64; rows.len()];
        let gradient = model.gradient(&inputs, &classes, &shares, 0.01);
        assert!(gradient.iter().flatten().all(|slope| slope.abs() < 1e-6));
        let right = rows
            .iter()
            .zip(&classes)
            .filter(|(row, class)| model.probabilities(row)[**class] > 0.5);
        assert_eq!(right.count(), rows.len());
    }

    #[test]
    fn its_coefficients_say_the_same_of_features_as_they_are() {
        let (rows, classes) = points();
        let model = LogisticRegression::fit(&rows, &classes, &vec![2.0; rows.len()], 0.1);
        for row in &rows {
            let logits = model.coefficients().map(|(slopes, constant)| {
                constant + slopes.iter().zip(row).map(|(w, x)| w * x).sum::<f64>()
            });
            let total = log_sum_exp(&logits);
            for (logit, expected) in logits.iter().zip(model.probabilities(row)) {
                assert!(((logit - total).exp() - expected).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn shares_weigh_like_copies() {
        let (mut rows, mut classes) = points();
        let shares: Vec<f64> = classes.iter().map(|class| [2.0, 1.0, 1.0][*class]).collect();
        let weighted = LogisticRegression::fit(&rows, &classes, &shares, 0.1);
        let copies: Vec<usize> = (0..rows.len()).filter(|n| classes[*n] == 0).collect();
        rows.extend(copies.iter().map(|n| rows[*n].clone()).collect::<Vec<_>>());
        classes.extend(vec![0; copies.len()]);
        let copied = LogisticRegression::fit(&rows, &classes, &vec![1.0; rows.len()], 0.1);
        let of = |model: &LogisticRegression| model.probabilities(&rows[1]);
        // Means and deviations do not know shares, so the decay pulls at slightly different coefficients.
        assert!((of(&weighted)[1] - of(&copied)[1]).abs() < 0.02);
    }
}
