//! Softmax temperature: one number that makes probabilities mean what they say
//! (Guo et al. 2017, "On Calibration of Modern Neural Networks").

use crate::statistics::log_sum_exp;

/// Bounds of the search.
const RANGE: [f64; 2] = [0.05, 100.0];

/// Mean negative log likelihood of the true classes at a temperature.
pub fn negative_log_likelihood(examples: &[(Vec<f64>, usize)], temperature: f64) -> f64 {
    let sum: f64 = examples
        .iter()
        .map(|(logits, class)| {
            let scaled: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
            log_sum_exp(&scaled) - scaled[*class]
        })
        .sum();
    sum / examples.len().max(1) as f64
}

/// The temperature of highest likelihood, by golden-section search of its logarithm (the
/// likelihood has one maximum in it).
pub fn fit_temperature(examples: &[(Vec<f64>, usize)]) -> f64 {
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let [mut low, mut high] = RANGE.map(f64::ln);
    let loss = |log: f64| negative_log_likelihood(examples, log.exp());
    for _ in 0..80 {
        let span = golden * (high - low);
        if loss(high - span) < loss(low + span) {
            high = low + span;
        } else {
            low = high - span;
        }
    }
    ((low + high) / 2.0).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_logits_get_the_temperature_that_undoes_it() {
        // Right in three of four cases with a margin of 8: a margin of ln 3 would be honest (two
        // classes; the third is out of play).
        let examples: Vec<_> =
            (0..400).map(|i| (vec![8.0, 0.0, -1e3], usize::from(i % 4 == 0))).collect();
        let temperature = fit_temperature(&examples);
        assert!((temperature - 8.0 / 3f64.ln()).abs() < 1e-3, "{temperature}");
    }
}
