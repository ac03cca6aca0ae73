//! The classifier's input: a fixed number of ranked regions (docs/method.md, 2.2).

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::detection::postprocess::{BoxOutputs, Detection, DetectionRule};
use crate::detection::shuffle::first_of_shuffle;

/// Values per region: score and four encoded deltas.
pub const ROI_FEATURES: usize = 5;
/// Every region is kept, however low its score: the threshold lies below zero.
pub const SCORE_THRESHOLD: f32 = -0.01;
/// IoU over which the weaker region is dropped.
pub const NMS_THRESHOLD: f32 = 0.75;

/// The ranked regions of a slice, strongest first.
#[derive(Clone, Debug)]
pub struct RoiBatch {
    /// Distinct regions, at most the batch size.
    pub regions: Vec<Detection>,
    /// Slot where each region's copies start; one more entry, the batch size, ends the last.
    pub starts: Vec<usize>,
}

impl RoiBatch {
    /// Ranks the regions and spreads them over `size` slots.
    ///
    /// Fewer regions than slots are repeated: copies follow their original, and how often each is
    /// repeated is drawn with `seed`. The law is the reference's: all ways of cutting the batch
    /// into runs are equally likely, but the last run has at least two slots.
    pub fn new(outputs: &BoxOutputs, size: usize, seed: u64) -> Self {
        Self::by(outputs, size, seed, DetectionRule::default())
    }

    /// The same with the score function and the treatment of empty boxes of `rule`.
    pub fn by(outputs: &BoxOutputs, size: usize, seed: u64, rule: DetectionRule) -> Self {
        let rule = DetectionRule {
            score_threshold: SCORE_THRESHOLD,
            nms_threshold: NMS_THRESHOLD,
            limit: size,
            ..rule
        };
        Self::spread(outputs.postprocess_detections(&rule), size, seed)
    }

    /// Spreads ranked regions, at most `size`, over `size` slots.
    pub fn spread(regions: Vec<Detection>, size: usize, seed: u64) -> Self {
        let starts = draw_starts(regions.len(), size, seed);
        Self { regions, starts }
    }

    /// The region in each slot; empty if there is no region at all.
    pub fn slots(&self) -> Vec<usize> {
        let runs = self.starts.windows(2).enumerate();
        runs.flat_map(|(region, run)| std::iter::repeat_n(region, run[1] - run[0])).collect()
    }

    /// `[size, 5]` values: score, then the four deltas, still encoded.
    ///
    /// Without any region (every proposal was empty) all values are zero; the reference fails there.
    pub fn values(&self, size: usize) -> Vec<f32> {
        let mut values = vec![0.0; size * ROI_FEATURES];
        for (row, region) in values.chunks_exact_mut(ROI_FEATURES).zip(self.slots()) {
            row[0] = self.regions[region].score;
            row[1..].copy_from_slice(&self.regions[region].deltas);
        }
        values
    }
}

fn draw_starts(regions: usize, size: usize, seed: u64) -> Vec<usize> {
    if regions == 0 {
        return vec![size];
    }
    if regions == size {
        return (0..=size).collect();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut starts = first_of_shuffle((1..=size - 2).collect(), regions - 1, &mut rng);
    starts.sort_unstable();
    starts.insert(0, 0);
    starts.push(size);
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_region_has_a_run_and_the_last_is_at_least_two_long(regions in 1usize..=128, seed: u64) {
            let starts = draw_starts(regions, 128, seed);
            prop_assert_eq!(starts.len(), regions + 1);
            prop_assert_eq!((starts[0], starts[regions]), (0, 128));
            prop_assert!(starts.windows(2).all(|pair| pair[0] < pair[1]));
            if regions < 128 {
                prop_assert!(starts[regions] - starts[regions - 1] >= 2);
            }
            prop_assert_eq!(starts, draw_starts(regions, 128, seed));
        }
    }

    #[test]
    fn all_compositions_are_equally_likely() {
        // Three regions in six slots: two starts out of 1..=4, six ways.
        let mut counts = std::collections::HashMap::new();
        for seed in 0..6000 {
            *counts.entry(draw_starts(3, 6, seed)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn no_region_gives_a_batch_of_zeros() {
        let outputs = BoxOutputs {
            proposals: Vec::new(),
            logits: Vec::new(),
            deltas: Vec::new(),
            classes: 2,
            image: (512, 512),
        };
        let batch = RoiBatch::new(&outputs, 128, 0);
        assert_eq!(batch.values(128), vec![0.0; 640]);
    }
}
