//! From a slice to a report: one predictor for browser, command line and tests.

mod backend;
#[cfg(not(target_arch = "wasm32"))]
mod burn_backend;
pub mod cpu;
mod detector;
#[cfg(not(target_arch = "wasm32"))]
mod either;
mod error;
mod load;
pub mod manifest;
pub mod model;
mod predictor;
pub mod progress;
pub mod self_test;
pub mod settings;
pub mod slice_classifier;
pub mod slice_features;
#[cfg(feature = "webgpu")]
pub mod webgpu;

pub use backend::Backend;
#[cfg(not(target_arch = "wasm32"))]
pub use burn_backend::BurnBackend;
pub use cpu::CpuBackend;
pub use detector::StageOutputs;
#[cfg(not(target_arch = "wasm32"))]
pub use either::EitherBackend;
pub use error::PredictError;
pub use model::{LoadedModel, ModelFile};
pub use predictor::{Prediction, Predictor};
pub use progress::{Cancelled, NoProgress, Progress, Stage};
pub use settings::{MaskThreshold, Settings};
