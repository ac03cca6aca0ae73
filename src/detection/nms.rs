//! Greedy non-maximum suppression.

use std::hash::Hash;

use crate::detection::BBox;

/// Indices ordered by descending score; equal scores keep the lower index first.
pub fn rank(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order
}

/// Boxes that survive suppression at IoU > `threshold`, as indices by descending score.
///
/// Only boxes of the same group (feature level or class) suppress each other. Comparison with
/// NaN is false, so boxes without area survive each other (see [`BBox::iou`]).
///
/// # Examples
///
/// ```
/// use groundglass::detection::{BBox, nms::nms};
///
/// let boxes = [[0.0, 0.0, 10.0, 10.0], [1.0, 0.0, 11.0, 10.0], [40.0, 40.0, 50.0, 50.0]].map(BBox::from);
/// assert_eq!(nms(&boxes, &[0.7, 0.9, 0.8], |_| 0, 0.5), [1, 2]);
/// ```
pub fn nms<G: Eq + Hash>(
    boxes: &[BBox],
    scores: &[f32],
    group: impl Fn(usize) -> G,
    threshold: f32,
) -> Vec<usize> {
    let mut kept: Vec<usize> = Vec::new();
    for candidate in rank(scores) {
        let suppressed = kept.iter().any(|&winner| {
            group(winner) == group(candidate) && boxes[winner].iou(&boxes[candidate]) > threshold
        });
        if !suppressed {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_scores_keep_the_lower_index() {
        let boxes = vec![BBox::new(0.0, 0.0, 10.0, 10.0); 3];
        assert_eq!(nms(&boxes, &[0.5, 0.5, 0.5], |_| 0, 0.5), [0]);
    }

    #[test]
    fn boxes_without_area_never_suppress_each_other() {
        let boxes = vec![BBox::new(0.0, 5.0, 10.0, 5.0); 3];
        assert_eq!(nms(&boxes, &[0.1, 0.3, 0.2], |_| 0, 0.5), [1, 2, 0]);
    }

    #[test]
    fn boxes_of_different_groups_do_not_suppress_each_other() {
        let boxes = vec![BBox::new(0.0, 0.0, 10.0, 10.0); 2];
        assert_eq!(nms(&boxes, &[0.1, 0.3], |i| i, 0.5), [1, 0]);
    }

    proptest! {
        #[test]
        fn survivors_are_sorted_and_apart_and_everything_else_has_a_stronger_neighbour(
            raw in prop::collection::vec((0f32..60.0, 0f32..60.0, 0f32..40.0, 0f32..40.0, 0f32..1.0), 0..60),
            threshold in 0.1f32..0.9,
        ) {
            let boxes: Vec<_> = raw.iter().map(|r| BBox::new(r.0, r.1, r.0 + r.2, r.1 + r.3)).collect();
            let scores: Vec<_> = raw.iter().map(|r| r.4).collect();
            let kept = nms(&boxes, &scores, |_| 0, threshold);
            for pair in kept.windows(2) {
                prop_assert!(scores[pair[0]] >= scores[pair[1]]);
            }
            for (i, &a) in kept.iter().enumerate() {
                for &b in &kept[i + 1..] {
                    let suppressed = boxes[a].iou(&boxes[b]) > threshold;
                    prop_assert!(!suppressed);
                }
            }
            for lost in (0..boxes.len()).filter(|i| !kept.contains(i)) {
                prop_assert!(kept.iter().any(|&k| scores[k] >= scores[lost] && boxes[k].iou(&boxes[lost]) > threshold));
            }
        }
    }
}
