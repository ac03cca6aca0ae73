//! How much of the lungs lesions cover.

use serde::{Deserialize, Serialize};

use crate::detection::Mask;
use crate::detection::mask::rle::Rle;
use crate::image::lungs::Lungs;

/// A lung on a slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LungSlice {
    /// Its pixels, with those of the lesions on its side.
    pub area_px: usize,
    /// Those of them that lesions cover.
    pub affected_px: usize,
    /// The lung, without the lesions beyond its border.
    pub mask: Rle,
}

/// The lungs on a slice, found by thresholds ([`crate::image::lungs`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LungsSlice {
    /// The patient's right lung.
    pub right: LungSlice,
    /// The patient's left lung.
    pub left: LungSlice,
}

impl LungsSlice {
    /// Counts what `lesions` cover, a label map of the slice that is 0 outside of them.
    pub fn new(lungs: &Lungs, lesions: &[u8]) -> Self {
        let columns = [&lungs.right, &lungs.left].map(mean_column);
        let of = |own: usize| {
            let masks = [&lungs.right, &lungs.left];
            let (mut area_px, mut affected_px) = (masks[own].area(), 0);
            for (place, _) in lesions.iter().enumerate().filter(|(_, lesion)| **lesion > 0) {
                let side = match masks.iter().position(|mask| mask.pixels[place]) {
                    Some(side) => side,
                    None => nearer(place % masks[own].width, columns),
                };
                affected_px += usize::from(side == own);
                area_px += usize::from(side == own && !masks[own].pixels[place]);
            }
            LungSlice { area_px, affected_px, mask: Rle::encode(masks[own]) }
        };
        Self { right: of(0), left: of(1) }
    }

    /// The same with other lesions.
    pub fn with_lesions(&self, lesions: &[u8]) -> Self {
        let masks = [&self.right, &self.left].map(|lung| lung.mask.decode());
        match masks {
            [Ok(right), Ok(left)] => Self::new(&Lungs { right, left }, lesions),
            _ => self.clone(),
        }
    }

    /// Right, then left.
    pub fn sides(&self) -> [&LungSlice; 2] {
        [&self.right, &self.left]
    }

    /// Share of both lungs that lesions cover, from 0 to 1.
    pub fn affected_share(&self) -> f64 {
        let sum = |count: fn(&LungSlice) -> usize| self.sides().map(count).iter().sum::<usize>();
        sum(|lung| lung.affected_px) as f64 / sum(|lung| lung.area_px).max(1) as f64
    }
}

fn mean_column(mask: &Mask) -> Option<f64> {
    let inside = mask.pixels.iter().enumerate().filter(|(_, inside)| **inside);
    let (sum, count) =
        inside.fold((0, 0), |(sum, n), (place, _)| (sum + place % mask.width, n + 1));
    (count > 0).then(|| sum as f64 / count as f64)
}

/// The side whose lung lies nearer to a column.
fn nearer(column: usize, [right, left]: [Option<f64>; 2]) -> usize {
    let distance =
        |mean: Option<f64>| mean.map_or(f64::INFINITY, |mean| (mean - column as f64).abs());
    usize::from(distance(left) < distance(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(columns: std::ops::Range<usize>) -> Mask {
        let pixels = (0..40).map(|place| columns.contains(&(place % 10))).collect();
        Mask { width: 10, height: 4, pixels }
    }

    fn lungs() -> Lungs {
        Lungs { right: mask(1..4), left: mask(6..9) }
    }

    #[test]
    fn lesions_count_on_their_side_and_beyond_the_border_belong_to_the_nearer_lung() {
        let mut lesions = vec![0; 40];
        // Two pixels in the right lung, one beside it, one beside the left.
        [1, 2, 4, 9].into_iter().for_each(|place| lesions[place] = 1);
        let found = LungsSlice::new(&lungs(), &lesions);
        assert_eq!((found.right.area_px, found.right.affected_px), (13, 3));
        assert_eq!((found.left.area_px, found.left.affected_px), (13, 1));
        assert_eq!(found.affected_share(), 4.0 / 26.0);
        assert_eq!(found.with_lesions(&[0; 40]), LungsSlice::new(&lungs(), &[0; 40]));
    }
}
