//! What a model says of the runs that made it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::inference::model::TRAINING_CLASSIFIER;
use crate::network::StateDict;

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
