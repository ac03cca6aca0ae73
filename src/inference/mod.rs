//! From a slice to a report: one predictor for browser, command line and tests. The page and its readers only know its
//! settings and stages, and are built without the rest.

#[cfg(feature = "network")]
mod backend;
#[cfg(all(feature = "network", not(target_arch = "wasm32")))]
mod burn_backend;
#[cfg(feature = "network")]
pub mod cpu;
#[cfg(feature = "network")]
mod detector;
#[cfg(all(feature = "network", not(target_arch = "wasm32")))]
mod either;
#[cfg(feature = "network")]
mod error;
#[cfg(feature = "network")]
mod load;
#[cfg(feature = "network")]
pub mod manifest;
#[cfg(feature = "network")]
pub mod model;
#[cfg(feature = "network")]
mod outline;
#[cfg(feature = "network")]
mod predictor;
pub mod progress;
#[cfg(feature = "network")]
pub mod self_test;
pub mod settings;
#[cfg(feature = "network")]
pub mod slice_classifier;
#[cfg(feature = "network")]
pub mod slice_features;
#[cfg(feature = "network")]
mod stage_times;
#[cfg(feature = "webgpu")]
pub mod webgpu;

#[cfg(feature = "network")]
pub use backend::Backend;
#[cfg(all(feature = "network", not(target_arch = "wasm32")))]
pub use burn_backend::BurnBackend;
#[cfg(feature = "network")]
pub use cpu::CpuBackend;
#[cfg(feature = "network")]
pub use detector::StageOutputs;
#[cfg(all(feature = "network", not(target_arch = "wasm32")))]
pub use either::EitherBackend;
#[cfg(feature = "network")]
pub use error::PredictError;
#[cfg(feature = "network")]
pub use model::{LoadedModel, ModelFile};
#[cfg(feature = "network")]
pub use predictor::{Prediction, Predictor};
pub use progress::{Cancelled, NoProgress, Progress, Stage};
pub use settings::{MaskThreshold, Settings};
