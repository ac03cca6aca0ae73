//! What a worker computes on.

use gloo::timers::callback::Interval;

use crate::inference::{Backend, CpuBackend, LoadedModel, Predictor};
use crate::network::WeightsError;

/// Why there is no predictor.
pub enum StartError {
    /// The weights are unusable anywhere.
    Weights(WeightsError),
    /// This device is.
    Device(String),
}

impl From<WeightsError> for StartError {
    fn from(error: WeightsError) -> Self {
        Self::Weights(error)
    }
}

/// A device. Each worker binary is built for one, so that it links no code of another.
pub trait WorkerDevice: 'static {
    /// What runs networks on it.
    type Backend: Backend + 'static;

    /// Puts a model on the device, and describes the device for reports of faults.
    fn predictor(
        model: &LoadedModel,
    ) -> impl Future<Output = Result<(Predictor<Self::Backend>, String), StartError>>;

    /// What has to be called again and again while the device computes.
    fn while_computing() -> Option<Interval> {
        None
    }
}

/// One thread of WebAssembly with SIMD.
pub struct CpuDevice;

impl WorkerDevice for CpuDevice {
    type Backend = CpuBackend;

    async fn predictor(model: &LoadedModel) -> Result<(Predictor<CpuBackend>, String), StartError> {
        let predictor = Predictor::on_cpu(model, "cpu (WebAssembly)")?;
        Ok((predictor, "threads of WebAssembly with SIMD, one a worker".into()))
    }
}

#[cfg(feature = "webgpu")]
pub use gpu::GpuDevice;

#[cfg(feature = "webgpu")]
mod gpu {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::Arc;

    use super::*;
    use crate::inference::webgpu::{Gpu, WebGpuBackend};
    use crate::web::browser;
    use crate::web::messages::worker::Event;
    use crate::web::worker::post;

    /// Milliseconds between two calls that make Firefox look at its queue.
    const NUDGE_MS: u32 = 4;

    thread_local! {
        /// The queue, where it has to be nudged: Firefox looks every 100 ms whether a read-back is done, and whenever
        /// something is submitted.
        static NUDGED: RefCell<Option<wgpu::Queue>> = const { RefCell::new(None) };
    }

    /// WebGPU.
    pub struct GpuDevice;

    impl WorkerDevice for GpuDevice {
        type Backend = WebGpuBackend;

        async fn predictor(
            model: &LoadedModel,
        ) -> Result<(Predictor<WebGpuBackend>, String), StartError> {
            let failed = |error: &dyn std::fmt::Display| StartError::Device(error.to_string());
            let instance =
                wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
            let options = wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            };
            let adapter =
                instance.request_adapter(&options).await.map_err(|error| failed(&error))?;
            // The limits that every browser has are enough.
            let opened = adapter.request_device(&wgpu::DeviceDescriptor::default()).await;
            let (device, queue) = opened.map_err(|error| failed(&error))?;
            let lost = |message: String| post(&Event::Failed { message });
            device.set_device_lost_callback(move |reason, message| {
                lost(format!("the graphics device was lost ({reason:?}) {message}"));
            });
            device.on_uncaptured_error(Arc::new(move |error| {
                lost(format!("the graphics device failed: {error}"));
            }));
            let info = adapter.get_info();
            let name = if info.name.is_empty() {
                "WebGPU".to_owned()
            } else {
                format!("WebGPU, {}", info.name)
            };
            let limits = device.limits();
            let details = format!(
                "{info:?}; buffers of {} bytes, {} bound, {} invocations and {} bytes shared a workgroup",
                limits.max_buffer_size,
                limits.max_storage_buffer_binding_size,
                limits.max_compute_invocations_per_workgroup,
                limits.max_compute_workgroup_storage_size,
            );
            if browser::browser().contains("Firefox") {
                NUDGED.set(Some(queue.clone()));
            }
            let gpu = Rc::new(Gpu::new(device, queue));
            let predictor = Predictor::on_webgpu(model, gpu, &format!("gpu ({name})"))
                .await
                .map_err(|error| StartError::Device(error.to_string()))??;
            Ok((predictor, details))
        }

        fn while_computing() -> Option<Interval> {
            let queue = NUDGED.with_borrow(Clone::clone)?;
            Some(Interval::new(NUDGE_MS, move || {
                queue.submit([]);
            }))
        }
    }
}
