//! Confidence intervals by resampling patients: slices of one patient are not independent.
//!
//! Of few patients resampling says nothing that the patients' own values do not say better.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::statistics::quantile;

/// Resamplings.
pub const REPETITIONS: usize = 2000;
/// Seed: the same data give the same interval.
const SEED: u64 = 20;

/// Patients from which on an interval is given.
pub const FEWEST_PATIENTS: usize = 10;

/// A value with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// On the data as they are.
    pub value: f64,
    /// 2.5 % and 97.5 % of the resamplings; none from fewer than ten patients.
    pub interval: Option<[f64; 2]>,
    /// The values of these few patients instead, where they have one.
    #[serde(default)]
    pub patients: Vec<f64>,
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.interval {
            Some([low, high]) => write!(f, "{:.4} ({low:.4} to {high:.4})", self.value),
            None if self.patients.is_empty() => write!(f, "{:.4}", self.value),
            None => {
                let own: Vec<String> = self.patients.iter().map(|v| format!("{v:.4}")).collect();
                write!(f, "{:.4} (patients: {})", self.value, own.join(", "))
            }
        }
    }
}

/// The statistic of all items, and its interval over resampled patients.
///
/// `patients` names the patient of every item; `statistic` sees indices of items, repeated where
/// a patient is drawn more than once, and may have no value (a class that was not drawn).
pub fn estimate(
    patients: &[String],
    statistic: impl Fn(&[usize]) -> Option<f64>,
) -> Option<Estimate> {
    let all: Vec<usize> = (0..patients.len()).collect();
    let value = statistic(&all)?;
    let mut groups: BTreeMap<&String, Vec<usize>> = BTreeMap::new();
    for (index, patient) in patients.iter().enumerate() {
        groups.entry(patient).or_default().push(index);
    }
    if groups.len() < FEWEST_PATIENTS {
        let patients = groups.values().filter_map(|items| statistic(items)).collect();
        return Some(Estimate { value, interval: None, patients });
    }
    let groups: Vec<Vec<usize>> = groups.into_values().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut values = Vec::with_capacity(REPETITIONS);
    for _ in 0..REPETITIONS {
        let drawn: Vec<usize> = (0..groups.len())
            .flat_map(|_| groups[rng.random_range(0..groups.len())].iter().copied())
            .collect();
        values.extend(statistic(&drawn));
    }
    values.sort_by(f64::total_cmp);
    let interval =
        quantile(&values, 0.025).zip(quantile(&values, 0.975)).map(|(low, high)| [low, high]);
    Some(Estimate { value, interval, patients: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors_wide() {
        let patients: Vec<String> = (0..400).map(|i| i.to_string()).collect();
        let values: Vec<f64> = (0..400).map(|i| f64::from((i * 37) % 100) / 100.0).collect();
        let mean = |items: &[usize]| {
            Some(items.iter().map(|i| values[*i]).sum::<f64>() / items.len() as f64)
        };
        let found = estimate(&patients, mean).unwrap();
        let [low, high] = found.interval.unwrap();
        let expected = 2.0 * 1.96 * (1.0f64 / 12.0).sqrt() / 20.0;
        assert!((high - low - expected).abs() < 0.1 * expected, "{low} {high}");
        let single = estimate(&vec!["a".to_owned(); 400], mean).unwrap();
        assert_eq!((single.interval, single.patients), (None, vec![single.value]));
    }

    #[test]
    fn few_patients_show_their_own_values() {
        let patients: Vec<String> = ["b", "a", "b", "a"].map(String::from).to_vec();
        let mean = |items: &[usize]| {
            Some(items.iter().map(|i| *i as f64).sum::<f64>() / items.len() as f64)
        };
        let found = estimate(&patients, mean).unwrap();
        assert_eq!(found.patients, [2.0, 1.0]);
        assert_eq!(found.to_string(), "1.5000 (patients: 2.0000, 1.0000)");
    }
}
