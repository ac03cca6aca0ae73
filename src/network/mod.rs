//! The networks: Mask R-CNN on a truncated ResNet, and COVID-CT-Mask-Net on top of it.
//!
//! Tensors in, tensors out: nothing here reads files or draws boxes. Parameter names follow the
//! author's checkpoints (specification 7.4), so a weight keeps its name from `.pth` to `.bpk`.

pub mod architecture;
pub mod backbone;
pub mod batch_norm;
pub mod candidates;
pub mod conv;
pub mod fpn;
pub mod heads;
pub mod host;
#[cfg(not(target_arch = "wasm32"))]
pub mod host_ops;
pub mod host_values;
pub mod linear;
pub mod mask_rcnn;
mod ops;
pub mod parameters;
pub mod resnet;
pub mod roi_align;
pub mod rpn;
pub mod score_module;
pub mod weights;

pub use architecture::{Architecture, Backbone, Masks, Task, Truncation, Variant};
pub use mask_rcnn::{MaskRcnn, MaskRcnnConfig};
pub use weights::{StateDict, WeightsError};
