//! CPU arithmetic on plain slices: no burn, no network. Inference runs it natively and in wasm; the gradients,
//! each beside the operation that it belongs to, are native.

#[cfg(not(target_arch = "wasm32"))]
pub mod batch_norm;
pub mod conv;
pub mod conv_transpose;
pub mod epilogue;
mod lanes;
mod layout;
pub mod linear;
pub mod matmul;
pub mod max_pool;
pub mod parallel;
pub mod roi_align;
pub mod winograd;

pub use layout::{FeatureMap, transpose};
