//! The two-sample Kolmogorov-Smirnov test with exact p-values (docs/method.md, 8, Table 5).
//!
//! statrs has the two-sided exact test only, and loses small probabilities to rounding.

use serde::{Deserialize, Serialize};

/// What would be surprising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alternative {
    /// The first sample's distribution function lies below the second's somewhere: the first
    /// sample's values are larger. The paper's Table 5.
    Less,
    /// It lies above.
    Greater,
    /// Two-sided: either way.
    TwoSided,
}

/// Statistic and probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KsTest {
    /// Largest distance of the distribution functions in the direction tested.
    pub statistic: f64,
    /// Probability of one as large if both samples come from one distribution, counted over all
    /// orders of the joint sample.
    pub p: f64,
    /// `exp(-2 D^2 nm / (n + m))`, doubled for two sides: the large-sample formula.
    pub p_asymptotic: f64,
}

/// Compares two samples. Empty samples have no distribution: `None`.
pub fn ks_test(first: &[f64], second: &[f64], alternative: Alternative) -> Option<KsTest> {
    let (n, m) = (first.len() as i64, second.len() as i64);
    if n == 0 || m == 0 {
        return None;
    }
    let sorted = |sample: &[f64]| {
        let mut sample = sample.to_vec();
        sample.sort_by(f64::total_cmp);
        sample
    };
    let (first, second) = (sorted(first), sorted(second));
    let counts = |sample: &[f64], value: f64| sample.partition_point(|v| *v <= value) as i64;
    // Differences of the distribution functions in units of 1 / (n m).
    let differences: Vec<i64> = first
        .iter()
        .chain(&second)
        .map(|value| counts(&second, *value) * n - counts(&first, *value) * m)
        .collect();
    let above = differences.iter().copied().max().unwrap_or(0).max(0);
    let below = differences.iter().map(|d| -d).max().unwrap_or(0).max(0);
    let height = match alternative {
        Alternative::Less => above,
        Alternative::Greater => below,
        Alternative::TwoSided => above.max(below),
    };
    let statistic = height as f64 / (n * m) as f64;
    let p = if height == 0 {
        1.0
    } else {
        // By symmetry both one-sided probabilities are the same.
        touching_probability(n, m, height, alternative == Alternative::TwoSided)
    };
    let exponent = -2.0 * statistic * statistic * (n * m) as f64 / (n + m) as f64;
    let sides = if alternative == Alternative::TwoSided { 2.0 } else { 1.0 };
    Some(KsTest { statistic, p, p_asymptotic: (sides * exponent.exp()).min(1.0) })
}

/// Probability that a random path of `n` steps right and `m` steps up reaches `up * n - right * m >=
/// height` (or, with `both`, also the mirror image). Sums of positive numbers only, so small
/// probabilities keep their digits.
fn touching_probability(n: i64, m: i64, height: i64, both: bool) -> f64 {
    let touches = |right: i64, up: i64| {
        let difference = up * n - right * m;
        difference >= height || (both && -difference >= height)
    };
    // `row[up]` is the probability from (right, up) on; computed from the end backwards.
    let mut row = vec![0.0f64; m as usize + 1];
    for right in (0..=n).rev() {
        for up in (0..=m).rev() {
            let left = (n - right + m - up) as f64;
            row[up as usize] = if touches(right, up) {
                1.0
            } else if left == 0.0 {
                0.0
            } else {
                let mut probability = 0.0;
                if right < n {
                    probability += (n - right) as f64 / left * row[up as usize];
                }
                if up < m {
                    probability += (m - up) as f64 / left * row[up as usize + 1];
                }
                probability
            };
        }
    }
    row[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `C(2n, n - h) / C(2n, n)`, the closed form for samples of the same size.
    fn closed_form(n: i64, h: i64) -> f64 {
        (0..h).map(|j| (n - j) as f64 / (n + j + 1) as f64).product()
    }

    #[test]
    fn samples_of_one_size_have_the_closed_form() {
        for (n, h) in [(5, 2), (60, 13), (475, 86), (475, 456)] {
            let exact = touching_probability(n, n, h * n, false);
            assert!((exact / closed_form(n, h) - 1.0).abs() < 1e-9, "{n} {h}");
        }
    }

    proptest! {
        #[test]
        fn probabilities_lie_between_zero_and_one_and_sides_swap(
            a in prop::collection::vec(0u8..9, 1..30), b in prop::collection::vec(0u8..9, 1..30),
        ) {
            let wide = |v: &[u8]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
            let (a, b) = (wide(&a), wide(&b));
            let less = ks_test(&a, &b, Alternative::Less).unwrap();
            let greater = ks_test(&b, &a, Alternative::Greater).unwrap();
            prop_assert!((less.statistic - greater.statistic).abs() < 1e-12);
            prop_assert!((less.p - greater.p).abs() < 1e-9);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&less.p));
        }
    }
}
