//! Confusion matrix, sensitivities, balanced accuracy, areas under curves, F1 and calibration
//! (docs/method.md, 6.2, 6.3), overall and within each source.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::classes::{CLASSES, SliceClass};
use crate::dataset::classes::ClassFile;
use crate::evaluate::bootstrap::{Estimate, estimate};
use crate::report::SliceReport;
use crate::report::verdict::Measured;

/// Shares of control, common pneumonia and COVID-19 in the paper's "class-adjusted" F1.
pub const F1_WEIGHTS: [f64; CLASSES] = [0.45, 0.35, 0.20];
/// Bins of the calibration error.
const BINS: usize = 15;

/// Counts, `[true][predicted]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionMatrix(pub [[usize; CLASSES]; CLASSES]);

impl ConfusionMatrix {
    /// Counts pairs of true and predicted class.
    pub fn of(pairs: impl Iterator<Item = (SliceClass, SliceClass)>) -> Self {
        let mut counts = [[0; CLASSES]; CLASSES];
        for (truth, predicted) in pairs {
            counts[truth.index()][predicted.index()] += 1;
        }
        Self(counts)
    }

    /// Share of a class that was recognised; none without a slice of it.
    pub fn sensitivity(&self, class: SliceClass) -> Option<f64> {
        let own = &self.0[class.index()];
        ratio(own[class.index()], own.iter().sum())
    }

    /// Share of the slices given a class that are of it; none if it was never given.
    pub fn precision(&self, class: SliceClass) -> Option<f64> {
        let class = class.index();
        ratio(self.0[class][class], self.0.iter().map(|row| row[class]).sum())
    }

    /// Mean of the sensitivities of the classes that occur; none without a slice.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let known: Vec<f64> =
            SliceClass::ALL.into_iter().filter_map(|class| self.sensitivity(class)).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }

    /// Share of all slices that were right.
    pub fn accuracy(&self) -> Option<f64> {
        let right = (0..CLASSES).map(|class| self.0[class][class]).sum();
        ratio(right, self.0.iter().flatten().sum())
    }

    /// The paper's F1: per class, weighted by fixed shares. A class never given counts as zero.
    pub fn adjusted_f1(&self) -> Option<f64> {
        let mut sum = 0.0;
        for (class, weight) in SliceClass::ALL.into_iter().zip(F1_WEIGHTS) {
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
    /// Its patient, told apart over all sources.
    pub patient: String,
    /// Where it was published; empty if that is not known.
    pub source: String,
    /// True class.
    pub class: SliceClass,
    /// Logits.
    pub logits: [f32; CLASSES],
    /// Calibrated probabilities.
    pub probabilities: [f32; CLASSES],
}

impl Classified {
    /// What a report says of a slice whose class is known; `None` without a class.
    pub fn of(file: &ClassFile, report: &SliceReport) -> Option<Self> {
        let (logits, classes) = report.logits.zip(report.classes)?;
        Some(Self {
            name: file.name.clone(),
            patient: file.patient_key(),
            source: file.source.clone(),
            class: file.class,
            logits,
            probabilities: classes.values(),
        })
    }

    /// The class of the highest probability; the first of equal ones.
    pub fn predicted(&self) -> SliceClass {
        SliceClass::of_highest(&self.probabilities)
    }
}

/// Expected calibration error: how far confidence is from accuracy, in 15 equal bins of confidence.
pub fn calibration_error<'a>(slices: impl Iterator<Item = &'a Classified>) -> Option<f64> {
    let mut bins = [(0usize, 0.0f64, 0usize); BINS];
    let mut count = 0;
    for slice in slices {
        let confidence = f64::from(slice.probabilities[slice.predicted().index()]);
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

/// Area under the ROC curve of a score for `(score, positive)` pairs; ties count half. None unless both occur.
pub fn area_under_curve(scored: &[(f32, bool)]) -> Option<f64> {
    let mut sorted: Vec<&(f32, bool)> = scored.iter().collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut area) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let positives = tied.iter().filter(|(_, positive)| *positive).count() as f64;
        let negatives = tied.len() as f64 - positives;
        area += positives * (below + negatives / 2.0);
        below += negatives;
    }
    let positives = scored.iter().filter(|(_, positive)| *positive).count() as f64;
    (positives > 0.0 && below > 0.0).then(|| area / (positives * below))
}

