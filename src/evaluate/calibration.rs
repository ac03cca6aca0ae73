//! What logits are worth: a softmax temperature (Guo et al. 2017, "On Calibration of Modern Neural Networks"),
//! a bias per class where training drew classes in other shares than patients come, and the probabilities from
//! which something may be said.

use crate::classes::{CLASSES, SliceClass};
use crate::evaluate::classification::{Classified, area_under_curve};
use crate::report::verdict::{Calibration, Measured};
use crate::statistics::log_sum_exp;

/// Newton steps of [`fit`]; the likelihood is concave, a dozen do.
const STEPS: usize = 50;
/// How often "signs of pneumonia or not" must be right above its threshold.
pub const SIGNS_ACCURACY: f64 = 0.95;
/// How often a named class must be right above its threshold.
pub const NAMED_ACCURACY: f64 = 0.9;

/// One of `count` groups for every slice, the same for all slices of a patient, spread evenly.
pub fn patient_groups(slices: &[Classified], count: usize) -> Vec<usize> {
    let mut patients: Vec<(SliceClass, &str)> =
        slices.iter().map(|slice| (slice.class, slice.patient.as_str())).collect();
    patients.sort_unstable();
    let mut groups = std::collections::BTreeMap::new();
    for (_, patient) in patients {
        let next = groups.len() % count.max(1);
        groups.entry(patient).or_insert(next);
    }
    slices.iter().map(|slice| groups[slice.patient.as_str()]).collect()
}

/// Shares of the classes that probabilities are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// Those of the slices at hand.
    Given,
    /// A third each.
    Equal,
    /// Between the two: in proportion to the roots.
    Root,
}

/// Temperature and bias of the highest likelihood of `slices`' true classes under a prior.
pub fn fit(slices: &[Classified], prior: Prior) -> Calibration {
    let mut counts = [0.0f64; CLASSES];
    slices.iter().for_each(|slice| counts[slice.class.index()] += 1.0);
    let weight = |class: usize| match prior {
        Prior::Given => 1.0,
        Prior::Equal => 1.0 / counts[class],
        Prior::Root => 1.0 / counts[class].sqrt(),
    };
    // Scale of the logits, then the biases of all classes but the first.
    let mut at = [1.0f64, 0.0, 0.0];
    let mut loss = likelihood(slices, at, weight).0;
    for _ in 0..STEPS {
        let (_, gradient, hessian) = likelihood(slices, at, weight);
        let Some(step) = solve(hessian, gradient) else { break };
        let mut size = 1.0;
        let better = loop {
            let next: [f64; 3] = std::array::from_fn(|k| at[k] - size * step[k]);
            let found = likelihood(slices, next, weight).0;
            if next[0] > 1e-3 && found < loss {
                break Some((next, found));
            }
            size /= 2.0;
            if size < 1e-6 {
                break None;
            }
        };
        let Some((next, found)) = better else { break };
        (at, loss) = (next, found);
    }
    let [scale, common, covid] = at;
    Calibration {
        temperature: (1.0 / scale) as f32,
        bias: [0.0, common as f32, covid as f32],
        ..Calibration::default()
    }
}

type Derivatives = (f64, [f64; 3], [[f64; 3]; 3]);

/// Negative log likelihood with its gradient and second derivatives by scale and biases.
fn likelihood(
    slices: &[Classified],
    [scale, common, covid]: [f64; 3],
    weight: impl Fn(usize) -> f64,
) -> Derivatives {
    let (mut loss, mut gradient, mut hessian) = (0.0, [0.0; 3], [[0.0; 3]; 3]);
    for slice in slices {
        let logits = slice.logits.map(f64::from);
        let values = [logits[0] * scale, logits[1] * scale + common, logits[2] * scale + covid];
        let total = log_sum_exp(&values);
        let probabilities = values.map(|value| (value - total).exp());
        let weight = weight(slice.class.index());
        loss += weight * (total - values[slice.class.index()]);
        // Every value is linear in the three numbers.
        let slopes: [[f64; 3]; CLASSES] = std::array::from_fn(|class| {
            [logits[class], f64::from(u8::from(class == 1)), f64::from(u8::from(class == 2))]
        });
        let mean: [f64; 3] = std::array::from_fn(|k| {
            (0..CLASSES).map(|class| probabilities[class] * slopes[class][k]).sum()
        });
        for k in 0..3 {
            gradient[k] += weight * (mean[k] - slopes[slice.class.index()][k]);
            for j in 0..3 {
                let product: f64 = (0..CLASSES)
                    .map(|class| probabilities[class] * slopes[class][k] * slopes[class][j])
                    .sum();
                hessian[k][j] += weight * (product - mean[k] * mean[j]);
            }
        }
    }
    (loss, gradient, hessian)
}

