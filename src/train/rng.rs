//! Random numbers of a run.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What random numbers are drawn for. The numbers seed the runs: they stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RngStream {
    /// Order of slices.
    Order = 1,
    /// Augmentation.
    Augmentation = 2,
    /// Anchors and proposals of a loss.
    Sampling = 3,
    /// Replication in the RoI batch.
    Replication = 4,
    /// Held-out slices.
    Holdout = 5,
    /// Augmentation of whole pictures, beside that of all.
    AugmentationWhole = 6,
    /// Zeroed features.
    Dropout = 7,
    /// Lesions copied onto other slices.
    CopyPaste = 8,
}

/// A generator for one stream at one step: a run that resumes there draws what it would have drawn.
pub fn rng(seed: u64, stream: RngStream, step: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (stream as u64).rotate_left(32));
    rng.set_stream(step);
    rng
}

/// A permutation of `0..length`, the same for the same seed and epoch.
pub fn shuffled(length: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut rng = rng(seed, RngStream::Order, epoch);
    let mut order: Vec<usize> = (0..length).collect();
    for index in (1..length).rev() {
        order.swap(index, rng.random_range(0..=index));
    }
    order
}
