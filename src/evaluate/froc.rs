//! Free-response ROC: how many lesions are found at the price of how many false alarms a slice.

use serde::{Deserialize, Serialize};

use crate::detection::Mask;
use crate::evaluate::coco::CocoSlice;

/// False positives a slice at which the sensitivity is read (as in LUNA16).
pub const FALSE_POSITIVES: [f64; 7] = [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// Mask IoU from which a lesion is found: that it was found counts here, not how well it was outlined
/// (nnDetection, Baumgartner et al. 2021).
pub const HIT: f64 = 0.1;
/// Share of a detection on ignored places from which it is no false alarm.
const IGNORED: f64 = 0.5;

/// Sensitivities of lesions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Froc {
    /// At each of [`FALSE_POSITIVES`].
    pub sensitivities: [f64; 7],
    /// Their mean.
    pub mean: f64,
}

/// What became of the detections and lesions of one slice.
#[derive(Clone, Debug, Default)]
pub struct SliceHits {
    /// Score of each lesion: that of the strongest detection that finds it.
    found: Vec<Option<f32>>,
    /// Scores of the detections that find nothing.
    false_alarms: Vec<f32>,
}

fn overlap(a: &Mask, b: &Mask) -> usize {
    a.pixels.iter().zip(&b.pixels).filter(|(a, b)| **a && **b).count()
}

impl SliceHits {
    /// Compares all detections of a slice with all lesions. Classes are not told apart.
    pub fn new(slice: &CocoSlice) -> Self {
        let mut hits = Self { found: vec![None; slice.truth.len()], false_alarms: Vec::new() };
        for detection in &slice.predictions {
            let mut hit = false;
            for (found, lesion) in hits.found.iter_mut().zip(&slice.truth) {
                if detection.mask.iou(&lesion.mask) >= HIT {
                    hit = true;
                    *found =
                        Some(found.map_or(detection.score, |score| score.max(detection.score)));
                }
            }
            let area = detection.mask.area().max(1) as f64;
            let on_ignored: usize =
                slice.ignored.iter().map(|place| overlap(&detection.mask, place)).sum();
            if !hit && (on_ignored as f64) < IGNORED * area {
                hits.false_alarms.push(detection.score);
            }
        }
        hits
    }
}

/// The curve of slices; none without a lesion.
pub fn froc(slices: &[&SliceHits]) -> Option<Froc> {
    let lesions: usize = slices.iter().map(|slice| slice.found.len()).sum();
    if lesions == 0 {
        return None;
    }
    let mut alarms: Vec<f32> =
        slices.iter().flat_map(|slice| slice.false_alarms.iter().copied()).collect();
    alarms.sort_by(|a, b| b.total_cmp(a));
    let sensitivities = FALSE_POSITIVES.map(|rate| {
        // The lowest threshold with so many false alarms or fewer.
        let allowed = (rate * slices.len() as f64) as usize;
        let threshold = alarms.get(allowed).copied().unwrap_or(f32::NEG_INFINITY);
        let found = slices.iter().flat_map(|slice| &slice.found);
        let found = found.filter(|score| score.is_some_and(|score| score > threshold)).count();
        found as f64 / lesions as f64
    });
    let mean = sensitivities.iter().sum::<f64>() / sensitivities.len() as f64;
    Some(Froc { sensitivities, mean })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::average_precision::ScoredMask;

    fn square(score: f32, [x, y, side]: [usize; 3]) -> ScoredMask {
        let mut mask = Mask::empty(40, 30);
        for row in y..y + side {
            mask.pixels[row * 40 + x..][..side].fill(true);
        }
        ScoredMask { class: 1, score, mask }
    }

    #[test]
    fn false_alarms_buy_sensitivity() {
        let slice = CocoSlice {
            size: (40, 30),
            truth: vec![square(1.0, [2, 2, 8]), square(1.0, [20, 2, 8])],
            ignored: vec![square(1.0, [30, 20, 6]).mask],
            predictions: vec![
                square(0.9, [3, 3, 8]),
                square(0.8, [2, 20, 5]),
                square(0.7, [20, 4, 8]),
                square(0.95, [31, 21, 4]),
            ],
            boxes: Vec::new(),
        };
        let hits = SliceHits::new(&slice);
        let curve = froc(&[&hits]).unwrap();
        assert_eq!(curve.sensitivities, [0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0]);
        assert!(froc(&[]).is_none());
    }
}
