//! Evaluation, natively only: the paper's measures and, beside them, the field's (specification 6).

pub mod average_precision;
pub mod bootstrap;
pub mod classification;
pub mod coco;
pub mod kolmogorov_smirnov;
pub mod roi_distribution;
pub mod segmentation;
pub mod tables;
