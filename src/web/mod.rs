//! The page (Yew) and its workers. wasm only.
//!
//! The page itself decodes and computes nothing: it shows, and asks its programs. The reader knows files
//! and no network; workers know the network and no files. There are two worker binaries with the same
//! protocol, one on WebGPU and one on the CPU.

pub mod app;
mod components;
mod diagnostics;
mod drawing;
pub mod environment;
mod options;
pub mod pace;
mod pictures;
pub mod protocol;
pub mod reader;
mod scope;
mod session;
mod state;
mod texts;
pub mod weights;
pub mod worker;
