//! Plain geometry of detection: boxes, anchors, suppression, region-of-interest sampling and masks.
//!
//! Nothing here knows of tensors, files or devices. Coordinates are pixels, `x` to the right and
//! `y` downwards; a box is `(x1, y1, x2, y2)` with an exclusive far corner.

pub mod anchors;
pub mod bilinear;
pub mod boxes;
pub mod components;
pub mod contour;
pub mod mask;
pub mod nms;
pub mod paste;
pub mod rle;
pub mod roi_pooling;
pub mod roi_sampling;
pub mod view;

pub use anchors::AnchorGenerator;
pub use boxes::{BBox, BoxCoder};
pub use mask::Mask;
