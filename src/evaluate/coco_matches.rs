//! COCO's average precision of any selection of slices: what an interval over resampled patients needs.
//!
//! Which detection matches which lesion is hotcoco's to say, once; a selection only counts the matches anew, by the
//! rules of pycocotools' `accumulate`.

use hotcoco::{COCOeval, EvalImg};

/// Recalls at which the precision is read: 0, 0.01, ... 1.
const RECALLS: usize = 101;
/// IoU 0.50, 0.55, ... 0.95.
const OVERLAPS: usize = 10;

/// What became of a detection at one IoU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Hit,
    FalsePositive,
    /// Neither: it lies on what is not to be counted.
    Ignored,
}

/// A detection with its outcomes at the ten IoUs.
#[derive(Clone, Copy, Debug)]
struct Detection {
    score: f64,
    outcomes: [Outcome; OVERLAPS],
}

/// Detections and lesions of one category in one slice.
#[derive(Clone, Debug)]
struct CategoryMatches {
    category: u64,
    detections: Vec<Detection>,
    lesions: usize,
}

/// COCO's ranges of sizes, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SizeRange {
    /// All.
    All = 0,
    /// Up to 32 x 32 pixels.
    Small = 1,
    /// Up to 96 x 96.
    Medium = 2,
    /// Larger ones.
    Large = 3,
}

impl SizeRange {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::All, Self::Small, Self::Medium, Self::Large];
}

/// Average precisions of some slices.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Precisions {
    /// Mean over IoU 0.50 to 0.95.
    pub mean: f64,
    /// At IoU 0.50.
    pub at_50: f64,
    /// At IoU 0.75.
    pub at_75: f64,
}

/// Detections of every slice, each as a hit or a false positive.
#[derive(Clone, Debug)]
pub struct CocoMatches {
    slices: Vec<Vec<CategoryMatches>>,
    categories: Vec<u64>,
}

impl CocoMatches {
    /// Where nothing was detected: every lesion is missed. `lesions` has how many there are on each slice.
    pub(super) fn of_silence(lesions: impl Iterator<Item = usize>) -> Self {
        let category = 1;
        let missed = |lesions| vec![CategoryMatches { category, detections: Vec::new(), lesions }];
        Self { slices: lesions.map(missed).collect(), categories: vec![category] }
    }

    /// From an evaluation whose image ids are the slices' numbers from 1 on: lesions of all sizes, or of one of COCO's
    /// ranges.
    pub(super) fn new(evaluation: &COCOeval, slices: usize, size: SizeRange) -> Self {
        let mut matches = Self { slices: vec![Vec::new(); slices], categories: Vec::new() };
        let range = evaluation.params.area_ranges.get(size as usize).map(|area| area.range);
        for found in evaluation.eval_imgs().iter().flatten() {
            let slice = usize::try_from(found.image_id).ok().and_then(|id| id.checked_sub(1));
            let slice = slice.and_then(|index| matches.slices.get_mut(index));
            if let Some(slice) = slice
                && Some(found.area_rng) == range
            {
                slice.push(CategoryMatches::new(found));
                matches.categories.push(found.category_id);
            }
        }
        matches.categories.sort_unstable();
        matches.categories.dedup();
        matches
    }

    /// AP of the slices `items`, each as often as it is named. None without a lesion.
    pub fn average_precision(&self, items: &[usize]) -> Option<Precisions> {
        let mut sums = [0.0; 3];
        let mut count = 0.0;
        for category in &self.categories {
            let of_category = items
                .iter()
                .flat_map(|item| &self.slices[*item])
                .filter(|matches| matches.category == *category);
            let lesions: usize = of_category.clone().map(|matches| matches.lesions).sum();
            if lesions == 0 {
                continue;
            }
            let mut detections: Vec<&Detection> =
                of_category.flat_map(|matches| &matches.detections).collect();
            // Stable: equal scores stay in the order of their slices, as in pycocotools.
            detections.sort_by(|a, b| b.score.total_cmp(&a.score));
            let by_overlap: [f64; OVERLAPS] =
                std::array::from_fn(|overlap| precision(&detections, overlap, lesions));
            sums[0] += by_overlap.iter().sum::<f64>() / OVERLAPS as f64;
            sums[1] += by_overlap[0];
            sums[2] += by_overlap[5];
            count += 1.0;
        }
        let [mean, at_50, at_75] = sums.map(|sum| sum / count);
        (count > 0.0).then_some(Precisions { mean, at_50, at_75 })
    }
}

impl CategoryMatches {
    fn new(found: &EvalImg) -> Self {
        let detections = found.dt_scores.iter().enumerate().map(|(index, score)| {
            let outcomes = std::array::from_fn(|overlap| {
                if found.dt_ignore[(overlap, index)] {
                    Outcome::Ignored
                } else if found.dt_matched[(overlap, index)] {
                    Outcome::Hit
                } else {
                    Outcome::FalsePositive
                }
            });
            Detection { score: *score, outcomes }
        });
        Self {
            category: found.category_id,
            detections: detections.collect(),
            lesions: found.num_gt_in_denominator(),
        }
    }
}

