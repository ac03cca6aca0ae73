//! The page (Yew) and its workers. wasm only.
//!
//! The page itself links no network code: it shows, and asks a worker. There are two worker
//! binaries with the same protocol, one on WebGPU and one on the CPU.

pub mod app;
mod components;
mod diagnostics;
mod drawing;
mod environment;
mod options;
mod pictures;
pub mod protocol;
mod session;
mod state;
pub mod worker;
