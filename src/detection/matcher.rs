//! Which true box, if any, an anchor or a proposal stands for (docs/method.md, 1.4, 1.5): torchvision's `Matcher`.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::detection::BBox;

/// IoU over which a box is foreground, and under which it is background; between, it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatchThresholds {
    /// Foreground from here.
    pub foreground: f32,
    /// Background below.
    pub background: f32,
}

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
///
/// # Examples
///
/// ```
/// use groundglass::detection::BBox;
/// use groundglass::detection::matcher::{Match, MatchThresholds, match_boxes};
///
/// let lesion = [BBox::new(0.0, 0.0, 20.0, 20.0)];
/// let anchors = [BBox::new(0.0, 0.0, 16.0, 20.0), BBox::new(50.0, 50.0, 66.0, 66.0)];
/// let thresholds = MatchThresholds { foreground: 0.7, background: 0.3 };
/// assert_eq!(
///     match_boxes(&lesion, &anchors, thresholds, true),
///     [Match::Foreground(0), Match::Background]
/// );
/// ```
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

/// Takes background boxes that lie on `ignored` places out of the loss: those that overlap one by `iou` or
/// more, or of which half or more lies within one. COCO treats crowds alike.
pub fn ignore_on(matches: &mut [Match], boxes: &[BBox], ignored: &[BBox], iou: f32) {
    const WITHIN: f32 = 0.5;
    if ignored.is_empty() {
        return;
    }
    matches.par_iter_mut().zip(boxes).for_each(|(matched, own)| {
        let on = |place: &BBox| {
            place.iou(own) >= iou || place.intersection(own) >= WITHIN * own.area().max(1e-6)
        };
        if *matched == Match::Background && ignored.iter().any(on) {
            *matched = Match::Ignored;
        }
    });
}

/// [`match_boxes`] from overlaps `[truth][box]` of `boxes` boxes.
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
    fn background_on_an_ignored_place_does_not_count_and_lesions_still_do() {
        let boxes = [
            BBox::new(0.0, 0.0, 10.0, 10.0),
            BBox::new(2.0, 2.0, 4.0, 4.0),
            BBox::new(0.0, 0.0, 40.0, 40.0),
            BBox::new(30.0, 30.0, 40.0, 40.0),
        ];
        let mut matches = vec![Match::Background; 4];
        matches[0] = Match::Foreground(0);
        ignore_on(&mut matches, &boxes, &[BBox::new(0.0, 0.0, 10.0, 10.0)], 0.3);
        use Match::{Background, Foreground, Ignored};
        assert_eq!(matches, [Foreground(0), Ignored, Background, Background]);
    }

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
