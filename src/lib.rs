//! Finds ground-glass and consolidation lesions on chest CT slices and estimates whether a slice
//! shows a healthy lung, common pneumonia or COVID-19. For research only, not a medical device.
//!
//! | module | what it does |
//! |---|---|
//! | `cli` | the command line (native only) |
//! | [`crew`] | how many workers share a series |
//! | `evaluate` | average precision, sensitivities, RoI distributions, the paper's tables (native only) |
//! | [`export`] | a report as pictures, masks, tables, HTML |
//! | `figures` | charts as SVG and PNG (native only) |
//! | [`geometry`] | boxes, anchors, suppression, RoI sampling, masks: plain Rust |
//! | [`image`] | from a PNG, JPEG, DICOM or NIfTI file to the network's input; phantoms |
//! | [`network`] | Mask R-CNN and COVID-CT-Mask-Net on burn, and their weights |
//! | [`predict`] | the predictor: slice in, report out; model list; start-up check |
//! | `train` | data, losses and the two training stages (native only) |
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(not(target_arch = "wasm32"))]
pub mod cli;
pub mod crew;
#[cfg(not(target_arch = "wasm32"))]
pub mod evaluate;
pub mod export;
#[cfg(not(target_arch = "wasm32"))]
pub mod figures;
pub mod geometry;
pub mod image;
pub mod matmul;
pub mod network;
pub mod parallel;
pub mod predict;
#[cfg(not(target_arch = "wasm32"))]
pub mod train;
#[cfg(target_arch = "wasm32")]
pub mod web;
