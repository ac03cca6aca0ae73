//! Gradient of RoIAlign with respect to the features.

use crate::detection::BBox;
use crate::detection::roi_align::bins::bin_taps;
use crate::kernels::parallel;

/// RoIAlign of these boxes on one level of the pyramid.
pub struct RoiAlignGradient<'a> {
    /// In pixels of the network's input.
    pub boxes: &'a [BBox],
    /// Cells a pixel.
    pub scale: f32,
    /// Bins a side.
    pub bins: usize,
}

impl RoiAlignGradient<'_> {
    /// Gradient of the level `[1, height, width, channels]`, from that of the pooled regions
    /// `[boxes, bins, bins, channels]`.
    pub fn level_gradient(
        &self,
        gradient: &[f32],
        [batch, height, width, channels]: [usize; 4],
    ) -> Vec<f32> {
        let area = self.bins * self.bins;
        let cells = batch * height * width;
        // Boxes overlap, so threads share the channels, not the boxes.
        let group = channels.div_ceil(parallel::threads());
        let mut grouped = vec![0.0; cells * group * channels.div_ceil(group)];
        parallel::for_each_chunk(&mut grouped, cells * group, |index, out| {
            let first = index * group;
            let own = group.min(channels - first);
            for (number, bbox) in self.boxes.iter().enumerate() {
                let taps = bin_taps(bbox, self.scale, (height, width), self.bins);
                for bin in 0..area {
                    let start = (number * area + bin) * channels + first;
                    let gradient = &gradient[start..][..own];
                    taps.for_each(bin, |cell, weight| {
                        let sums = &mut out[cell * group..][..own];
                        for (sum, value) in sums.iter_mut().zip(gradient) {
                            *sum += weight * value;
                        }
                    });
                }
            }
        });
        let mut values = vec![0.0; cells * channels];
        for (index, part) in grouped.chunks_exact(cells * group).enumerate() {
            let first = index * group;
            let own = group.min(channels - first);
            for (cell, sums) in part.chunks_exact(group).enumerate() {
                values[cell * channels + first..][..own].copy_from_slice(&sums[..own]);
            }
        }
        values
    }
}
