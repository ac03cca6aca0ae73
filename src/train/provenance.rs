//! What a model says of the runs that made it.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::DatasetError;
use crate::dataset::classes::ClassDataset;
use crate::inference::model::TRAINING_CLASSIFIER;
use crate::network::StateDict;
use crate::report::verdict::{Calibration, InputRange, intensities};

/// Name of the model's metadata that holds the run's configuration.
pub const TRAINING: &str = "training";
/// Name of the model's metadata that holds the same of the runs before, first to last.
pub const EARLIER_TRAINING: &str = "earlier_training";

/// What a run says of itself: its configuration, and how long it took.
pub fn record(config: &impl Serialize, step: u64, seconds: f64) -> serde_json::Value {
    serde_json::json!({ "config": config, "steps": step, "seconds": seconds })
}

/// What is to be said of a model's training: its own, and the runs before, which `from` tells of.
pub fn provenance(own: &serde_json::Value, from: Option<&StateDict>) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(TRAINING.to_owned(), own.to_string())]);
    let said = |key: &str| -> Option<serde_json::Value> {
        serde_json::from_str(from?.metadata.get(key)?).ok()
    };
    let mut earlier = match said(EARLIER_TRAINING) {
        Some(serde_json::Value::Array(runs)) => runs,
        _ => Vec::new(),
    };
    earlier.extend(said(TRAINING));
    earlier.extend(said(TRAINING_CLASSIFIER));
    if !earlier.is_empty() {
        metadata.insert(EARLIER_TRAINING.into(), serde_json::Value::Array(earlier).to_string());
    }
    metadata
}

/// What a model says of its verdicts before they are measured, as JSON: nothing, but what it has learnt from.
///
/// # Errors
/// If a slice cannot be read.
pub fn untested(dataset: &ClassDataset) -> Result<String, DatasetError> {
    let looks = dataset.files.par_iter().map(|file| Ok(intensities(&dataset.read(file)?)));
    let looks: Vec<[f32; 2]> = looks.collect::<Result<_, DatasetError>>()?;
    let calibration = Calibration::untested(InputRange::of(looks));
    Ok(serde_json::to_string(&calibration).unwrap_or_default())
}
