//! The class of a slice as a whole.

use crate::classes::CLASSES;
use crate::image::preprocess::letterbox;
use crate::image::{CtSlice, NetworkInput};
use crate::inference::cpu::CpuImageClassifier;
use crate::kernels::FeatureMap;

/// Class logits of a slice: the mean of the picture's and of its mirror image's, for neither side of a chest is
/// special.
pub fn image_logits(network: &CpuImageClassifier, slice: &CtSlice, side: usize) -> [f32; CLASSES] {
    let input = NetworkInput::unscaled(&letterbox(slice, side));
    let mut values = input.values;
    let mirrored: Vec<f32> =
        values.chunks_exact(side).flat_map(|row| row.iter().rev().copied()).collect();
    values.extend(mirrored);
    let images = FeatureMap::from_channels_first(&values, [2, 3, side, side]);
    let logits = network.forward(&images);
    let mut mean = [0.0; CLASSES];
    for logits in logits.chunks_exact(CLASSES) {
        mean.iter_mut().zip(logits).for_each(|(sum, logit)| *sum += logit / 2.0);
    }
    mean
}
