//! Dense matrix products on the CPU.
//!
//! What a network multiplies by is known when it is loaded: [`PackedMatrices`] holds such right operands in the order in
//! which the machine's kernel reads them. Natively that is the `gemm` crate; in wasm it is `panels`, a kernel of our
//! own.

#[cfg(target_arch = "wasm32")]
mod chosen;
#[cfg(not(target_arch = "wasm32"))]
mod gemm;
#[cfg(any(test, target_arch = "wasm32"))]
mod panels;

#[cfg(target_arch = "wasm32")]
pub use chosen::fuse_multiply_add;
#[cfg(not(target_arch = "wasm32"))]
pub use gemm::{PackedMatrices, add_transposed_matmul, matmul};
#[cfg(target_arch = "wasm32")]
pub use panels::PackedMatrices;
