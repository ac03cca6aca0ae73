//! The network on a GPU, in shaders of our own through wgpu.
//!
//! Activations lie channels last, batch norm is folded at load, and what one size of slices needs is written down once.
//! It computes what [`crate::network::MaskRcnn`] computes.

mod backend;
mod gpu;
mod layers;
mod mask_rcnn;
mod poll;
mod recorder;
mod resnet;
mod shader;
mod weights;

use std::rc::Rc;

use crate::inference::error::PredictError;
use crate::inference::model::LoadedModel;
use crate::inference::predictor::Predictor;
use crate::network::WeightsError;

pub use backend::{WebGpuBackend, WebGpuPyramid};
pub use gpu::{Dispatch, Gpu, Work};
pub use shader::{Access, Shader};

impl Predictor<WebGpuBackend> {
    /// A predictor on a GPU.
    ///
    /// # Errors
    /// The outer one if the device refuses a shader or has no memory; the inner one if a weight is missing, misshapen or
    /// not finite.
    pub async fn on_webgpu(
        model: &LoadedModel,
        gpu: Rc<Gpu>,
        device_name: &str,
    ) -> Result<Result<Self, WeightsError>, PredictError> {
        let backend = |file: &crate::inference::ModelFile| {
            WebGpuBackend::new(gpu.clone(), file.detector()?, &file.state)
        };
        gpu.checked(|| Self::new(model, device_name, backend)).await
    }
}
