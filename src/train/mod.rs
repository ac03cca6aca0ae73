//! Training, natively only: data, targets, losses, and the two stages (specification 2, 4, 5).

pub mod adam;
pub mod affine;
pub mod augmentation;
pub mod average;
pub mod calibration;
pub mod checkpoint;
pub mod classifier;
pub mod config;
pub mod curves;
pub mod dataset;
pub mod loader;
pub mod losses;
pub mod matcher;
pub mod recalibration;
pub mod run;
pub mod sampler;
pub mod segmentation;
pub mod targets;

pub use config::{Augmentation, SegmentationConfig};
