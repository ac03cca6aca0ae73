//! The RoI batch of a slice as the paper reads it: ranked scores and areas (Figure 4), and how many
//! regions pass a score (Figure 5).

use serde::{Deserialize, Serialize};

use crate::detection::roi_batch::RoiBatch;
use crate::statistics::quantile;

/// Score thresholds of the paper (docs/method.md, 8).
pub const THRESHOLDS: [f64; 3] = [0.2, 0.5, 0.9];
/// Shares of a class's slices whose counts are kept: least, quartiles, most.
const SHARES: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

/// A region that speaks for the class of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankedRegion {
    /// Probability of a lesion.
    pub score: f32,
    /// Square pixels of the slice.
    pub area_px: f32,
    /// Slots of the batch that it fills: fewer regions than slots are repeated.
    pub slots: usize,
}

impl RankedRegion {
    /// The regions of a batch, strongest first; `slice_from_network` brings their boxes to the slice's pixels.
    pub fn of_batch(batch: &RoiBatch, slice_from_network: [f32; 2]) -> Vec<Self> {
        let runs = batch.starts.windows(2).map(|run| run[1] - run[0]);
        let region = |(region, slots): (&crate::detection::postprocess::Detection, usize)| Self {
            score: region.score,
            area_px: region.bbox.scale(slice_from_network[0], slice_from_network[1]).area(),
            slots,
        };
        batch.regions.iter().zip(runs).map(region).collect()
    }
}

/// Slots of the batch with a higher score.
pub fn slots_over(regions: &[RankedRegion], threshold: f64) -> usize {
    let over = regions.iter().filter(|region| f64::from(region.score) > threshold);
    over.map(|region| region.slots).sum()
}

/// How many regions of a slice passed each score on labelled slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionReference {
    /// Number of slices: control, common pneumonia, COVID-19.
    pub slices: [usize; 3],
    /// `[threshold][class]`: least, quartiles and most.
    pub counts: [[[f64; 5]; 3]; 3],
}

impl RegionReference {
    /// Sums up counts per slice, `[threshold][class]`; `None` if a class has no slice.
    pub fn new(counts: &[[Vec<f64>; 3]]) -> Option<Self> {
        let mut reference = Self { slices: [0; 3], counts: [[[0.0; 5]; 3]; 3] };
        for (threshold, classes) in reference.counts.iter_mut().zip(counts) {
            for (class, (spread, values)) in threshold.iter_mut().zip(classes).enumerate() {
                let mut values = values.clone();
                values.sort_by(f64::total_cmp);
                reference.slices[class] = values.len();
                for (value, share) in spread.iter_mut().zip(SHARES) {
                    *value = quantile(&values, share)?;
                }
            }
        }
        Some(reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_summed_up_by_its_quartiles() {
        let values: Vec<f64> = (0..=8).rev().map(f64::from).collect();
        let counts = vec![[values.clone(), vec![3.0], values]; 3];
        let reference = RegionReference::new(&counts).unwrap();
        assert_eq!(reference.slices, [9, 1, 9]);
        assert_eq!(reference.counts[2][0], [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(reference.counts[0][1], [3.0; 5]);
        assert_eq!(RegionReference::new(&[[vec![], vec![], vec![]]]), None);
    }

    #[test]
    fn copies_of_a_region_count() {
        let region = |score, slots| RankedRegion { score, area_px: 1.0, slots };
        assert_eq!(slots_over(&[region(0.9, 3), region(0.5, 4), region(0.1, 2)], 0.2), 7);
    }
}
