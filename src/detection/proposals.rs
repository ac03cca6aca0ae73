//! From the proposal head's maps to proposals (docs/method.md, 1.4), on the host: torchvision's
//! `RegionProposalNetwork.filter_proposals`.

use crate::detection::nms::nms;
use crate::detection::{AnchorGenerator, BBox, BoxCoder};

/// How many proposals are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProposalCounts {
    /// Per level, before suppression.
    pub before_nms: usize,
    /// Per slice, after suppression.
    pub after_nms: usize,
}

impl ProposalCounts {
    /// At test time, and for the classifier.
    pub const TEST: Self = Self { before_nms: 1000, after_nms: 1000 };
    /// In stage I training.
    pub const TRAINING: Self = Self { before_nms: 2000, after_nms: 2000 };
}

/// IoU over which a weaker proposal is dropped.
pub const NMS_THRESHOLD: f32 = 0.75;

/// The maps of one level on the host, `[anchors, height, width]` and `[anchors * 4, height, width]`.
#[derive(Clone, Debug)]
pub struct RpnMaps {
    /// Objectness logits.
    pub objectness: Vec<f32>,
    /// Box deltas.
    pub deltas: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Selects proposals, by descending objectness.
///
/// `padded` is the network input's (height, width), which fixes the anchors' stride; `image` the
/// (height, width) that boxes are clipped to.
pub fn filter_proposals(
    levels: &[RpnMaps],
    anchors: &AnchorGenerator,
    padded: (usize, usize),
    image: (usize, usize),
    counts: ProposalCounts,
) -> Vec<BBox> {
    let mut boxes = Vec::new();
    let mut scores = Vec::new();
    let mut level_of = Vec::new();
    for (level, maps) in levels.iter().enumerate() {
        let grid = anchors.grid((maps.height, maps.width), padded);
        let cells = maps.height * maps.width;
        let per_location = grid.len() / cells;
        // Flat index `cell * anchors + anchor`, as the anchors are laid out.
        let score =
            |index: usize| maps.objectness[index % per_location * cells + index / per_location];
        for index in top(grid.len(), counts.before_nms, score) {
            let (cell, anchor) = (index / per_location, index % per_location);
            let deltas = std::array::from_fn(|k| maps.deltas[(anchor * 4 + k) * cells + cell]);
            let decoded = BoxCoder::RPN.decode(deltas, &grid[index]);
            boxes.push(decoded.clip(image.1 as f32, image.0 as f32));
            scores.push(score(index));
            level_of.push(level);
        }
    }
    let mut kept = nms(&boxes, &scores, |index| level_of[index], NMS_THRESHOLD);
    kept.truncate(counts.after_nms);
    kept.into_iter().map(|index| boxes[index]).collect()
}

/// The `count` indices of highest score, descending; equal scores by index.
fn top(length: usize, count: usize, score: impl Fn(usize) -> f32) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..length).collect();
    let order = |a: &usize, b: &usize| score(*b).total_cmp(&score(*a)).then(a.cmp(b));
    if count < length {
        indices.select_nth_unstable_by(count, order);
        indices.truncate(count);
    }
    indices.sort_unstable_by(order);
    indices
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_top_is_what_a_stable_sort_puts_first(
            scores in prop::collection::vec((-3i8..3).prop_map(f32::from), 0..80), count in 0usize..100,
        ) {
            let mut sorted: Vec<usize> = (0..scores.len()).collect();
            sorted.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
            sorted.truncate(count);
            prop_assert_eq!(top(scores.len(), count, |i| scores[i]), sorted);
        }
    }
}
