//! Finds ground-glass and consolidation lesions on chest CT slices and estimates whether a slice
//! shows a healthy lung, common pneumonia or COVID-19. For research only, not a medical device.
//!
//! Bottom up:
//!
//! | module | what it does |
//! |---|---|
//! | [`classes`] | classes of slices and kinds of lesions |
//! | [`statistics`], `logistic_regression`, [`sha256`], [`unknown_name`] | quantiles; a linear model; hashes; the error of a word that names nothing known |
//! | [`detection`] | boxes, anchors, suppression, proposals, detections, RoI sampling, masks: plain Rust |
//! | [`kernels`] | CPU arithmetic on plain slices |
//! | [`image`] | from a PNG, JPEG, DICOM or NIfTI file to the network's input; phantoms |
//! | [`network`] | Mask R-CNN and COVID-CT-Mask-Net on burn, and their weights |
//! | [`report`] | what was found |
//! | [`inference`] | slice in, report out, on a CPU or a GPU; model list; self-test |
//! | [`export`] | a report as pictures, masks, tables, DICOM, HTML |
//! | `dataset` | slices with drawn lesions or classes (native only) |
//! | `figures` | charts as SVG and PNG (native only) |
//! | `train` | losses and the training stages (native only) |
//! | `evaluate` | average precision, sensitivities, RoI distributions, the paper's tables (native only) |
//! | `cli` | the command line (native only) |
//! | [`web`] | the page and its workers; what needs a browser is wasm only |
//!
//! # Examples
//!
//! ```no_run
//! use groundglass::image::decode_slice;
//! use groundglass::inference::{CpuBackend, LoadedModel, ModelFile, NoProgress, Predictor, Settings};
//!
//! let file = ModelFile::read("resnet18t1", &std::fs::read("models/resnet18t1.bpk")?)?;
//! let model = LoadedModel::new(Some(file.clone()), Some(file))?;
//! let predictor: Predictor<CpuBackend> = Predictor::on_cpu(&model, "cpu")?;
//! let slice = decode_slice("scan.png", &std::fs::read("scan.png")?, None)?;
//! let report = pollster::block_on(predictor.predict(&slice, &Settings::default(), &mut NoProgress))?;
//! println!("{} lesions, {:?}", report.lesions.len(), report.classes);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(all(not(feature = "network"), not(target_arch = "wasm32")))]
compile_error!("only the page's programs are built without the feature `network`");

pub mod classes;
#[cfg(not(target_arch = "wasm32"))]
pub mod cli;
#[cfg(not(target_arch = "wasm32"))]
pub mod dataset;
pub mod detection;
#[cfg(not(target_arch = "wasm32"))]
pub mod evaluate;
pub mod export;
#[cfg(not(target_arch = "wasm32"))]
pub mod figures;
pub mod image;
pub mod inference;
#[cfg(feature = "network")]
pub mod kernels;
#[cfg(not(target_arch = "wasm32"))]
pub mod logistic_regression;
#[cfg(feature = "network")]
pub mod network;
pub mod report;
pub mod sha256;
pub mod statistics;
#[cfg(not(target_arch = "wasm32"))]
pub mod train;
pub mod unknown_name;
pub mod web;
#[cfg(not(target_arch = "wasm32"))]
mod whole_file;
