//! From a slice to a report: one predictor for browser, command line and tests.

#[cfg(not(target_arch = "wasm32"))]
mod any_engine;
pub mod canary;
pub mod detections;
mod device_engine;
mod engine;
mod host_engine;
pub mod manifest;
pub mod model;
pub mod monitor;
mod predictor;
pub mod proposals;
pub mod regions;
pub mod report;
pub mod roi_batch;
pub mod series_report;
pub mod settings;
mod trunk;

#[cfg(not(target_arch = "wasm32"))]
pub use any_engine::AnyEngine;
pub use device_engine::DeviceEngine;
pub use engine::Engine;
pub use host_engine::HostEngine;
pub use model::{LoadedModel, ModelFile};
pub use monitor::{Cancelled, Monitor, Stage, Unattended};
pub use predictor::{PredictError, Prediction, Predictor};
pub use report::{Report, SliceReport};
pub use series_report::SeriesReport;
pub use settings::{MaskThreshold, Settings};
pub use trunk::Inspection;