/// Mean squared distance of the probabilities from the truth, over all classes (Brier 1950).
pub fn brier_score<'a>(slices: impl Iterator<Item = &'a Classified>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for slice in slices {
        for (class, probability) in slice.probabilities.iter().enumerate() {
            let truth = f64::from(u8::from(class == slice.class.index()));
            sum += (f64::from(*probability) - truth).powi(2);
        }
        count += 1;
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// Mean sensitivity of the classes that occur.
pub fn balanced_accuracy(slices: &[Classified]) -> Option<f64> {
    ConfusionMatrix::of(slices.iter().map(|s| (s.class, s.predicted()))).balanced_accuracy()
}

/// Mean of sensitivity and specificity of the question pneumonia or not, which is answered by the sum of both
/// kinds' probabilities, as verdicts are; none unless both occur.
pub fn pneumonia_balanced_accuracy<'a>(
    slices: impl Iterator<Item = &'a Classified>,
) -> Option<f64> {
    // Right and all, of healthy and ill slices.
    let mut counts = [[0usize; 2]; 2];
    for slice in slices {
        let said = 1.0 - slice.probabilities[0] > 0.5;
        let truth = slice.class.is_pneumonia();
        let [right, all] = &mut counts[usize::from(truth)];
        *right += usize::from(said == truth);
        *all += 1;
    }
    let [healthy, ill] = counts.map(|[right, all]| ratio(right, all));
    Some((healthy? + ill?) / 2.0)
}

/// What is measured on the slices of one source.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceResult {
    /// Slices.
    pub slices: usize,
    /// Patients.
    pub patients: usize,
    /// Counts.
    pub confusion: ConfusionMatrix,
    /// Mean sensitivity of the classes that the source has; none if it has one only.
    pub balanced_accuracy: Option<Estimate>,
}

/// Everything that is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClassificationResult {
    /// Slices with a class.
    pub slices: usize,
    /// Slices that were given none.
    #[serde(default)]
    pub refused: usize,
    /// Patients of each class.
    pub patients: [usize; CLASSES],
    /// Counts.
    pub confusion: ConfusionMatrix,
    /// By class, in the order of the logits.
    pub sensitivities: [Option<Estimate>; CLASSES],
    /// Overall; the share of the largest class is what always saying that class would reach.
    pub accuracy: Option<Estimate>,
    /// Mean of the sensitivities; a third by chance.
    #[serde(default)]
    pub balanced_accuracy: Option<Estimate>,
    /// Of the question pneumonia or not; a half by chance.
    #[serde(default)]
    pub pneumonia_balanced_accuracy: Option<Estimate>,
    /// Area under the curve of the probability of pneumonia of any kind.
    #[serde(default)]
    pub pneumonia_auc: Option<Estimate>,
    /// Area under the curve of each class's probability.
    #[serde(default)]
    pub auc: [Option<Estimate>; CLASSES],
    /// Brier score.
    #[serde(default)]
    pub brier: Option<Estimate>,
    /// By source, where sources are known.
    #[serde(default)]
    pub sources: BTreeMap<String, SourceResult>,
    /// The paper's F1.
    pub adjusted_f1: Option<Estimate>,
    /// Expected calibration error.
    pub calibration_error: Option<Estimate>,
    /// What is said at the thresholds that the model stores, and how often it is right; none for a table of
    /// probabilities.
    #[serde(default)]
    pub verdicts: Option<Measured>,
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
        refused: 0,
        patients: SliceClass::ALL.map(|class| {
            let mut own: Vec<_> =
                slices.iter().filter(|s| s.class == class).map(|s| &s.patient).collect();
            own.sort_unstable();
            own.dedup();
            own.len()
        }),
        confusion: matrix(&all),
        sensitivities: SliceClass::ALL.map(|class| {
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
        balanced_accuracy: estimate(&patients, |items| matrix(items).balanced_accuracy()),
        pneumonia_balanced_accuracy: estimate(&patients, |items| {
            pneumonia_balanced_accuracy(items.iter().map(|i| &slices[*i]))
        }),
        pneumonia_auc: estimate(&patients, |items| {
            let scored = items
                .iter()
                .map(|i| (1.0 - slices[*i].probabilities[0], slices[*i].class.is_pneumonia()));
            area_under_curve(&scored.collect::<Vec<_>>())
        }),
        auc: SliceClass::ALL.map(|class| {
            estimate(&patients, |items| {
                let scored = items
                    .iter()
                    .map(|i| (slices[*i].probabilities[class.index()], slices[*i].class == class));
                area_under_curve(&scored.collect::<Vec<_>>())
            })
        }),
        brier: estimate(&patients, |items| brier_score(items.iter().map(|i| &slices[*i]))),
        sources: by_source(slices),
        adjusted_f1: estimate(&patients, |items| matrix(items).adjusted_f1()),
        calibration_error: estimate(&patients, |items| {
            calibration_error(items.iter().map(|i| &slices[*i]))
        }),
        verdicts: None,
    }
}

