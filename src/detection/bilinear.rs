//! Bilinear interpolation along one axis: half-pixel centres, edges repeated, no antialiasing.
//!
//! Resizing follows `interpolate(align_corners=False)`; slices are resized so, and masks pasted.

/// Neighbours of a target pixel and the weight of the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Index of the lower neighbour.
    pub low: usize,
    /// Index of the upper neighbour; the same at the far edge.
    pub high: usize,
    /// Weight of the upper neighbour.
    pub fraction: f32,
}

impl Sample {
    /// The sample at a place between `length` pixels, the first of which lies at 0; beyond the ends it is theirs.
    pub fn at(place: f32, length: usize) -> Self {
        let place = place.clamp(0.0, (length - 1) as f32);
        let low = place as usize;
        Self { low, high: (low + 1).min(length - 1), fraction: place - low as f32 }
    }
}

/// The sample of pixel `index` when `source` cells become `target` pixels.
pub fn sample(index: usize, source: usize, target: usize) -> Sample {
    let ratio = source as f32 / target as f32;
    let position = ((index as f32 + 0.5) * ratio - 0.5).max(0.0);
    let low = (position as usize).min(source - 1);
    Sample { low, high: (low + 1).min(source - 1), fraction: position - low as f32 }
}

/// The value between four neighbours; `at(row, column)` reads one.
pub fn blend(at: impl Fn(usize, usize) -> f32, row: Sample, column: Sample) -> f32 {
    let along = |row: usize| {
        at(row, column.low) * (1.0 - column.fraction) + at(row, column.high) * column.fraction
    };
    along(row.low) * (1.0 - row.fraction) + along(row.high) * row.fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_a_row_weighs_three_to_one_and_repeats_the_edges() {
        let values = [0.0, 4.0];
        let doubled: Vec<f32> =
            (0..4).map(|i| blend(|_, x| values[x], sample(0, 1, 1), sample(i, 2, 4))).collect();
        assert_eq!(doubled, [0.0, 1.0, 3.0, 4.0]);
    }

    #[test]
    fn beyond_the_ends_lie_the_ends() {
        let values = [2.0, 4.0, 8.0];
        let at = |place| blend(|_, x| values[x], Sample::at(0.0, 1), Sample::at(place, 3));
        assert_eq!([-3.0, 0.0, 0.5, 1.75, 2.0, 9.0].map(at), [2.0, 2.0, 3.0, 7.0, 8.0, 8.0]);
    }
}
