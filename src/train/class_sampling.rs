//! Which slices with a class come how often.

use std::collections::BTreeMap;

use rand::RngExt;

use crate::classes::{CLASSES, SliceClass};
use crate::dataset::classes::ClassDataset;
use crate::train::rng::{RngStream, rng};

/// How often each slice is drawn: every class equally; within a class, in inverse proportion to the roots of
/// the slices that its source and its patient have there; less from sources that know one class only, for
/// these teach the source.
pub fn draw_weights(dataset: &ClassDataset, lists: &[f64], lone_source: f64) -> Vec<f64> {
    let mut cells: BTreeMap<(&str, SliceClass), f64> = BTreeMap::new();
    let mut patients: BTreeMap<(String, SliceClass), f64> = BTreeMap::new();
    for file in &dataset.files {
        *cells.entry((&file.source, file.class)).or_default() += 1.0;
        *patients.entry((file.patient_key(), file.class)).or_default() += 1.0;
    }
    let classes_of = |source: &str| cells.keys().filter(|(of, _)| *of == source).count();
    let mut weights: Vec<f64> = dataset
        .files
        .iter()
        .zip(lists)
        .map(|(file, list)| {
            let cell = cells[&(file.source.as_str(), file.class)];
            let patient = patients[&(file.patient_key(), file.class)];
            let lone = if classes_of(&file.source) == 1 { lone_source } else { 1.0 };
            list * lone / (cell * patient).sqrt()
        })
        .collect();
    let mut totals = [0.0; CLASSES];
    for (file, weight) in dataset.files.iter().zip(&weights) {
        totals[file.class.index()] += weight;
    }
    for (file, weight) in dataset.files.iter().zip(&mut weights) {
        *weight /= totals[file.class.index()];
    }
    weights
}

/// Indices of the slices of a run, drawn by `weights`, with their numbers, from number `first` on.
pub fn draws(weights: &[f64], seed: u64, first: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
    let cumulative: Vec<f64> = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    (first..).map(move |number| (draw(&cumulative, seed, number), number))
}

/// Slice number `number`, drawn by the sums of the weights.
fn draw(cumulative: &[f64], seed: u64, number: u64) -> usize {
    let total = cumulative.last().copied().unwrap_or_default();
    let at = rng(seed, RngStream::Order, number).random_range(0.0..total);
    cumulative.partition_point(|sum| *sum <= at).min(cumulative.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::classes::ClassFile;

    #[test]
    fn classes_are_drawn_alike_and_lone_sources_less() {
        let file = |source: &str, patient: &str, class: usize| ClassFile {
            name: String::new(),
            path: Default::default(),
            class: SliceClass::ALL[class],
            patient: patient.into(),
            source: source.into(),
        };
        let mut files = vec![file("a", "1", 0), file("a", "2", 1), file("b", "3", 2)];
        files.extend((0..16).map(|_| file("a", "4", 0)));
        files.push(file("a", "5", 2));
        let dataset = ClassDataset::of(files);
        let weights = draw_weights(&dataset, &[1.0; 20], 0.25);
        let of_class = |class: usize| -> f64 {
            let pairs = dataset.files.iter().zip(&weights);
            pairs.filter(|(file, _)| file.class.index() == class).map(|(_, weight)| weight).sum()
        };
        (0..3).for_each(|class| assert!((of_class(class) - 1.0).abs() < 1e-9));
        // One slice of patient 1 weighs as much as four of the sixteen of patient 4.
        assert!((weights[0] - 4.0 * weights[3]).abs() < 1e-9);
        assert!((weights[2] - 0.25 * weights[19]).abs() < 1e-9);
    }

    #[test]
    fn slices_are_drawn_in_proportion_to_their_weights() {
        let drawn: Vec<(usize, u64)> = draws(&[1.0, 0.0, 3.0], 3, 0).take(4000).collect();
        let count = |wanted| drawn.iter().filter(|(index, _)| *index == wanted).count();
        assert_eq!(count(1), 0);
        assert!((900..1100).contains(&count(0)));
        // A run that continues draws what it would have drawn.
        assert_eq!(draws(&[1.0, 0.0, 3.0], 3, 17).next(), Some(drawn[17]));
    }
}
