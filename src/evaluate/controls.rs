//! A classifier that sees nothing of medicine: twelve trivial features of a picture and a linear model. A network
//! that is no better has learnt what its sources look like.

use crate::classes::CLASSES;
use crate::image::CtSlice;
use crate::logistic_regression::LogisticRegression;
use crate::statistics::quantile;

/// Features of a picture.
pub const FEATURES: usize = 12;
/// Weight of the squared coefficients.
const DECAY: f64 = 1e-2;
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

/// Fits pairs of features and class, every class of equal weight.
pub fn fit(slices: &[([f64; FEATURES], usize)]) -> LogisticRegression {
    let (rows, classes): (Vec<Vec<f64>>, Vec<usize>) =
        slices.iter().map(|(features, class)| (features.to_vec(), *class)).unzip();
    let mut sizes = [0usize; CLASSES];
    classes.iter().for_each(|class| sizes[*class] += 1);
    let shares: Vec<f64> = classes.iter().map(|class| 1.0 / sizes[*class] as f64).collect();
    LogisticRegression::fit(&rows, &classes, &shares, DECAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_look_different_are_told_apart() {
        let slice = |class: usize, number: usize| {
            let side = 60 + class * 8 + number % 3;
            let pixels = (0..side * side).map(|i| (i % (97 + 11 * class)) as u8 + number as u8);
            CtSlice::new("", (side, side), pixels.collect())
        };
        let of = |numbers: std::ops::Range<usize>| -> Vec<_> {
            let all = numbers.flat_map(|n| (0..CLASSES).map(move |class| (class, n)));
            all.map(|(class, n)| (features(&slice(class, n)), class)).collect()
        };
        let model = fit(&of(0..20));
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
        let probabilities = fit(&slices).probabilities(&x);
        assert!(probabilities.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-6), "{probabilities:?}");
    }
}
