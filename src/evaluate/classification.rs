//! Confusion matrix, sensitivities, accuracy, F1 and calibration (specification 6.2, 6.3).

use serde::{Deserialize, Serialize};

use super::bootstrap::{Estimate, estimate};
use crate::network::score_module::CLASSES;

/// Shares of control, common pneumonia and COVID-19 in the paper's "class-adjusted" F1.
pub const F1_WEIGHTS: [f64; CLASSES] = [0.45, 0.35, 0.20];
/// Bins of the calibration error.
const BINS: usize = 15;

/// Counts, `[true][predicted]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix(pub [[usize; CLASSES]; CLASSES]);

impl ConfusionMatrix {
    /// Counts pairs of true and predicted class.
    pub fn of(pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut counts = [[0; CLASSES]; CLASSES];
        for (truth, predicted) in pairs {
            counts[truth][predicted] += 1;
        }
        Self(counts)
    }

    /// Share of a class that was recognised; none without a slice of it.
    pub fn sensitivity(&self, class: usize) -> Option<f64> {
        ratio(self.0[class][class], self.0[class].iter().sum())
    }

    /// Share of the slices given a class that are of it; none if it was never given.
    pub fn precision(&self, class: usize) -> Option<f64> {
        ratio(self.0[class][class], self.0.iter().map(|row| row[class]).sum())
    }

    /// Share of all slices that were right.
    pub fn accuracy(&self) -> Option<f64> {
        let right = (0..CLASSES).map(|class| self.0[class][class]).sum();
        ratio(right, self.0.iter().flatten().sum())
    }

    /// The paper's F1: per class, weighted by fixed shares. A class never given counts as zero.
    pub fn adjusted_f1(&self) -> Option<f64> {
        let mut sum = 0.0;
        for (class, weight) in F1_WEIGHTS.into_iter().enumerate() {
            let sensitivity = self.sensitivity(class)?;
            let precision = self.precision(class).unwrap_or(0.0);
            if sensitivity + precision > 0.0 {
                sum += weight * 2.0 * sensitivity * precision / (sensitivity + precision);
            }
        }
        Some(sum)
    }
}

fn ratio(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A slice's true class and what the network said.
#[derive(Clone, Debug)]
pub struct Classified {
    /// The slice.
    pub name: String,
    /// Its patient.
    pub patient: String,
    /// True class.
    pub class: usize,
    /// Logits.
    pub logits: [f32; CLASSES],
    /// Calibrated probabilities.
    pub probabilities: [f32; CLASSES],
}

impl Classified {
    /// The class of the highest logit; the first of equal ones.
    pub fn predicted(&self) -> usize {
        (1..CLASSES).fold(
            0,
            |best, class| {
                if self.logits[class] > self.logits[best] { class } else { best }
            },
        )
    }
}

/// Expected calibration error: how far confidence is from accuracy, in 15 equal bins of confidence.
pub fn calibration_error<'a>(slices: impl Iterator<Item = &'a Classified>) -> Option<f64> {
    let mut bins = [(0usize, 0.0f64, 0usize); BINS];
    let mut count = 0;
    for slice in slices {
        let confidence = f64::from(slice.probabilities[slice.predicted()]);
        let bin = ((confidence * BINS as f64) as usize).min(BINS - 1);
        bins[bin].0 += 1;
        bins[bin].1 += confidence;
        bins[bin].2 += usize::from(slice.predicted() == slice.class);
        count += 1;
    }
    let error: f64 =
        bins.iter().map(|(_, confidence, right)| (confidence - *right as f64).abs()).sum();
    (count > 0).then(|| error / f64::from(count))
}

/// Everything that is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClassificationResult {
    /// Slices.
    pub slices: usize,
    /// Patients of each class.
    pub patients: [usize; CLASSES],
    /// Counts.
    pub confusion: ConfusionMatrix,
    /// By class, in the order of the logits.
    pub sensitivities: [Option<Estimate>; CLASSES],
    /// Overall.
    pub accuracy: Option<Estimate>,
    /// The paper's F1.
    pub adjusted_f1: Option<Estimate>,
    /// Expected calibration error.
    pub calibration_error: Option<Estimate>,
}

/// Measures.
pub fn evaluate(slices: &[Classified]) -> ClassificationResult {
    let patients: Vec<String> = slices.iter().map(|slice| slice.patient.clone()).collect();
    let matrix = |items: &[usize]| {
        ConfusionMatrix::of(items.iter().map(|i| (slices[*i].class, slices[*i].predicted())))
    };
    let all: Vec<usize> = (0..slices.len()).collect();
    ClassificationResult {
        slices: slices.len(),
        patients: std::array::from_fn(|class| {
            let mut own: Vec<_> =
                slices.iter().filter(|s| s.class == class).map(|s| &s.patient).collect();
            own.sort_unstable();
            own.dedup();
            own.len()
        }),
        confusion: matrix(&all),
        sensitivities: std::array::from_fn(|class| {
            // Only the patients of the class tell anything about it.
            let own: Vec<usize> =
                all.iter().copied().filter(|i| slices[*i].class == class).collect();
            let patients: Vec<String> = own.iter().map(|i| patients[*i].clone()).collect();
            estimate(&patients, |items| {
                let items: Vec<usize> = items.iter().map(|i| own[*i]).collect();
                matrix(&items).sensitivity(class)
            })
        }),
        accuracy: estimate(&patients, |items| matrix(items).accuracy()),
        adjusted_f1: estimate(&patients, |items| matrix(items).adjusted_f1()),
        calibration_error: estimate(&patients, |items| {
            calibration_error(items.iter().map(|i| &slices[*i]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrices of specification 6.3.
    #[test]
    fn f1_and_accuracy_are_those_of_the_published_matrices() {
        for (matrix, accuracy, f1) in [
            ([[9322, 123, 5], [174, 7139, 82], [27, 277, 4042]], None, 0.96760),
            ([[9236, 188, 26], [116, 7150, 129], [20, 298, 4028]], Some(0.96333), 0.96352),
            ([[9158, 278, 14], [204, 7030, 161], [15, 251, 4080]], Some(0.95644), 0.95661),
        ] {
            let matrix = ConfusionMatrix(matrix);
            assert!((matrix.adjusted_f1().unwrap() - f1).abs() < 1e-5);
            if let Some(accuracy) = accuracy {
                assert!((matrix.accuracy().unwrap() - accuracy).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn calibration_error_is_the_gap_between_confidence_and_accuracy() {
        let slice = |class| Classified {
            name: String::new(),
            patient: String::new(),
            class,
            logits: [2.0, 1.0, 0.0],
            probabilities: [0.9, 0.1, 0.0],
        };
        // 0.9 sure, right in one of two.
        let slices = [slice(0), slice(1)];
        assert!((calibration_error(slices.iter()).unwrap() - 0.4).abs() < 1e-6);
    }
}
