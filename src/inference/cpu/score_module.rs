//! Module S of COVID-CT-Mask-Net (docs/method.md, 2.1).

use crate::classes::CLASSES;
use crate::detection::roi_batch::ROI_FEATURES;
use crate::inference::load::Loader;
use crate::kernels::linear::CpuLinear;
use crate::network::weights::{StateDict, WeightsError};

/// Three fully connected layers over the flattened RoI batch.
#[derive(Clone, Debug)]
pub struct CpuScoreModule {
    layers: [CpuLinear; 3],
}

impl CpuScoreModule {
    /// The module for batches of `roi_batch` regions, with `features` hidden features.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(
        state: &StateDict,
        (roi_batch, features): (usize, usize),
    ) -> Result<Self, WeightsError> {
        let loader = Loader::new(state);
        Ok(Self {
            layers: [
                loader.linear("s2new.fc_scores", [roi_batch * ROI_FEATURES, features])?.into(),
                loader.linear("s2new.fc_scores_2", [features, features])?.into(),
                loader.linear("s2new.fc_scores_img", [features, CLASSES])?.into(),
            ],
        })
    }

    /// `[slices, roi_batch * 5]` to `[slices, 3]` logits.
    pub fn forward(&self, batch: &[f32]) -> Vec<f32> {
        let [first, second, last] = &self.layers;
        last.forward(&second.forward(&first.forward(batch, true), true), false)
    }
}
