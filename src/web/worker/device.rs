//! What a worker computes on.

use crate::network::WeightsError;
use crate::predict::{LoadedModel, Predictor};

/// The two worker binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// One thread of WebAssembly with SIMD.
    Cpu,
    /// WebGPU.
    #[cfg(feature = "webgpu")]
    Gpu,
}

/// Why there is no predictor.
pub enum StartError {
    /// The weights are unusable anywhere.
    Weights(WeightsError),
    /// This device is.
    #[cfg_attr(not(feature = "webgpu"), expect(dead_code, reason = "the CPU never fails to start"))]
    Device(String),
}

impl From<WeightsError> for StartError {
    fn from(error: WeightsError) -> Self {
        Self::Weights(error)
    }
}

/// Puts a model on the device, and describes the device for reports of faults.
pub async fn predictor(
    kind: DeviceKind,
    model: &LoadedModel,
) -> Result<(Predictor, String), StartError> {
    match kind {
        DeviceKind::Cpu => {
            let predictor = Predictor::on_cpu(model, "cpu (WebAssembly)")?;
            Ok((predictor, "one thread of WebAssembly with SIMD".into()))
        }
        #[cfg(feature = "webgpu")]
        DeviceKind::Gpu => gpu::predictor(model).await,
    }
}

#[cfg(feature = "webgpu")]
mod gpu {
    use std::sync::Arc;

    use burn::tensor::Device;

    use super::*;
    use crate::web::protocol::{Beside, Event};
    use crate::web::worker::post;

    pub async fn predictor(model: &LoadedModel) -> Result<(Predictor, String), StartError> {
        let (device, setup) = Device::wgpu_options()
            .init_with_setup_async()
            .await
            .map_err(|error| StartError::Device(error.to_string()))?;
        let failed = |message: String| post(&Event::DeviceFailed { message }, Beside::Nothing);
        setup.device.set_device_lost_callback(move |reason, message| {
            failed(format!("the graphics device was lost ({reason:?}) {message}"));
        });
        setup.device.on_uncaptured_error(Arc::new(move |error| {
            failed(format!("the graphics device failed: {error}"));
        }));
        let info = setup.adapter.get_info();
        let name = if info.name.is_empty() {
            "WebGPU".to_owned()
        } else {
            format!("WebGPU, {}", info.name)
        };
        let limits = setup.device.limits();
        let details = format!(
            "{info:?}; buffers of {} bytes, {} bound, {} invocations and {} bytes shared a workgroup",
            limits.max_buffer_size,
            limits.max_storage_buffer_binding_size,
            limits.max_compute_invocations_per_workgroup,
            limits.max_compute_workgroup_storage_size,
        );
        Ok((Predictor::on_gpu(model, &device, &format!("gpu ({name})"))?, details))
    }
}
