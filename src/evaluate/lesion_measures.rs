//! What is measured of lesions, for any selection of slices: all of them, a patient's, those of a resampling; and the
//! difference between two models on the same slices.

use serde::{Deserialize, Serialize};

use crate::evaluate::average_precision::{ImageMatches, THRESHOLDS};
use crate::evaluate::bootstrap::{Estimate, estimate};
use crate::evaluate::coco::{self, CocoError, CocoResult, CocoSlice, Overlap};
use crate::evaluate::coco_matches::{CocoMatches, Precisions, SizeRange};
use crate::evaluate::froc::{Froc, SliceHits, froc};
use crate::evaluate::union::UnionPixels;

/// Matches of all slices, made once, so that resampling is cheap.
#[derive(Clone, Debug)]
pub struct LesionMatches {
    /// By the reference's rule.
    pub(super) images: Vec<ImageMatches>,
    /// Their AP, mean over the thresholds.
    means: Vec<f64>,
    hits: Vec<SliceHits>,
    pixels: Vec<UnionPixels>,
    /// For all sizes and for each range of them.
    masks: [CocoMatches; 4],
    boxes: [CocoMatches; 4],
    /// COCO's numbers of masks and boxes.
    pub(super) coco: [CocoResult; 2],
    has_lesions: Vec<bool>,
    has_ignored: Vec<bool>,
    predictions: Vec<usize>,
}

/// A measure of the slices with these numbers; none where it has no value.
type Measure = fn(&LesionMatches, &[usize]) -> Option<f64>;

/// The measures by which two models are compared.
const COMPARED: [(&str, Measure); 7] = [
    ("COCO AP of masks, 0.5 to 0.95", |matches, items| Some(matches.coco_masks(items)?.mean)),
    ("COCO AP of masks at 0.5", |matches, items| Some(matches.coco_masks(items)?.at_50)),
    ("COCO AP of boxes, 0.5 to 0.95", |matches, items| {
        Some(matches.boxes[0].average_precision(items)?.mean)
    }),
    ("per-image AP, mean, slices with lesions only", LesionMatches::mean_ap_with_lesions),
    ("detections a slice on slices without lesions", LesionMatches::false_positives),
    ("FROC, mean sensitivity", |matches, items| Some(matches.froc(items)?.mean)),
    ("Dice of all lesions together", |matches, items| matches.union(items).dice()),
];
/// How many of the last need the detections with low scores, too.
const NEED_LOW_SCORES: usize = 2;

impl LesionMatches {
    /// Of slices with their predictions.
    ///
    /// # Errors
    /// If COCO's evaluation does not take them.
    pub fn new(slices: &[CocoSlice]) -> Result<Self, CocoError> {
        let images: Vec<ImageMatches> = slices
            .iter()
            .map(|slice| ImageMatches::new(&slice.predictions, &slice.truth))
            .collect();
        let mean = |image: &ImageMatches| {
            THRESHOLDS.map(|t| image.average_precision(t)).iter().sum::<f64>() / 10.0
        };
        let (coco_masks, masks) = coco::evaluate(slices, Overlap::Masks)?;
        let (coco_boxes, boxes) = coco::evaluate(slices, Overlap::Boxes)?;
        Ok(Self {
            means: images.iter().map(mean).collect(),
            images,
            hits: slices.iter().map(SliceHits::new).collect(),
            pixels: slices.iter().map(UnionPixels::new).collect(),
            masks,
            boxes,
            coco: [coco_masks, coco_boxes],
            has_lesions: slices.iter().map(|slice| !slice.truth.is_empty()).collect(),
            has_ignored: slices.iter().map(|slice| !slice.ignored.is_empty()).collect(),
            predictions: slices.iter().map(|slice| slice.predictions.len()).collect(),
        })
    }

    /// The reference's AP at an IoU threshold, mean over the slices; 0 without any.
    pub fn ap_at(&self, items: &[usize], threshold: f64) -> f64 {
        let sum: f64 = items.iter().map(|i| self.images[*i].average_precision(threshold)).sum();
        sum / items.len().max(1) as f64
    }

    /// The same, mean over the thresholds; 0 without any slice.
    pub fn mean_ap(&self, items: &[usize]) -> f64 {
        items.iter().map(|i| self.means[*i]).sum::<f64>() / items.len().max(1) as f64
    }

    /// The same, of the slices with lesions alone.
    pub fn mean_ap_with_lesions(&self, items: &[usize]) -> Option<f64> {
        let items: Vec<usize> = items.iter().copied().filter(|i| self.has_lesions[*i]).collect();
        (!items.is_empty()).then(|| self.mean_ap(&items))
    }

    /// Detections on a slice without lesions, on average.
    pub fn false_positives(&self, items: &[usize]) -> Option<f64> {
        let is_empty = |i: &usize| !self.has_lesions[*i] && !self.has_ignored[*i];
        let items: Vec<usize> = items.iter().copied().filter(is_empty).collect();
        let found: usize = items.iter().map(|i| self.predictions[*i]).sum();
        (!items.is_empty()).then(|| found as f64 / items.len() as f64)
    }

    /// Lesions found against false alarms.
    pub fn froc(&self, items: &[usize]) -> Option<Froc> {
        froc(&items.iter().map(|i| &self.hits[*i]).collect::<Vec<_>>())
    }

