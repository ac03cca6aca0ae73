//! The network through burn, on a graphics card or, in tests, on burn's CPU backend.

mod backend;
pub mod preselect;

pub use backend::{GpuBackend, GpuPyramid};
