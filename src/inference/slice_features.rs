//! What a class can be told from beside the scores and boxes of regions: the input of
//! [`crate::network::feature_module`].

use crate::detection::postprocess::Detection;
use crate::detection::{BBox, Mask};
use crate::image::{CtSlice, plausibility};

/// Cells a side of the grid on which the covered share of the lungs is counted.
const GRID: usize = 64;

/// What the backbone and the box head saw of a slice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SliceFeatures {
    /// Mean of each channel of the body's last map.
    pub means: Vec<f32>,
    /// Largest value of each.
    pub maxima: Vec<f32>,
    /// The box head's representation of each region, `[regions, features]`.
    pub representations: Vec<f32>,
}

impl SliceFeatures {
    /// All in one row: means, maxima, the weighted representation of the regions, and `share`.
    pub fn row(&self, regions: &[Detection], representation: usize, share: f32) -> Vec<f32> {
        let mut weighted = vec![0.0; representation];
        let weights = region_weights(regions);
        for (row, weight) in self.representations.chunks_exact(representation).zip(weights) {
            weighted.iter_mut().zip(row).for_each(|(sum, value)| *sum += weight * value);
        }
        let mut row = [&self.means[..], &self.maxima, &weighted].concat();
        row.push(share);
        row
    }
}

/// Weight of each region: its score, over one more than their sum, so that a slice of many faint regions and one
/// without any are not classified as diseased.
pub fn region_weights(regions: &[Detection]) -> Vec<f32> {
    let sum: f32 = regions.iter().map(|region| region.score).sum();
    regions.iter().map(|region| region.score / (1.0 + sum)).collect()
}

/// Share of the lungs that `regions` cover, each place by the highest score over it; `slice_from_network` brings their boxes
/// to the slice's pixels. What is covered counts as lung: dense parts of it are not dark. 0 without lungs.
pub fn covered_share(slice: &CtSlice, regions: &[Detection], slice_from_network: [f32; 2]) -> f32 {
    let lungs =
        plausibility::lungs(slice).unwrap_or_else(|| Mask::empty(slice.width, slice.height));
    let boxes: Vec<(BBox, f32)> = regions
        .iter()
        .map(|region| {
            (region.bbox.scale(slice_from_network[0], slice_from_network[1]), region.score)
        })
        .collect();
    let (mut lung, mut covered) = (0.0f32, 0.0f32);
    for cell in 0..GRID * GRID {
        let x = (cell % GRID * slice.width + slice.width / 2) / GRID;
        let y = (cell / GRID * slice.height + slice.height / 2) / GRID;
        let is_over = |bbox: &BBox| {
            (bbox.x1..bbox.x2).contains(&(x as f32)) && (bbox.y1..bbox.y2).contains(&(y as f32))
        };
        let over = boxes.iter().filter(|(bbox, _)| is_over(bbox));
        let score = over.fold(0.0f32, |highest, (_, score)| highest.max(*score));
        let is_lung = lungs.pixels[y * slice.width + x];
        lung += if is_lung { 1.0 } else { score };
        covered += score;
    }
    if lung > 0.0 { covered / lung } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::SliceClass;
    use crate::image::phantom::draw;

    fn region(bbox: [f32; 4], score: f32) -> Detection {
        let [x1, y1, x2, y2] = bbox;
        Detection { bbox: BBox { x1, y1, x2, y2 }, score, class: 1, deltas: [0.0; 4], proposal: 0 }
    }

    #[test]
    fn the_row_holds_the_backbone_the_weighted_regions_and_the_share() {
        let features = SliceFeatures {
            means: vec![1.0, 2.0],
            maxima: vec![3.0, 4.0],
            representations: vec![10.0, 20.0, 30.0, 40.0],
        };
        let regions = [region([0.0, 0.0, 1.0, 1.0], 0.75), region([0.0, 0.0, 1.0, 1.0], 0.25)];
        assert_eq!(features.row(&regions, 2, 0.5), [1.0, 2.0, 3.0, 4.0, 7.5, 12.5, 0.5]);
        let nothing = SliceFeatures { representations: Vec::new(), ..features };
        assert_eq!(nothing.row(&[], 2, 0.0), [1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_box_over_everything_covers_the_lungs_by_its_score() {
        let slice = draw(SliceClass::Control, 7).slice;
        let side = slice.width as f32;
        let everything = [region([0.0, 0.0, side, side], 1.0)];
        assert!((covered_share(&slice, &everything, [1.0; 2]) - 1.0).abs() < 1e-6);
        assert_eq!(covered_share(&slice, &[], [1.0; 2]), 0.0);
        let half = [region([0.0, 0.0, side / 4.0, side / 2.0], 0.8)];
        let share = covered_share(&slice, &half, [2.0, 1.0]);
        assert!((0.2..0.8).contains(&share), "{share}");
    }
}
