//! Which slice comes when, read ahead on another thread.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::augmentation::Change;
use super::config::{Augmentation, Sampling};
use super::dataset::DatasetError;

/// Slices read ahead.
const AHEAD: usize = 4;

/// A generator for one purpose at one step: a run that resumes there draws what it would have drawn.
pub fn rng(seed: u64, purpose: u64, step: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ purpose.rotate_left(32));
    rng.set_stream(step);
    rng
}

/// Purposes of [`rng`].
pub mod purpose {
    /// Order of slices.
    pub const ORDER: u64 = 1;
    /// Augmentation.
    pub const AUGMENTATION: u64 = 2;
    /// Anchors and proposals of a loss.
    pub const SAMPLING: u64 = 3;
    /// Replication in the RoI batch.
    pub const REPLICATION: u64 = 4;
    /// Held-out slices.
    pub const HOLDOUT: u64 = 5;
}

/// A permutation of `0..length`, the same for the same seed and epoch.
pub fn shuffled(length: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = rng(seed, purpose::ORDER, epoch);
    let mut order: Vec<usize> = (0..length).collect();
    for index in (1..length).rev() {
        order.swap(index, rng.random_range(0..=index));
    }
    order
}

/// The order of a run.
#[derive(Clone, Debug)]
pub struct Order {
    /// Patient of every slice.
    pub patients: Vec<String>,
    /// How slices are chosen.
    pub sampling: Sampling,
    /// Random changes.
    pub augmentation: Augmentation,
    /// Seed of both.
    pub seed: u64,
}

impl Order {
    /// The slices from number `first` on, each with its changes.
    pub fn from(self, first: u64) -> impl Iterator<Item = (usize, Change)> {
        let length = self.patients.len() as u64;
        let mut groups: BTreeMap<&String, Vec<usize>> = BTreeMap::new();
        for (index, patient) in self.patients.iter().enumerate() {
            groups.entry(patient).or_default().push(index);
        }
        let groups: Vec<Vec<usize>> = groups.into_values().collect();
        let mut epoch = (u64::MAX, Vec::new());
        (first..).map(move |number| {
            let index = match self.sampling {
                Sampling::Slice => {
                    if epoch.0 != number / length {
                        let order = shuffled(length as usize, self.seed, number / length);
                        epoch = (number / length, order);
                    }
                    epoch.1[(number % length) as usize]
                }
                Sampling::Patient => {
                    let mut rng = rng(self.seed, purpose::ORDER, number);
                    let group = &groups[rng.random_range(0..groups.len())];
                    group[rng.random_range(0..group.len())]
                }
            };
            (index, Change::draw(self.augmentation, self.seed, number))
        })
    }
}

/// Starts reading `order`; `read` runs on a thread of its own, a few slices ahead.
pub fn read_ahead<T: Send + Sync + 'static>(
    order: impl Iterator<Item = (usize, Change)> + Send + 'static,
    read: impl Fn(usize, Change) -> Result<T, DatasetError> + Send + 'static,
) -> Receiver<Result<Arc<T>, DatasetError>> {
    let (sender, receiver) = sync_channel(AHEAD);
    thread::spawn(move || {
        for (index, change) in order {
            // The receiver is gone when the run ends.
            if sender.send(read(index, change).map(Arc::new)).is_err() {
                break;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sampling: Sampling) -> Order {
        let patients = ["a", "a", "a", "a", "b"].map(String::from).to_vec();
        Order { patients, sampling, augmentation: Augmentation::Flip, seed: 7 }
    }

    #[test]
    fn an_order_taken_up_later_goes_on_as_it_would_have() {
        for sampling in [Sampling::Slice, Sampling::Patient] {
            let whole: Vec<_> = order(sampling).from(0).take(40).collect();
            let rest: Vec<_> = order(sampling).from(13).take(27).collect();
            assert_eq!(whole[13..], rest);
        }
    }

    #[test]
    fn an_epoch_has_every_slice_once() {
        let mut first: Vec<_> = order(Sampling::Slice).from(0).take(5).map(|s| s.0).collect();
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
