//! Module S of COVID-CT-Mask-Net: from the ranked RoI batch to three class logits
//! (docs/method.md, 2.1).

use burn::module::Module;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::classes::CLASSES;
use crate::detection::roi_batch::ROI_FEATURES;
use crate::network::linear::{Linear, LinearConfig};

/// Three fully connected layers over the flattened RoI batch.
#[derive(Module, Debug)]
pub struct ScoreModule {
    fc_scores: Linear,
    fc_scores_2: Linear,
    fc_scores_img: Linear,
}

impl ScoreModule {
    /// A fresh module for batches of `roi_batch` regions.
    pub fn init(roi_batch: usize, features: usize, device: &Device) -> Self {
        let linear =
            |inputs, outputs| LinearConfig { inputs, outputs, kaiming_fan_out: true }.init(device);
        Self {
            fc_scores: linear(roi_batch * ROI_FEATURES, features),
            fc_scores_2: linear(features, features),
            fc_scores_img: linear(features, CLASSES),
        }
    }

    /// `[slices, roi_batch * 5]` to `[slices, 3]` logits.
    pub fn forward(&self, batch: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.fc_scores.forward(batch));
        let hidden = relu(self.fc_scores_2.forward(hidden));
        self.fc_scores_img.forward(hidden)
    }
}