fn by_source(slices: &[Classified]) -> BTreeMap<String, SourceResult> {
    let mut groups: BTreeMap<&str, Vec<&Classified>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| !slice.source.is_empty()) {
        groups.entry(&slice.source).or_default().push(slice);
    }
    let measured = |own: Vec<&Classified>| {
        let patients: Vec<String> = own.iter().map(|slice| slice.patient.clone()).collect();
        let matrix = |items: &[usize]| {
            ConfusionMatrix::of(items.iter().map(|i| (own[*i].class, own[*i].predicted())))
        };
        let all: Vec<usize> = (0..own.len()).collect();
        let confusion = matrix(&all);
        let classes = confusion.0.iter().filter(|row| row.iter().sum::<usize>() > 0).count();
        let balanced = estimate(&patients, |items| matrix(items).balanced_accuracy());
        SourceResult {
            slices: own.len(),
            patients: patients.iter().collect::<std::collections::BTreeSet<_>>().len(),
            confusion,
            balanced_accuracy: balanced.filter(|_| classes > 1),
        }
    };
    groups.into_iter().map(|(source, own)| (source.to_owned(), measured(own))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matrices of docs/method.md, 6.3.
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
            source: String::new(),
            class,
            logits: [2.0, 1.0, 0.0],
            probabilities: [0.9, 0.1, 0.0],
        };
        // 0.9 sure, right in one of two.
        let slices = [slice(SliceClass::Control), slice(SliceClass::CommonPneumonia)];
        assert!((calibration_error(slices.iter()).unwrap() - 0.4).abs() < 1e-6);
    }
    #[test]
    fn the_area_under_a_curve_counts_pairs_in_order_and_ties_half() {
        let scored = [(0.1, false), (0.4, true), (0.4, false), (0.9, true)];
        assert_eq!(area_under_curve(&scored), Some(3.5 / 4.0));
        assert_eq!(area_under_curve(&[(0.3, true)]), None);
    }

    #[test]
    fn always_naming_one_class_is_worth_a_third_however_common_it_is() {
        let matrix = ConfusionMatrix([[0, 0, 51], [0, 0, 15], [0, 0, 68]]);
        assert!((matrix.accuracy().unwrap() - 0.507).abs() < 1e-3);
        assert!((matrix.balanced_accuracy().unwrap() - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn sources_with_one_class_have_no_balanced_accuracy() {
        let slice = |source: &str, class: SliceClass, right| Classified {
            name: String::new(),
            patient: format!("{source}{}", class.index()),
            source: source.into(),
            class,
            logits: [0.0; 3],
            probabilities: std::array::from_fn(|c| {
                f32::from(u8::from((c == class.index()) == right))
            }),
        };
        let (control, covid19) = (SliceClass::Control, SliceClass::Covid19);
        let slices =
            [slice("a", control, true), slice("a", covid19, true), slice("b", covid19, true)];
        let result = evaluate(&slices);
        assert_eq!(result.sources["a"].balanced_accuracy.as_ref().unwrap().value, 1.0);
        assert!(result.sources["b"].balanced_accuracy.is_none());
    }
}