    /// All lesions of each slice as one region.
    pub fn union(&self, items: &[usize]) -> UnionPixels {
        UnionPixels::sum(items.iter().map(|i| &self.pixels[*i]))
    }

    /// COCO's AP of masks.
    pub fn coco_masks(&self, items: &[usize]) -> Option<Precisions> {
        self.masks[0].average_precision(items)
    }

    /// COCO's AP of masks, or of boxes, over patients.
    pub fn coco_estimates(&self, overlap: Overlap, patients: &[String]) -> CocoEstimates {
        let matches = match overlap {
            Overlap::Masks => &self.masks,
            Overlap::Boxes => &self.boxes,
        };
        let of = |size: SizeRange, value: fn(Precisions) -> f64| {
            let matches = &matches[size as usize];
            estimate(patients, |items| matches.average_precision(items).map(value))
        };
        CocoEstimates {
            ap: of(SizeRange::All, |found| found.mean),
            ap50: of(SizeRange::All, |found| found.at_50),
            ap75: of(SizeRange::All, |found| found.at_75),
            ap_by_size: [SizeRange::Small, SizeRange::Medium, SizeRange::Large]
                .map(|size| of(size, |found| found.mean)),
        }
    }
}

/// COCO's average precision with intervals over patients; none where there is nothing to compute it from.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CocoEstimates {
    /// Mean over IoU 0.50 to 0.95.
    pub ap: Option<Estimate>,
    /// At IoU 0.50.
    pub ap50: Option<Estimate>,
    /// At IoU 0.75.
    pub ap75: Option<Estimate>,
    /// Of lesions of up to 32 x 32, up to 96 x 96, and more pixels: mean over IoU 0.50 to 0.95.
    pub ap_by_size: [Option<Estimate>; 3],
}

/// Each measure of the second model less that of the first, on the same slices; what both find hard cancels out.
/// `patients` names the patient of every slice; `complete` says that low scores were not left out.
pub fn differences(
    first: &LesionMatches,
    second: &LesionMatches,
    patients: &[String],
    complete: bool,
) -> Vec<(&'static str, Option<Estimate>)> {
    let of = |measure: Measure| {
        estimate(patients, |items| Some(measure(second, items)? - measure(first, items)?))
    };
    let count = COMPARED.len() - if complete { 0 } else { NEED_LOW_SCORES };
    COMPARED[..count].iter().map(|(name, measure)| (*name, of(*measure))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Mask;
    use crate::detection::mask::connected_components::bounding_box;
    use crate::evaluate::average_precision::ScoredMask;

    fn square(score: f32, [x, y, side]: [usize; 3]) -> ScoredMask {
        let mut mask = Mask::empty(40, 30);
        for row in y..y + side {
            mask.pixels[row * 40 + x..][..side].fill(true);
        }
        ScoredMask { class: 1, score, mask }
    }

    /// Slices of as many patients, on which a lesion is found beside its place by `shift` pixels, or not at all.
    fn slices(shift: Option<usize>) -> Vec<CocoSlice> {
        let one = |index: usize| {
            let x = 2 + index % 7;
            let found = shift.map(|shift| square(0.5 + index as f32 / 100.0, [x + shift, 5, 10]));
            let predictions: Vec<ScoredMask> = found.into_iter().collect();
            let boxes = predictions.iter().filter_map(|p| bounding_box(&p.mask)).collect();
            let truth = vec![square(1.0, [x, 5, 10])];
            CocoSlice { size: (40, 30), truth, ignored: Vec::new(), predictions, boxes }
        };
        (0..12).map(one).collect()
    }

    #[test]
    fn a_model_that_outlines_worse_is_behind_on_every_patient() {
        let patients: Vec<String> = (0..12).map(|i| format!("p{i}")).collect();
        let exact = LesionMatches::new(&slices(Some(0))).unwrap();
        let beside = LesionMatches::new(&slices(Some(2))).unwrap();
        let found = differences(&exact, &beside, &patients, true);
        let by_name = |wanted: &str| {
            let of_name = found.iter().find(|(name, _)| name.starts_with(wanted));
            of_name.unwrap().1.as_ref().unwrap()
        };
        // 80 of 120 pixels are in both: right at four of the ten IoUs, 0.50 to 0.65.
        let ap = by_name("COCO AP of masks, 0.5 to 0.95");
        assert!((ap.value + 0.6).abs() < 1e-9, "{ap}");
        assert!(ap.interval.is_some_and(|[low, high]| (high - low).abs() < 1e-9), "{ap}");
        assert!(by_name("COCO AP of masks at 0.5").value.abs() < 1e-9);
        assert!(by_name("FROC").value.abs() < 1e-9);
        assert!((by_name("Dice").value + 0.2).abs() < 1e-9);
        let nothing = LesionMatches::new(&slices(None)).unwrap();
        assert!(
            (differences(&exact, &nothing, &patients, true)[0].1.as_ref().unwrap().value + 1.0)
                .abs()
                < 1e-9
        );
    }

    #[test]
    fn two_patients_have_their_own_values() {
        let patients: Vec<String> = (0..12).map(|i| format!("p{}", i / 6)).collect();
        let matches = LesionMatches::new(&slices(Some(0))).unwrap();
        let ap = estimate(&patients, |items| Some(matches.coco_masks(items)?.mean)).unwrap();
        assert_eq!((ap.interval, ap.patients), (None, vec![1.0, 1.0]));
    }
}
