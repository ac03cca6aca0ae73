//! RoIAlign (torchvision's `roi_align`, `aligned=False`) by direct look-ups: a tenth of the arithmetic of matrix
//! products.

#[cfg(not(target_arch = "wasm32"))]
mod gradient;

use crate::detection::BBox;
use crate::detection::roi_align::bins::{BinTaps, bin_taps, level_of};
use crate::kernels::lanes::{AddMultiple, update};
use crate::kernels::{FeatureMap, parallel};
#[cfg(not(target_arch = "wasm32"))]
pub use gradient::RoiAlignGradient;

/// Pools `boxes`, each from the level of its size, to `[boxes, bins, bins, channels]`.
pub fn pool(levels: &[FeatureMap], scales: &[f32], boxes: &[BBox], bins: usize) -> FeatureMap {
    let channels = levels[0].channels();
    let length = bins * bins * channels;
    let mut values = vec![0.0; boxes.len() * length];
    parallel::for_each_chunk(&mut values, length, |index, out| {
        let number = level_of(&boxes[index], levels.len());
        let [_, height, width, _] = levels[number].dims;
        let taps = bin_taps(&boxes[index], scales[number], (height, width), bins);
        pool_region(&levels[number].values, &taps, out, channels);
    });
    FeatureMap { values, dims: [boxes.len(), bins, bins, channels] }
}

/// Pools one region of a map that lies channels last into `out`, `[bins, bins, channels]`.
pub fn pool_region(map: &[f32], taps: &BinTaps, out: &mut [f32], channels: usize) {
    for (bin, sums) in out.chunks_exact_mut(channels).enumerate() {
        taps.for_each(bin, |cell, weight| {
            let cell = &map[cell * channels..][..channels];
            update(sums, cell, &AddMultiple(weight));
        });
    }
}