/// Mean precision over [`RECALLS`] of detections by descending score, at one IoU.
fn precision(detections: &[&Detection], overlap: usize, lesions: usize) -> f64 {
    let mut curve: Vec<(usize, f64)> = Vec::with_capacity(detections.len());
    let (mut hits, mut counted) = (0, 0);
    for detection in detections {
        hits += usize::from(detection.outcomes[overlap] == Outcome::Hit);
        counted += usize::from(detection.outcomes[overlap] != Outcome::Ignored);
        curve.push((hits, hits as f64 / counted.max(1) as f64));
    }
    // The best precision at this recall or a higher one.
    let mut best = 0.0_f64;
    for (_, precision) in curve.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let at = |recall: usize| {
        // As numpy's linspace rounds it: recalls lie on these points often.
        let wanted = if recall + 1 == RECALLS { 1.0 } else { recall as f64 * 0.01 };
        let first = curve.partition_point(|(hits, _)| (*hits as f64 / lesions as f64) < wanted);
        curve.get(first).map_or(0.0, |(_, precision)| *precision)
    };
    (0..RECALLS).map(at).sum::<f64>() / RECALLS as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::detection::Mask;
    use crate::detection::mask::connected_components::bounding_box;
    use crate::evaluate::average_precision::ScoredMask;
    use crate::evaluate::coco::{CocoSlice, Overlap, evaluate};

    fn square(class: usize, score: f32, [x, y, side]: [usize; 3]) -> ScoredMask {
        let mut mask = Mask::empty(48, 48);
        for row in y..y + side {
            mask.pixels[row * 48 + x..][..side].fill(true);
        }
        ScoredMask { class, score, mask }
    }

    /// Squares here and there, in two classes, with scores of which some are the same.
    fn squares() -> impl Strategy<Value = Vec<ScoredMask>> {
        let square = (1_usize..3, 1_u8..8, 0_usize..20, 0_usize..20, 4_usize..24).prop_map(
            |(class, score, x, y, side)| square(class, f32::from(score) / 8.0, [x, y, side]),
        );
        proptest::collection::vec(square, 0..5)
    }

    fn slice(
        truth: Vec<ScoredMask>,
        ignored: Vec<ScoredMask>,
        predictions: Vec<ScoredMask>,
    ) -> CocoSlice {
        let boxes = predictions.iter().map(|p| bounding_box(&p.mask).unwrap_or_default()).collect();
        let ignored = ignored.into_iter().map(|place| place.mask).collect();
        CocoSlice { size: (48, 48), truth, ignored, predictions, boxes }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn all_slices_have_the_precision_that_hotcoco_gives(
            parts in proptest::collection::vec((squares(), squares(), squares()), 1..5)
        ) {
            let slices: Vec<CocoSlice> = parts.into_iter().map(|(truth, mut ignored, found)| {
                ignored.truncate(1);
                slice(truth, ignored, found)
            }).collect();
            let all: Vec<usize> = (0..slices.len()).collect();
            // A selection is what these slices alone give, however often each is named.
            let last = slices.len() - 1;
            for overlap in [Overlap::Masks, Overlap::Boxes] {
                let (_, matches) = evaluate(&slices, overlap).unwrap();
                for items in [all.clone(), vec![last], vec![last, 0, last]] {
                    let selected: Vec<CocoSlice> =
                        items.iter().map(|item| slices[*item].clone()).collect();
                    let (result, _) = evaluate(&selected, overlap).unwrap();
                    let [small, medium, large] = result.ap_by_size;
                    let sizes = [result.ap, small, medium, large];
                    let found = [0, 1, 2, 3].map(|size| matches[size].average_precision(&items));
                    for (found, expected) in found.into_iter().zip(sizes) {
                        let found = found.map(|precisions| precisions.mean);
                        let [found, expected] = [found, expected].map(|ap| ap.unwrap_or(-1.0));
                        // Where nothing was detected hotcoco is not asked about sizes.
                        let is_silent = selected.iter().all(|slice| slice.predictions.is_empty());
                        prop_assert!(is_silent || (found - expected).abs() < 1e-9);
                    }
                    let all_sizes = found[0].unwrap_or_default();
                    prop_assert!((all_sizes.at_50 - result.ap50.unwrap_or(0.0)).abs() < 1e-9);
                    prop_assert!((all_sizes.at_75 - result.ap75.unwrap_or(0.0)).abs() < 1e-9);
                }
            }
        }
    }

    #[test]
    fn a_lesion_without_any_detection_is_missed_and_no_lesion_has_no_precision() {
        let lesion = || vec![square(1, 1.0, [2, 2, 10])];
        let slices = [slice(lesion(), vec![], vec![]), slice(vec![], vec![], vec![])];
        let (_, [matches, ..]) = evaluate(&slices, Overlap::Masks).unwrap();
        assert_eq!(matches.average_precision(&[0, 1]), Some(Precisions::default()));
        assert_eq!(matches.average_precision(&[1]), None);
    }
}
