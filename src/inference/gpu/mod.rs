//! The network through burn, on a graphics card or, in tests, on burn's CPU backend.

mod backend;
pub mod preselect;

use burn::tensor::Device;

use crate::inference::model::LoadedModel;
use crate::inference::predictor::Predictor;
use crate::network::WeightsError;

pub use backend::{GpuBackend, GpuPyramid};

impl Predictor<GpuBackend> {
    /// A predictor on a device of burn that has been initialised.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn on_device(
        model: &LoadedModel,
        device: &Device,
        device_name: &str,
    ) -> Result<Self, WeightsError> {
        Self::new(model, device_name, |file| GpuBackend::new(file.detector()?, &file.state, device))
    }
}
