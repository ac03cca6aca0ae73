//! Bilinear resizing along one axis: half-pixel centres, edges repeated, no antialiasing.
//!
//! The rule of `interpolate(align_corners=False)`, used for slices and for pasting masks.

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
}
