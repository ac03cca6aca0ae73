//! A random choice of boxes that count in a loss (docs/method.md, 1.4, 1.5): torchvision's
//! `BalancedPositiveNegativeSampler`.

use rand_chacha::ChaCha8Rng;

use crate::detection::matcher::Match;
use crate::detection::shuffle::first_of_shuffle;

/// The chosen boxes, positive ones first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Index of the box and of its true box.
    pub positives: Vec<(usize, usize)>,
    /// Indices of background boxes.
    pub negatives: Vec<usize>,
}

impl Sample {
    /// Number of boxes.
    pub fn len(&self) -> usize {
        self.positives.len() + self.negatives.len()
    }

    /// Whether nothing was there to choose from.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Draws up to `count` boxes, at most the share `positive_fraction` of them foreground; background
/// fills up what it can.
pub fn sample(
    matches: &[Match],
    count: usize,
    positive_fraction: f64,
    rng: &mut ChaCha8Rng,
) -> Sample {
    let mut positives = Vec::new();
    let mut negatives = Vec::new();
    for (index, matched) in matches.iter().enumerate() {
        match matched {
            Match::Foreground(truth) => positives.push((index, *truth)),
            Match::Background => negatives.push(index),
            Match::Ignored => {}
        }
    }
    let positives = first_of_shuffle(positives, (count as f64 * positive_fraction) as usize, rng);
    let negatives = first_of_shuffle(negatives, count - positives.len(), rng);
    Sample { positives, negatives }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    proptest! {
        #[test]
        fn positives_keep_to_their_share_and_background_fills_up(
            kinds in prop::collection::vec(0u8..3, 0..200), count in 1usize..64, seed: u64,
        ) {
            let matches: Vec<_> = kinds
                .iter()
                .map(|kind| [Match::Background, Match::Ignored, Match::Foreground(4)][usize::from(*kind)])
                .collect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let found = sample(&matches, count, 0.75, &mut rng);
            let of = |kind: u8| kinds.iter().filter(|k| **k == kind).count();
            prop_assert_eq!(found.positives.len(), of(2).min(count * 3 / 4));
            prop_assert_eq!(found.negatives.len(), of(0).min(count - found.positives.len()));
            let mut all: Vec<_> = found.positives.iter().map(|p| p.0).collect();
            all.extend(&found.negatives);
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), found.len());
        }
    }
}
