//! The page (Yew) and its workers.
//!
//! The page itself decodes and computes nothing: it shows, and asks its programs. The reader knows files
//! and no network; workers know the network and no files. The workers are one program for three kinds of processor
//! (a GPU, a CPU, a CPU that multiplies and adds in one instruction), the readers one for two sets of formats.
//!
//! What needs no browser is compiled and tested natively: what the page shows ([`state`]), who does what
//! ([`scheduler`]), what is said ([`messages`], [`texts`]), what the address asks for ([`options`]).

pub mod brush;
pub mod editing;
pub mod edits;
pub mod gestures;
pub mod image_cache;
pub mod messages;
pub mod options;
pub mod read_out;
pub mod refusals;
pub mod scale_bar;
pub mod scheduler;
pub mod sections;
pub mod sentences;
pub mod state;
pub mod texts;
pub mod view;
pub mod warnings;

#[cfg(target_arch = "wasm32")]
pub mod app;
#[cfg(target_arch = "wasm32")]
pub mod browser;
#[cfg(target_arch = "wasm32")]
mod components;
#[cfg(target_arch = "wasm32")]
mod diagnostics;
#[cfg(target_arch = "wasm32")]
mod drawing;
#[cfg(target_arch = "wasm32")]
mod dropped_files;
#[cfg(target_arch = "wasm32")]
pub mod fetch;
#[cfg(target_arch = "wasm32")]
pub mod reader;
#[cfg(target_arch = "wasm32")]
mod session;
#[cfg(all(feature = "network", target_arch = "wasm32"))]
pub mod weights;
#[cfg(all(feature = "network", target_arch = "wasm32"))]
pub mod worker;
#[cfg(target_arch = "wasm32")]
mod worker_scope;
#[cfg(target_arch = "wasm32")]
pub mod yielder;