/// Solves three linear equations; a little is added to the diagonal, so that there is always a solution.
fn solve(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> Option<[f64; 3]> {
    let trace: f64 = (0..3).map(|k| matrix[k][k]).sum();
    (0..3).for_each(|k| matrix[k][k] += 1e-9 * trace.max(1e-12));
    for column in 0..3 {
        let pivot = (column..3)
            .max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        if matrix[column][column] == 0.0 {
            return None;
        }
        for row in column + 1..3 {
            let factor = matrix[row][column] / matrix[column][column];
            let pivot = matrix[column];
            matrix[row].iter_mut().zip(pivot).for_each(|(value, above)| *value -= factor * above);
            right[row] -= factor * right[column];
        }
    }
    let mut solution = [0.0; 3];
    for row in (0..3).rev() {
        let known: f64 = (row + 1..3).map(|k| matrix[row][k] * solution[k]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    Some(solution)
}

/// The calibration with the lowest thresholds above which what is said was right often enough.
pub fn with_thresholds(mut calibration: Calibration, slices: &[Classified]) -> Calibration {
    calibration.signs_from = lowest(50, |from| {
        let tried = Calibration { signs_from: from, ..calibration.clone() };
        f64::from(measure(&tried, slices).signs_accuracy) >= SIGNS_ACCURACY
    });
    calibration.class_from = lowest(34, |from| {
        let tried = Calibration { class_from: from, ..calibration.clone() };
        f64::from(measure(&tried, slices).kind_accuracy) >= NAMED_ACCURACY
    });
    calibration
}

/// The lowest threshold from `first` per cent on that is reached together with all higher ones: a single lucky
/// one is no threshold.
fn lowest(first: u32, reached: impl Fn(f32) -> bool) -> f32 {
    let share = |percent: u32| percent as f32 / 100.0;
    (first..100).rev().take_while(|percent| reached(share(*percent))).last().map_or(1.0, share)
}

/// How often `calibration` is right on `slices`; shares of nothing are 0, accuracies of nothing 1.
pub fn measure(calibration: &Calibration, slices: &[Classified]) -> Measured {
    measure_pairs(slices.iter().map(|slice| (calibration, slice)))
}

/// The same of pairs of a calibration and a slice that had no part in it.
pub fn measure_pairs<'a>(
    pairs: impl Iterator<Item = (&'a Calibration, &'a Classified)>,
) -> Measured {
    let (mut patients, mut scored) = (std::collections::BTreeSet::new(), Vec::new());
    let [mut right, mut named, mut named_right, mut signs, mut signs_right] = [0usize; 5];
    let [mut ill, mut ill_found, mut healthy_found, mut kind, mut kind_right] = [0usize; 5];
    for (calibration, slice) in pairs {
        let probabilities = calibration.probabilities(&slice.logits);
        let finding = calibration.finding(probabilities);
        let top = SliceClass::of_highest(&probabilities);
        let (pneumonia, truth) = (1.0 - probabilities[0], slice.class.is_pneumonia());
        patients.insert(slice.patient.clone());
        scored.push((pneumonia, truth));
        right += usize::from(top == slice.class);
        named += usize::from(finding.class().is_some());
        named_right += usize::from(finding.class() == Some(slice.class));
        let is_kind = finding.class().is_some_and(SliceClass::is_pneumonia);
        kind += usize::from(is_kind);
        kind_right += usize::from(is_kind && finding.class() == Some(slice.class));
        signs += usize::from(finding.signs().is_some());
        signs_right += usize::from(finding.signs() == Some(truth));
        ill += usize::from(truth);
        ill_found += usize::from(truth && pneumonia > 0.5);
        healthy_found += usize::from(!truth && pneumonia <= 0.5);
    }
    let ratio = |part: usize, whole: usize, empty: f32| {
        if whole == 0 { empty } else { part as f32 / whole as f32 }
    };
    let slices = scored.len();
    Measured {
        slices,
        patients: patients.len(),
        accuracy: ratio(right, slices, 1.0),
        named: ratio(named, slices, 0.0),
        named_accuracy: ratio(named_right, named, 1.0),
        kind: ratio(kind, slices, 0.0),
        kind_accuracy: ratio(kind_right, kind, 1.0),
        signs: ratio(signs, slices, 0.0),
        signs_accuracy: ratio(signs_right, signs, 1.0),
        sensitivity: ratio(ill_found, ill, 1.0),
        specificity: ratio(healthy_found, slices - ill, 1.0),
        auc: area_under_curve(&scored).unwrap_or(0.5) as f32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(class: usize, logits: [f32; 3]) -> Classified {
        let (name, source) = (String::new(), String::new());
        Classified {
            name,
            patient: class.to_string(),
            source,
            class: SliceClass::ALL[class],
            logits,
            probabilities: [0.0; 3],
        }
    }

    #[test]
    fn bias_and_temperature_undo_what_was_done_to_honest_logits() {
        // Log probabilities of a third group each, drawn in exactly these shares.
        let mut slices = Vec::new();
        for [a, b, c] in [[6, 3, 1], [1, 7, 2], [2, 2, 6]] {
            let honest = [a, b, c].map(|share| (share as f32 / 10.0).ln());
            let bent = [honest[0] * 3.0, (honest[1] + 1.0) * 3.0, (honest[2] - 0.5) * 3.0];
            for (class, count) in [a, b, c].into_iter().enumerate() {
                slices.extend((0..count * 5).map(|_| slice(class, bent)));
            }
        }
        let found = fit(&slices, Prior::Given);
        assert!((found.temperature - 3.0).abs() < 1e-3, "{found:?}");
        assert!((found.bias[1] + 1.0).abs() < 1e-3 && (found.bias[2] - 0.5).abs() < 1e-3);
    }

    #[test]
    fn an_equal_prior_lifts_the_rare_class() {
        let mut slices: Vec<_> = (0..90).map(|_| slice(0, [0.0; 3])).collect();
        slices.extend((0..9).map(|_| slice(1, [0.0; 3])));
        slices.push(slice(2, [0.0; 3]));
        let of = |prior| fit(&slices, prior).probabilities(&[0.0; 3])[2];
        assert!((of(Prior::Given) - 0.01).abs() < 1e-3);
        assert!((of(Prior::Equal) - 1.0 / 3.0).abs() < 1e-3);
        assert!(of(Prior::Root) > 0.02 && of(Prior::Root) < 0.2);
    }

    #[test]
    fn thresholds_leave_out_what_is_not_right_often_enough() {
        // Sure and right; unsure and right half of the time.
        let mut slices: Vec<_> = (0..60)
            .map(|i| slice(2 * (i % 2), if i % 2 == 0 { [4.0, 0.0, 0.0] } else { [0.0, 0.0, 4.0] }))
            .collect();
        slices.extend((0..20).map(|i| slice(1 + i % 2, [0.0, 1.5, 1.4])));
        let found = with_thresholds(Calibration::default(), &slices);
        let measured = measure(&found, &slices);
        assert_eq!((measured.signs, measured.signs_accuracy), (1.0, 1.0));
        assert_eq!((measured.named, measured.named_accuracy), (0.75, 1.0));
        assert!(measured.accuracy > 0.86 && measured.accuracy < 0.89);
    }
}
