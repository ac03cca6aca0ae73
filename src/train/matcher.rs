//! Which true box, if any, an anchor or a proposal stands for (specification 1.4, 1.5).

use rayon::prelude::*;

use super::config::MatchThresholds;
use crate::geometry::BBox;

/// What a box is matched to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The true box with this index.
    Foreground(usize),
    /// No lesion.
    Background,
    /// Neither; it does not count.
    Ignored,
}

/// Matches `boxes` to `truth` by overlap.
///
/// With `low_quality`, every box that overlaps some true box as much as any does is matched as well,
/// to the true box that it overlaps most: so no lesion goes without an anchor.
pub fn match_boxes(
    truth: &[BBox],
    boxes: &[BBox],
    thresholds: MatchThresholds,
    low_quality: bool,
) -> Vec<Match> {
    let overlaps: Vec<Vec<f32>> =
        truth.iter().map(|t| boxes.par_iter().map(|b| t.iou(b)).collect()).collect();
    match_overlaps(&overlaps, boxes.len(), thresholds, low_quality)
}

/// The same from overlaps `[truth][box]` of `boxes` boxes.
pub fn match_overlaps(
    overlaps: &[Vec<f32>],
    boxes: usize,
    thresholds: MatchThresholds,
    low_quality: bool,
) -> Vec<Match> {
    let mut restored = vec![false; boxes];
    if low_quality {
        for row in overlaps {
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, nan_or_larger);
            for (index, overlap) in row.iter().enumerate() {
                restored[index] |= *overlap == highest;
            }
        }
    }
    let of_box = |index: usize| {
        let mut best: Option<(usize, f32)> = None;
        for (number, row) in overlaps.iter().enumerate() {
            let overlap = row[index];
            let first_nan = |known: f32| overlap.is_nan() && !known.is_nan();
            if best.is_none_or(|(_, known)| overlap > known || first_nan(known)) {
                best = Some((number, overlap));
            }
        }
        match best {
            None => Match::Background,
            Some((number, _)) if restored[index] => Match::Foreground(number),
            Some((_, overlap)) if overlap < thresholds.background => Match::Background,
            Some((_, overlap)) if overlap < thresholds.foreground => Match::Ignored,
            Some((number, _)) => Match::Foreground(number),
        }
    };
    (0..boxes).map(of_box).collect()
}

/// The maximum as torch takes it: NaN wins. Two boxes without area overlap by NaN, and the reference
/// calls that a match.
fn nan_or_larger(known: f32, value: f32) -> f32 {
    if known.is_nan() || value.is_nan() { f32::NAN } else { known.max(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: MatchThresholds = MatchThresholds { foreground: 0.7, background: 0.3 };

    #[test]
    fn the_best_anchor_of_a_lesion_is_foreground_however_poor() {
        let truth = [BBox::new(0.0, 0.0, 10.0, 10.0)];
        let boxes = [
            BBox::new(0.0, 0.0, 10.0, 4.0),
            BBox::new(50.0, 50.0, 60.0, 60.0),
            BBox::new(0.0, 0.0, 10.0, 3.5),
        ];
        let strict = match_boxes(&truth, &boxes, THRESHOLDS, false);
        assert_eq!(strict, [Match::Ignored, Match::Background, Match::Ignored]);
        let kind = match_boxes(&truth, &boxes, THRESHOLDS, true);
        assert_eq!(kind, [Match::Foreground(0), Match::Background, Match::Ignored]);
    }

    #[test]
    fn without_lesions_everything_is_background() {
        let boxes = [BBox::new(0.0, 0.0, 10.0, 4.0)];
        assert_eq!(match_boxes(&[], &boxes, THRESHOLDS, true), [Match::Background]);
    }
}
