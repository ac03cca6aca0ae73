//! All lesions of a slice taken as one region: Dice, recall, precision of its pixels.

use crate::detection::Mask;
use crate::evaluate::coco::CocoSlice;

/// Score over which a detection is part of the region.
pub const SCORE: f32 = 0.4;

/// Pixels of one slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnionPixels {
    /// In both regions.
    pub both: usize,
    /// In the region that was found.
    pub found: usize,
    /// In the region that was drawn.
    pub drawn: usize,
}

impl UnionPixels {
    /// Of the detections with a score over [`SCORE`]; ignored places count on neither side.
    pub fn new(slice: &CocoSlice) -> Self {
        let union = |masks: &mut dyn Iterator<Item = &Mask>| {
            let mut union = vec![false; slice.size.0 * slice.size.1];
            for mask in masks {
                union.iter_mut().zip(&mask.pixels).for_each(|(all, own)| *all |= own);
            }
            union
        };
        let strong = slice.predictions.iter().filter(|lesion| lesion.score > SCORE);
        let found = union(&mut strong.map(|lesion| &lesion.mask));
        let drawn = union(&mut slice.truth.iter().map(|lesion| &lesion.mask));
        let ignored = union(&mut slice.ignored.iter());
        let mut pixels = Self::default();
        for ((found, drawn), ignored) in found.iter().zip(&drawn).zip(&ignored) {
            if *drawn || !*ignored {
                pixels.both += usize::from(*found && *drawn);
                pixels.found += usize::from(*found);
                pixels.drawn += usize::from(*drawn);
            }
        }
        pixels
    }

    /// Of two regions of one slice.
    pub fn of(found: &[bool], drawn: &[bool]) -> Self {
        let count = |region: &[bool]| region.iter().filter(|inside| **inside).count();
        let both = found.iter().zip(drawn).filter(|(found, drawn)| **found && **drawn).count();
        Self { both, found: count(found), drawn: count(drawn) }
    }

    /// Of several slices together.
    pub fn sum<'a>(slices: impl Iterator<Item = &'a Self>) -> Self {
        slices.fold(Self::default(), |sum, own| Self {
            both: sum.both + own.both,
            found: sum.found + own.found,
            drawn: sum.drawn + own.drawn,
        })
    }

    /// Dice; none where nothing was drawn or found.
    pub fn dice(&self) -> Option<f64> {
        let both = self.found + self.drawn;
        (both > 0).then(|| 2.0 * self.both as f64 / both as f64)
    }

    /// Share of what was drawn that was found.
    pub fn recall(&self) -> Option<f64> {
        (self.drawn > 0).then(|| self.both as f64 / self.drawn as f64)
    }

    /// Share of what was found that was drawn.
    pub fn precision(&self) -> Option<f64> {
        (self.found > 0).then(|| self.both as f64 / self.found as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::average_precision::ScoredMask;

    #[test]
    fn overlapping_detections_count_once_and_ignored_places_not_at_all() {
        let region = |range: std::ops::Range<usize>| Mask {
            width: 10,
            height: 1,
            pixels: (0..10).map(|x| range.contains(&x)).collect(),
        };
        let outlined = |score, range| ScoredMask { class: 1, score, mask: region(range) };
        let slice = CocoSlice {
            size: (10, 1),
            truth: vec![outlined(1.0, 0..4)],
            ignored: vec![region(7..10)],
            predictions: vec![
                outlined(0.9, 2..6),
                outlined(0.8, 1..5),
                outlined(0.7, 7..9),
                outlined(0.3, 0..10),
            ],
            boxes: Vec::new(),
        };
        let pixels = UnionPixels::new(&slice);
        assert_eq!(pixels, UnionPixels { both: 3, found: 5, drawn: 4 });
        assert_eq!(pixels.dice(), Some(6.0 / 9.0));
        assert_eq!(UnionPixels::default().dice(), None);
    }
}
