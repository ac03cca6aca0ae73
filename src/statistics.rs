//! Quantiles, and sums of exponentials that do not overflow.

/// The value below which a share of sorted values lies, in proportion between its two neighbours, as NumPy's
/// `quantile` has it; `None` without any value.
///
/// # Examples
///
/// ```
/// use groundglass::statistics::quantile;
///
/// assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
/// ```
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let (low, rest) = (place.floor() as usize, place.fract());
    Some(sorted[low] + rest * (sorted[(low + 1).min(last)] - sorted[low]))
}

/// The middle of some values, which are sorted; 0 without any.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(values, 0.5).unwrap_or_default()
}

/// Logarithm of the sum of exponentials: what a softmax divides by.
pub fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + values.iter().map(|value| (value - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_values_and_need_one() {
        let values = [0.0, 1.0, 4.0];
        assert_eq!(quantile(&values, 0.25), Some(0.5));
        assert_eq!(quantile(&values, 0.75), Some(2.5));
        assert_eq!([0.0, 1.0].map(|share| quantile(&values, share)), [Some(0.0), Some(4.0)]);
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!((median(&mut [3.0, 1.0, 2.0]), median(&mut [])), (2.0, 0.0));
    }

    #[test]
    fn large_values_do_not_overflow() {
        assert_eq!(log_sum_exp(&[1e4, -1e4]), 1e4);
        assert!((log_sum_exp(&[0.0, 0.0]) - 2f64.ln()).abs() < 1e-15);
    }
}
