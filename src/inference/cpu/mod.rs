//! The network on a CPU, natively and in wasm, without burn.
//!
//! Batch norm is folded into the convolutions at load. It computes what [`crate::network::MaskRcnn`] computes, several
//! times faster, and a user who has no GPU downloads a tenth of the program.

mod backend;
mod feature_module;
mod image_classifier;
mod layers;
mod mask_rcnn;
mod resnet;
mod score_module;

use crate::inference::model::LoadedModel;
use crate::inference::predictor::Predictor;
use crate::network::WeightsError;

pub use backend::{CpuBackend, CpuPyramid};
pub use feature_module::CpuFeatureModule;
pub use image_classifier::CpuImageClassifier;
pub use mask_rcnn::CpuMaskRcnn;
pub use resnet::CpuResNet;
pub use score_module::CpuScoreModule;

impl Predictor<CpuBackend> {
    /// A predictor on the CPU.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn on_cpu(model: &LoadedModel, device_name: &str) -> Result<Self, WeightsError> {
        Self::new(model, device_name, |file| CpuBackend::new(file.detector()?, &file.state))
    }
}
