//! Random choices without replacement.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The first `count` of a shuffle.
pub fn first_of_shuffle<T>(mut from: Vec<T>, count: usize, rng: &mut ChaCha8Rng) -> Vec<T> {
    let count = count.min(from.len());
    for index in 0..count {
        let other = rng.random_range(index..from.len());
        from.swap(index, other);
    }
    from.truncate(count);
    from
}
