//! CPU arithmetic on plain slices, natively and in wasm: no burn, no network.

pub mod conv;
pub mod conv_transpose;
mod layout;
pub mod linear;
pub mod matmul;
pub mod max_pool;
pub mod parallel;
pub mod roi_align;
pub mod winograd;

pub use layout::{FeatureMap, transpose};
