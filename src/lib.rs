//! Finds ground-glass and consolidation lesions on chest CT slices and estimates whether a slice
//! shows a healthy lung, common pneumonia or COVID-19. For research only, not a medical device.
//!
//! | module | what it does |
//! |---|---|
//! | `cli` | the command line (native only) |
//! | [`export`] | pictures of a report |
//! | [`geometry`] | boxes, anchors, suppression, RoI sampling, masks: plain Rust |
//! | [`image`] | from a PNG, JPEG or DICOM file to the network's input; phantoms |
//! | [`network`] | Mask R-CNN and COVID-CT-Mask-Net on burn, and their weights |
//! | [`predict`] | the predictor: slice in, report out; model list; start-up check |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(not(target_arch = "wasm32"))]
pub mod cli;
#[cfg(not(target_arch = "wasm32"))]
pub mod figures;
#[cfg(not(target_arch = "wasm32"))]
pub mod train;
pub mod export;
pub mod geometry;
pub mod image;
pub mod matmul;
pub mod network;
pub mod parallel;
pub mod predict;
#[cfg(target_arch = "wasm32")]
pub mod web;
