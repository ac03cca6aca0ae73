//! How much of the lungs lesions cover.

use serde::{Deserialize, Serialize};

use crate::detection::mask::rle::Rle;
use crate::image::lungs::{Lungs, Midline};

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
    /// What parts them, for lesions beyond their borders.
    pub midline: Midline,
}

impl LungsSlice {
    /// Counts what `lesions` cover, a label map of the slice that is 0 outside of them.
    pub fn new(lungs: &Lungs, lesions: &[u8]) -> Self {
        let of = |mask| LungSlice { area_px: 0, affected_px: 0, mask: Rle::encode(mask) };
        let Lungs { right, left, midline } = lungs;
        let mut slice = Self { right: of(right), left: of(left), midline: *midline };
        slice.count(lungs, lesions);
        slice
    }

    /// The same with other lesions.
    pub fn with_lesions(&self, lesions: &[u8]) -> Self {
        let mut slice = self.clone();
        if let (Ok(right), Ok(left)) = (self.right.mask.decode(), self.left.mask.decode()) {
            slice.count(&Lungs { right, left, midline: self.midline }, lesions);
        }
        slice
    }

    fn count(&mut self, Lungs { right, left, midline }: &Lungs, lesions: &[u8]) {
        let width = right.width.max(1);
        self.right.area_px = right.area();
        self.left.area_px = left.area();
        (self.right.affected_px, self.left.affected_px) = (0, 0);
        for (place, _) in lesions.iter().enumerate().filter(|(_, lesion)| **lesion > 0) {
            let is_inside = right.pixels[place] || left.pixels[place];
            let is_right = right.pixels[place] || (!is_inside && midline.is_right(place % width));
            let own = if is_right { &mut self.right } else { &mut self.left };
            own.affected_px += 1;
            own.area_px += usize::from(!is_inside);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Mask;

    fn mask(columns: std::ops::Range<usize>) -> Mask {
        let pixels = (0..40).map(|place| columns.contains(&(place % 10))).collect();
        Mask { width: 10, height: 4, pixels }
    }

    fn lungs() -> Lungs {
        let midline = Midline { column: 5, right_first: true };
        Lungs { right: mask(1..4), left: mask(6..9), midline }
    }

    #[test]
    fn lesions_count_on_their_side_also_beyond_the_border() {
        let mut lesions = vec![0; 40];
        // Two pixels in the right lung, one beside it, one beside the left.
        [1, 2, 4, 9].into_iter().for_each(|place| lesions[place] = 1);
        let found = LungsSlice::new(&lungs(), &lesions);
        assert_eq!((found.right.area_px, found.right.affected_px), (13, 3));
        assert_eq!((found.left.area_px, found.left.affected_px), (13, 1));
        assert_eq!(found.affected_share(), 4.0 / 26.0);
        assert_eq!(found.with_lesions(&[0; 40]), LungsSlice::new(&lungs(), &[0; 40]));
    }

    #[test]
    fn a_lung_that_is_all_lesion_is_affected_as_a_whole() {
        let Lungs { right, midline, .. } = lungs();
        let whited_out = Lungs { right, left: mask(0..0), midline };
        let lesions: Vec<u8> = mask(6..9).pixels.iter().map(|inside| u8::from(*inside)).collect();
        let found = LungsSlice::new(&whited_out, &lesions);
        assert_eq!((found.left.area_px, found.left.affected_px), (12, 12));
        assert_eq!((found.right.area_px, found.right.affected_px), (12, 0));
    }
}
