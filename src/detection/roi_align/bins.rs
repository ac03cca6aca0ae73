//! Which cells of which pyramid level make up each bin of a pooled region (docs/method.md, 1.5).

use crate::detection::BBox;
use crate::detection::roi_align::axis::{SamplingRatio, Tap, axis_taps};

/// Samples per bin and axis in the detector's heads.
pub const SAMPLING: SamplingRatio = SamplingRatio::Fixed(2);

/// The scale of a level: feature cells per pixel, rounded to a power of two as torchvision does.
pub fn level_scale(feature: usize, image: usize) -> f32 {
    (feature as f32 / image as f32).log2().round().exp2()
}

/// The pyramid level for a box of its size, canonical size 224 px at level 4; `levels` start at
/// level 2. One level takes all.
pub fn level_of(bbox: &BBox, levels: usize) -> usize {
    if levels == 1 {
        return 0;
    }
    let level = (4.0 + (bbox.area().max(0.0).sqrt() / 224.0 + 1e-6).log2()).floor();
    (level.clamp(2.0, levels as f32 + 1.0) - 2.0) as usize
}

/// Which cells of a map, with which weights, make up each bin of a region.
pub struct BinTaps {
    rows: Vec<Vec<(usize, f32)>>,
    columns: Vec<Vec<(usize, f32)>>,
    width: usize,
    mean: f32,
}

/// The cells under `bbox` on a map of `(height, width)` cells.
pub fn bin_taps(bbox: &BBox, scale: f32, (height, width): (usize, usize), bins: usize) -> BinTaps {
    let (rows, samples) = axis_taps((bbox.y1, bbox.y2), scale, height, bins, SAMPLING);
    let (columns, _) = axis_taps((bbox.x1, bbox.x2), scale, width, bins, SAMPLING);
    BinTaps {
        rows: rows.chunks(samples).map(merge).collect(),
        columns: columns.chunks(samples).map(merge).collect(),
        width,
        mean: 1.0 / (samples * samples) as f32,
    }
}

impl BinTaps {
    /// Calls `visit(cell, weight)` for the cells of bin `bin` (row by row).
    pub fn for_each(&self, bin: usize, mut visit: impl FnMut(usize, f32)) {
        let bins = self.columns.len();
        for &(row, row_weight) in &self.rows[bin / bins] {
            for &(column, column_weight) in &self.columns[bin % bins] {
                visit(row * self.width + column, row_weight * column_weight * self.mean);
            }
        }
    }
}

/// Weights per cell of the samples of one bin; neighbouring samples mostly share cells.
fn merge(taps: &[Tap]) -> Vec<(usize, f32)> {
    let mut cells: Vec<(usize, f32)> = Vec::with_capacity(2 * taps.len());
    for tap in taps {
        for (cell, weight) in [(tap.low, tap.low_weight), (tap.high, tap.high_weight)] {
            if weight == 0.0 {
                continue;
            }
            match cells.iter_mut().find(|(known, _)| *known == cell) {
                Some((_, sum)) => *sum += weight,
                None => cells.push((cell, weight)),
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_level_takes_all_and_four_share_by_size() {
        assert_eq!(level_of(&BBox::new(0.0, 0.0, 900.0, 900.0), 1), 0);
        for (side, level) in [(10.0, 0), (100.0, 0), (112.1, 1), (224.1, 2), (448.1, 3), (5e3, 3)] {
            assert_eq!(level_of(&BBox::new(0.0, 0.0, side, side), 4), level, "{side}");
        }
        assert_eq!(level_scale(32, 512), 1.0 / 16.0);
    }
}
