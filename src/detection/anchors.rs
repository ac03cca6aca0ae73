//! The anchors of the region proposal network (docs/method.md, 1.3).

use serde::{Deserialize, Serialize};

use crate::detection::BBox;

/// Anchor sizes and aspect ratios, the same on every feature level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnchorGenerator {
    /// Square roots of the anchors' areas, in network pixels.
    pub sizes: Vec<f32>,
    /// Height divided by width.
    pub aspect_ratios: Vec<f32>,
}

impl Default for AnchorGenerator {
    /// The paper's anchors: five sizes of 2 to 32 px and six ratios, 30 anchors per location.
    fn default() -> Self {
        Self {
            sizes: vec![2.0, 4.0, 8.0, 16.0, 32.0],
            aspect_ratios: vec![0.1, 0.25, 0.5, 1.0, 1.5, 2.0],
        }
    }
}

impl AnchorGenerator {
    /// Anchors per location.
    pub fn anchors_per_location(&self) -> usize {
        self.sizes.len() * self.aspect_ratios.len()
    }

    /// The anchors around the origin, ratio-major, corners rounded half to even.
    ///
    /// Flat ratios at small sizes round to zero height; they are kept, as in the reference.
    pub fn base_anchors(&self) -> Vec<BBox> {
        self.aspect_ratios
            .iter()
            .flat_map(|ratio| {
                let height_ratio = ratio.sqrt();
                let width_ratio = 1.0 / height_ratio;
                self.sizes.iter().map(move |size| {
                    let (width, height) = (width_ratio * size, height_ratio * size);
                    BBox::new(-width / 2.0, -height / 2.0, width / 2.0, height / 2.0)
                })
            })
            .map(|b| {
                BBox::new(
                    b.x1.round_ties_even(),
                    b.y1.round_ties_even(),
                    b.x2.round_ties_even(),
                    b.y2.round_ties_even(),
                )
            })
            .collect()
    }

    /// All anchors of a feature map of `feature` = (height, width) over an image of
    /// `image` = (height, width) pixels, in the order `(row * width + column) * anchors + anchor`.
    pub fn grid(&self, feature: (usize, usize), image: (usize, usize)) -> Vec<BBox> {
        let base = self.base_anchors();
        let stride_y = image.0 as f32 / feature.0 as f32;
        let stride_x = image.1 as f32 / feature.1 as f32;
        let mut anchors = Vec::with_capacity(feature.0 * feature.1 * base.len());
        for row in 0..feature.0 {
            for column in 0..feature.1 {
                let (x, y) = (column as f32 * stride_x, row as f32 * stride_y);
                anchors
                    .extend(base.iter().map(|b| BBox::new(b.x1 + x, b.y1 + y, b.x2 + x, b.y2 + y)));
            }
        }
        anchors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_papers_base_anchors_are_rounded_half_to_even() {
        let base = AnchorGenerator::default().base_anchors();
        let corner = |i: usize| (base[i].x2, base[i].y2);
        assert_eq!(base.len(), 30);
        let expected = [
            [(3., 0.), (6., 1.), (13., 1.), (25., 3.), (51., 5.)],
            [(2., 0.), (4., 1.), (8., 2.), (16., 4.), (32., 8.)],
            [(1., 1.), (3., 1.), (6., 3.), (11., 6.), (23., 11.)],
            [(1., 1.), (2., 2.), (4., 4.), (8., 8.), (16., 16.)],
            [(1., 1.), (2., 2.), (3., 5.), (7., 10.), (13., 20.)],
            [(1., 1.), (1., 3.), (3., 6.), (6., 11.), (11., 23.)],
        ];
        for (i, wanted) in expected.iter().flatten().enumerate() {
            assert_eq!(corner(i), *wanted, "anchor {i}");
            assert_eq!((-base[i].x1, -base[i].y1), *wanted, "anchor {i}");
        }
    }

    #[test]
    fn zero_height_anchors_are_kept() {
        let flat = AnchorGenerator::default().base_anchors();
        let flat: Vec<_> = (0..30).filter(|&i| flat[i].area() == 0.0).collect();
        assert_eq!(flat, [0, 5]);
    }

    #[test]
    fn the_grid_runs_over_columns_before_rows_without_a_half_stride_offset() {
        let generator = AnchorGenerator::default();
        let grid = generator.grid((32, 32), (512, 512));
        assert_eq!(grid.len(), 30_720);
        let first = generator.base_anchors()[17];
        assert_eq!(grid[17], first);
        assert_eq!(grid[30 + 17].x1, first.x1 + 16.0);
        assert_eq!(grid[32 * 30 + 17].y1, first.y1 + 16.0);
    }
}
