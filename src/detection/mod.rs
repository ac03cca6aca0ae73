//! Mask R-CNN without a network: boxes, anchors, suppression, matching and sampling, proposals and detections,
//! the places that RoIAlign samples, masks.
//!
//! Nothing here knows of tensors, files or devices. Coordinates are pixels, `x` to the right and `y` downwards; a
//! box is `(x1, y1, x2, y2)` with an exclusive far corner.

pub mod anchors;
pub mod bilinear;
pub mod boxes;
pub mod mask;
#[cfg(not(target_arch = "wasm32"))]
pub mod matcher;
pub mod nms;
pub mod postprocess;
pub mod proposals;
pub mod roi_align;
pub mod roi_batch;
#[cfg(not(target_arch = "wasm32"))]
pub mod sampler;
mod shuffle;

pub use anchors::AnchorGenerator;
pub use boxes::{BBox, BoxCoder};
pub use mask::Mask;
