//! Training, natively only: data, targets, losses, and the two stages (docs/method.md, 2, 4, 5).

pub mod adam;
pub mod affine;
pub mod appearance;
pub mod augmentation;
pub mod average;
pub mod checkpoint;
pub mod class_heads;
pub mod class_loss;
pub mod class_sampling;
pub mod classifier;
pub mod config;
pub mod copy_paste;
pub mod curves;
pub mod folds;
pub mod freeze;
pub mod image_classifier;
pub mod joint;
pub mod loader;
pub mod losses;
pub mod mask_rcnn_losses;
pub mod model_soup;
pub mod provenance;
pub mod recalibration;
pub mod rng;
pub mod run;
pub mod segmentation;
pub mod targets;
pub mod temperature;
pub mod tensorboard;
pub mod validation;

pub use config::{Augmentation, SegmentationConfig};
