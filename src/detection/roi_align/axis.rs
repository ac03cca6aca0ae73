//! Sampling positions of RoIAlign along one axis (docs/method.md, 1.5).
//!
//! RoIAlign is separable: the weight of a feature cell is the product of a weight for its row and
//! one for its column. One axis is described here once; `network::roi_align` turns it into
//! matrices (for GPUs), [`crate::detection::roi_align::bins`] into direct look-ups (for CPUs).

/// One bilinear sample: `low_weight * map[low] + high_weight * map[high]`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tap {
    /// Index of the lower neighbour.
    pub low: usize,
    /// Index of the upper neighbour.
    pub high: usize,
    /// Weight of the lower neighbour; both are zero outside the map.
    pub low_weight: f32,
    /// Weight of the upper neighbour.
    pub high_weight: f32,
}

/// Samples per output bin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplingRatio {
    /// This many samples per bin and axis.
    Fixed(usize),
    /// As many as the bin is long, rounded up (for mask targets).
    Adaptive,
}

/// The samples along one axis for a region from `start` to `end` in image pixels.
///
/// `scale` is feature cells per image pixel, `length` the map's size along the axis, `bins` the
/// output size. Returns the taps bin by bin and how many belong to each bin; a bin's value is the
/// mean over its samples. This is the legacy alignment: no half-pixel offset, and a region is at
/// least one cell long.
pub fn axis_taps(
    (start, end): (f32, f32),
    scale: f32,
    length: usize,
    bins: usize,
    sampling: SamplingRatio,
) -> (Vec<Tap>, usize) {
    let first = start * scale;
    let extent = (end * scale - first).max(1.0);
    let bin = extent / bins as f32;
    let samples = match sampling {
        SamplingRatio::Fixed(samples) => samples,
        SamplingRatio::Adaptive => (extent / bins as f32).ceil() as usize,
    };
    let mut taps = Vec::with_capacity(bins * samples);
    for index in 0..bins {
        for sample in 0..samples {
            let offset = (sample as f32 + 0.5) * bin / samples as f32;
            taps.push(tap(first + index as f32 * bin + offset, length));
        }
    }
    (taps, samples)
}

fn tap(position: f32, length: usize) -> Tap {
    if !(-1.0..=length as f32).contains(&position) {
        return Tap::default();
    }
    let position = position.max(0.0);
    let low = position as usize;
    if low >= length - 1 {
        let last = length - 1;
        return Tap { low: last, high: last, low_weight: 1.0, high_weight: 0.0 };
    }
    let fraction = position - low as f32;
    Tap { low, high: low + 1, low_weight: 1.0 - fraction, high_weight: fraction }
}

/// The same samples as a dense `bins` x `length` matrix, row-major, the mean already taken.
pub fn axis_matrix(
    span: (f32, f32),
    scale: f32,
    length: usize,
    bins: usize,
    sampling: SamplingRatio,
) -> Vec<f32> {
    let (taps, samples) = axis_taps(span, scale, length, bins, sampling);
    let mut matrix = vec![0.0; bins * length];
    for (index, tap) in taps.iter().enumerate() {
        let row = &mut matrix[index / samples * length..][..length];
        row[tap.low] += tap.low_weight / samples as f32;
        row[tap.high] += tap.high_weight / samples as f32;
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RoIAlign of a plane of `side` x `side` values by the two axis matrices.
    fn align(plane: &[f32], side: usize, roi: [f32; 4], scale: f32, bins: usize) -> Vec<f32> {
        let rows = axis_matrix((roi[1], roi[3]), scale, side, bins, SamplingRatio::Fixed(2));
        let columns = axis_matrix((roi[0], roi[2]), scale, side, bins, SamplingRatio::Fixed(2));
        let mut out = vec![0.0; bins * bins];
        for (p, out_row) in out.chunks_mut(bins).enumerate() {
            for (q, value) in out_row.iter_mut().enumerate() {
                for y in 0..side {
                    for x in 0..side {
                        *value += rows[p * side + y] * columns[q * side + x] * plane[y * side + x];
                    }
                }
            }
        }
        out
    }

    #[test]
    fn alignment_gives_the_values_worked_out_by_hand() {
        let plane: Vec<f32> = (0..16).map(|v| v as f32).collect();
        for (roi, expected) in [
            ([2., 3., 11., 14.], [6.8125, 7.9375, 12., 13.125]),
            ([5., 5., 5., 5.], [7.5, 8., 9.5, 10.]),
            ([14., 14., 30., 30.], [3.75, 0., 0., 0.]),
        ] {
            let out = align(&plane, 4, roi, 0.25, 2);
            for (a, e) in out.iter().zip(expected) {
                assert!((a - e).abs() < 1e-5, "{roi:?}: {out:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_constant_map_stays_constant_inside_the_image(
            x in 0f32..400.0, w in 0f32..110.0, bins in 1usize..15, adaptive: bool,
        ) {
            let sampling = if adaptive { SamplingRatio::Adaptive } else { SamplingRatio::Fixed(2) };
            let matrix = axis_matrix((x, x + w), 1.0 / 16.0, 32, bins, sampling);
            for row in matrix.chunks(32) {
                prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }
    }
}
