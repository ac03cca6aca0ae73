//! Evaluation, natively only: the paper's measures and, beside them, the field's (docs/method.md, 6).

pub mod average_precision;
pub mod bootstrap;
pub mod calibration;
pub mod class_tables;
pub mod classification;
pub mod coco;
pub mod coco_matches;
pub mod comparison;
pub mod controls;
pub mod coverage;
pub mod froc;
pub mod kolmogorov_smirnov;
pub mod lesion_measures;
pub mod paper;
pub mod roi_distribution;
pub mod segmentation;
pub mod tables;
pub mod union;
