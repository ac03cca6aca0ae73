//! Messages between the page and its programs.
//!
//! A message is a request or an event, and bytes beside it, so that they are moved and not copied, or the user's
//! files, which are read where they are needed.

#[cfg(target_arch = "wasm32")]
mod envelope;
pub mod reader;
pub mod worker;

#[cfg(target_arch = "wasm32")]
pub use envelope::{Envelope, Transfer, decode, encode};
