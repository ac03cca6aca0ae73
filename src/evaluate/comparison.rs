//! Differences between two classifiers on the same slices, with intervals over patients: what both find hard
//! cancels out.

use std::collections::BTreeMap;

use crate::evaluate::bootstrap::{Estimate, estimate};
use crate::evaluate::classification::{
    Classified, area_under_curve, balanced_accuracy, brier_score, pneumonia_balanced_accuracy,
};

/// A measure of slices; none where it has no value.
type Measure = fn(&[Classified]) -> Option<f64>;

/// The measures that are compared.
const MEASURES: [(&str, Measure); 4] = [
    ("balanced accuracy", balanced_accuracy),
    ("pneumonia or not, balanced", |slices| pneumonia_balanced_accuracy(slices.iter())),
    ("pneumonia or not, area under the curve", |slices| {
        let scored = slices.iter().map(|s| (1.0 - s.probabilities[0], s.class.is_pneumonia()));
        area_under_curve(&scored.collect::<Vec<_>>())
    }),
    ("Brier score", |slices| brier_score(slices.iter())),
];

/// Slices that both were asked about, in the order of the first, and how many only one was.
pub fn paired(
    first: Vec<Classified>,
    second: Vec<Classified>,
) -> (Vec<(Classified, Classified)>, usize) {
    let all = first.len() + second.len();
    let mut others: BTreeMap<String, Classified> =
        second.into_iter().map(|slice| (slice.name.clone(), slice)).collect();
    let pairs: Vec<_> = first
        .into_iter()
        .filter_map(|slice| others.remove(&slice.name).map(|other| (slice, other)))
        .filter(|(slice, other)| slice.class == other.class)
        .collect();
    let unpaired = all - 2 * pairs.len();
    (pairs, unpaired)
}

/// Each measure of the second less that of the first.
pub fn differences(pairs: &[(Classified, Classified)]) -> Vec<(&'static str, Option<Estimate>)> {
    let patients: Vec<String> = pairs.iter().map(|(slice, _)| slice.patient.clone()).collect();
    let of = |measure: Measure| {
        estimate(&patients, |items| {
            let (first, second): (Vec<_>, Vec<_>) = items.iter().map(|i| pairs[*i].clone()).unzip();
            Some(measure(&second)? - measure(&first)?)
        })
    };
    MEASURES.iter().map(|(name, measure)| (*name, of(*measure))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::SliceClass;

    fn slice(number: usize, sure: f32) -> Classified {
        let class = number % 3;
        let mut probabilities = [(1.0 - sure) / 2.0; 3];
        // Every fifth is taken for another class.
        probabilities[if number.is_multiple_of(5) { (class + 1) % 3 } else { class }] = sure;
        Classified {
            name: number.to_string(),
            patient: format!("p{}", number / 2),
            source: String::new(),
            class: SliceClass::ALL[class],
            logits: [0.0; 3],
            probabilities,
        }
    }

    #[test]
    fn what_both_have_wrong_makes_no_difference_and_what_one_has_surer_does() {
        let of = |sure: f32| (0..120).map(|number| slice(number, sure)).collect::<Vec<_>>();
        let (pairs, unpaired) = paired(of(0.6), of(0.8));
        assert_eq!((pairs.len(), unpaired), (120, 0));
        let found = differences(&pairs);
        let balanced = found[0].1.as_ref().unwrap();
        assert_eq!((balanced.value, balanced.interval), (0.0, Some([0.0, 0.0])));
        let brier = found[3].1.as_ref().unwrap();
        assert!(brier.value < 0.0 && brier.interval.is_some_and(|[_, high]| high < 0.0), "{brier}");
    }

    #[test]
    fn slices_that_only_one_was_asked_about_are_counted() {
        let first = (0..4).map(|number| slice(number, 0.6)).collect();
        let second = (1..6).map(|number| slice(number, 0.6)).collect();
        let (pairs, unpaired) = paired(first, second);
        assert_eq!((pairs.len(), unpaired), (3, 3));
    }
}
