//! Which slice comes when, read ahead on another thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::dataset::DatasetError;
use crate::train::config::Sampling;
use crate::train::rng::{RngStream, rng, shuffled};

/// Slices read ahead.
const AHEAD: usize = 4;

/// What the order needs to know of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleInfo {
    /// Whose it is, told apart over all sources.
    pub patient: String,
    /// Index of its source.
    pub source: usize,
    /// Whether it counts among those of [`SampleOrder::negatives`].
    pub is_negative: bool,
}

/// The order of a run.
#[derive(Clone, Debug)]
pub struct SampleOrder {
    /// Every slice.
    pub slices: Vec<SampleInfo>,
    /// Weights of the sources; those that are missing have 1.
    pub weights: Vec<f64>,
    /// Share of the draws that are slices without lesions; 0 draws none.
    pub negatives: f64,
    /// How slices are chosen.
    pub sampling: Sampling,
    /// Seed of the choice.
    pub seed: u64,
}

/// Slices of one source, patient by patient.
type Patients = Vec<Vec<usize>>;

impl SampleOrder {
    /// The indices of the slices from number `first` on.
    pub fn from(self, first: u64) -> impl Iterator<Item = (usize, u64)> {
        let (positive, negative): (Vec<usize>, Vec<usize>) =
            (0..self.slices.len()).partition(|index| !self.slices[*index].is_negative);
        let kinds = [Pool::new(&self, positive), Pool::new(&self, negative)];
        let mut epoch = (u64::MAX, Vec::new());
        (first..).map(move |number| {
            let mut rng = rng(self.seed, RngStream::Order, number);
            let negative = self.negatives > 0.0 && rng.random_bool(self.negatives);
            let pool = match &kinds[usize::from(negative)] {
                pool if pool.members.is_empty() => &kinds[usize::from(!negative)],
                pool => pool,
            };
            let index = match self.sampling {
                Sampling::Slice if self.negatives > 0.0 => {
                    pool.members[rng.random_range(0..pool.members.len())]
                }
                Sampling::Slice => {
                    let length = pool.members.len() as u64;
                    if epoch.0 != number / length {
                        let order = shuffled(length as usize, self.seed, number / length);
                        epoch = (number / length, order);
                    }
                    pool.members[epoch.1[(number % length) as usize]]
                }
                Sampling::Patient => {
                    let patient = &pool.patients[rng.random_range(0..pool.patients.len())];
                    patient[rng.random_range(0..patient.len())]
                }
                Sampling::Source => {
                    let source = &pool.sources[pick(&pool.weights, &mut rng)];
                    let roots: Vec<f64> =
                        source.iter().map(|slices| (slices.len() as f64).sqrt()).collect();
                    let patient = &source[pick(&roots, &mut rng)];
                    patient[rng.random_range(0..patient.len())]
                }
            };
            (index, number)
        })
    }
}

/// Slices to draw from.
struct Pool {
    members: Vec<usize>,
    patients: Patients,
    sources: Vec<Patients>,
    weights: Vec<f64>,
}

impl Pool {
    fn new(order: &SampleOrder, members: Vec<usize>) -> Self {
        let mut sources: BTreeMap<usize, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
        let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for index in &members {
            let slice = &order.slices[*index];
            let patient = slice.patient.as_str();
            patients.entry(patient).or_default().push(*index);
            let of_source = sources.entry(slice.source).or_default();
            of_source.entry(patient).or_default().push(*index);
        }
        let weight = |source: &usize| order.weights.get(*source).copied().unwrap_or(1.0);
        let weights = sources.keys().map(weight).collect();
        let sources = sources.into_values().map(|found| found.into_values().collect()).collect();
        Self { members, patients: patients.into_values().collect(), sources, weights }
    }
}

/// An index in proportion to `weights`.
fn pick(weights: &[f64], rng: &mut ChaCha8Rng) -> usize {
    let mut left = rng.random_range(0.0..weights.iter().sum::<f64>());
    for (index, weight) in weights.iter().enumerate() {
        if left < *weight {
            return index;
        }
        left -= weight;
    }
    weights.len() - 1
}

/// Starts reading `order`; `read` runs on a thread of its own, a few slices ahead.
pub fn read_ahead<T: Send + Sync + 'static>(
    order: impl Iterator<Item = (usize, u64)> + Send + 'static,
    read: impl Fn(usize, u64) -> Result<T, DatasetError> + Send + 'static,
) -> Receiver<Result<Arc<T>, DatasetError>> {
    let (sender, receiver) = sync_channel(AHEAD);
    thread::spawn(move || {
        for (index, number) in order {
            // The receiver is gone when the run ends.
            if sender.send(read(index, number).map(Arc::new)).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sampling: Sampling) -> SampleOrder {
        let slice = |patient: &str, source| SampleInfo {
            patient: format!("{source}/{patient}"),
            source,
            is_negative: false,
        };
        let slices =
            ["a", "a", "a", "a", "b"].into_iter().map(|patient| slice(patient, 0)).collect();
        SampleOrder { slices, weights: Vec::new(), negatives: 0.0, sampling, seed: 7 }
    }

    #[test]
    fn an_order_taken_up_later_goes_on_as_it_would_have() {
        for sampling in [Sampling::Slice, Sampling::Patient, Sampling::Source] {
            for negatives in [0.0, 0.3] {
                let mut order = SampleOrder { negatives, ..order(sampling) };
                order.slices[2].is_negative = negatives > 0.0;
                let whole: Vec<_> = order.clone().from(0).take(40).collect();
                let rest: Vec<_> = order.from(13).take(27).collect();
                assert_eq!(whole[13..], rest);
            }
        }
    }

    #[test]
    fn slices_without_lesions_take_their_share_and_sources_theirs() {
        let mut order =
            SampleOrder { weights: vec![1.0, 3.0], negatives: 0.25, ..order(Sampling::Source) };
        order.slices[0].is_negative = true;
        let more = (0..9).map(|i| SampleInfo {
            patient: format!("1/{}", i % 4),
            source: 1,
            is_negative: false,
        });
        order.slices.extend(more);
        let drawn: Vec<usize> = order.from(0).take(4000).map(|(index, _)| index).collect();
        let count = |wanted: std::ops::Range<usize>| {
            drawn.iter().filter(|index| wanted.contains(index)).count()
        };
        assert!((900..1100).contains(&count(0..1)), "{}", count(0..1));
        assert!((650..850).contains(&count(1..5)), "{}", count(1..5));
        assert!((2100..2400).contains(&count(5..14)), "{}", count(5..14));
    }

    #[test]
    fn an_epoch_has_every_slice_once() {
        let mut first: Vec<_> =
            order(Sampling::Slice).from(0).take(5).map(|drawn| drawn.0).collect();
        first.sort_unstable();
        assert_eq!(first, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn patients_with_few_slices_come_as_often_as_others() {
        let drawn = order(Sampling::Patient).from(0).take(2000);
        let lonely = drawn.filter(|(index, _)| *index == 4).count();
        assert!((850..1150).contains(&lonely), "{lonely}");
    }
}
