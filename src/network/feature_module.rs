//! A head beside module S that also sees what the backbone saw. Not the paper's: module S knows scores and boxes
//! only.

use burn::module::Module;
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::classes::CLASSES;
use crate::network::Variant;
use crate::network::heads::BOX_HEAD_FEATURES;
use crate::network::linear::{Linear, LinearConfig};

/// Hidden features.
pub const HIDDEN: usize = 128;
/// Added to the variance.
pub const EPSILON: f64 = 1e-5;

/// Length of what the head sees of a slice: mean and largest value of each channel of the body's last map, the
/// box head's representation of the regions, and the share of the lungs that they cover.
pub fn inputs(variant: Variant) -> usize {
    2 * variant.pyramid_channels().last().copied().unwrap_or_default() + BOX_HEAD_FEATURES + 1
}

/// Normalised features to class logits, which are added to module S's.
#[derive(Module, Debug)]
pub struct FeatureModule {
    norm: LayerNorm,
    fc: Linear,
    fc_img: Linear,
}

impl FeatureModule {
    /// A fresh module.
    pub fn init(variant: Variant, device: &Device) -> Self {
        let inputs = inputs(variant);
        Self {
            norm: LayerNormConfig::new(inputs).with_epsilon(EPSILON).init(device),
            fc: LinearConfig::new(inputs, HIDDEN).init(device),
            fc_img: LinearConfig::new(HIDDEN, CLASSES).init(device),
        }
    }

    /// `[slices, inputs]` to `[slices, 128]`.
    pub fn hidden(&self, features: Tensor<2>) -> Tensor<2> {
        relu(self.fc.forward(self.norm.forward(features)))
    }

    /// `[slices, 128]` to `[slices, 3]` logits.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.fc_img.forward(hidden)
    }
}

/// Mean and largest value of each channel of `[batch, channels, height, width]`, `[batch, channels]` each.
pub fn over_cells(map: Tensor<4>) -> (Tensor<2>, Tensor<2>) {
    let [batch, channels, height, width] = map.dims();
    let cells = map.reshape([batch, channels, height * width]);
    let means = cells.clone().mean_dim(2).reshape([batch, channels]);
    (means, cells.max_dim(2).reshape([batch, channels]))
}
