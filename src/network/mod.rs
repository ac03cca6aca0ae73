//! The networks: Mask R-CNN on a truncated ResNet, and COVID-CT-Mask-Net on top of it.
//!
//! Tensors in, tensors out: nothing here reads files or draws boxes. Parameter names follow the
//! author's checkpoints (docs/method.md, 7), so a weight keeps its name from `.pth` to `.bpk`.

pub mod architecture;
pub mod backbone;
pub mod batch_norm;
pub mod conv;
#[cfg(not(target_arch = "wasm32"))]
pub mod cpu_ops;
pub mod cpu_values;
pub mod feature_module;
pub mod fpn;
pub mod heads;
pub mod image_classifier;
pub mod linear;
pub mod mask_rcnn;
#[cfg(not(target_arch = "wasm32"))]
pub mod onnx;
mod ops;
pub mod parameters;
#[cfg(not(target_arch = "wasm32"))]
pub mod pretrained;
pub mod resnet;
pub mod roi_align;
pub mod rpn;
pub mod score_module;
pub mod weights;

pub use architecture::{Architecture, Backbone, Task, Truncation, Variant};
pub use image_classifier::{ImageClassifier, ImageClassifierConfig};
pub use mask_rcnn::{MaskRcnn, MaskRcnnConfig};
pub use weights::{StateDict, WeightsError};
