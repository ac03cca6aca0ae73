//! What a model says of the runs that made it.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

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
pub fn record(config: &impl Serialize, step: u64, seconds: f64) -> Value {
    serde_json::json!({ "config": config, "steps": step, "seconds": seconds })
}

/// What is to be said of a model's training: its own, and the runs before, which `from` tells of.
pub fn provenance(own: &Value, from: Option<&StateDict>) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(TRAINING.to_owned(), own.to_string())]);
    let said = |key: &str| -> Option<Value> { serde_json::from_str(from?.metadata.get(key)?).ok() };
    let mut earlier = match said(EARLIER_TRAINING) {
        Some(Value::Array(runs)) => runs,
        _ => Vec::new(),
    };
    earlier.extend(said(TRAINING));
    earlier.extend(said(TRAINING_CLASSIFIER));
    if !earlier.is_empty() {
        metadata.insert(EARLIER_TRAINING.into(), Value::Array(earlier).to_string());
    }
    metadata
}

/// Seconds that the runs took which a model's metadata tells of under `name`, with those before a detector's last one;
/// none if it tells of none.
pub fn training_seconds(state: &StateDict, name: &str) -> Option<f64> {
    let read = |name: &str| serde_json::from_str::<Value>(state.metadata.get(name)?).ok();
    let own = seconds(&read(name)?)?;
    let earlier = read(EARLIER_TRAINING).filter(|_| name == TRAINING);
    Some(own + earlier.and_then(|runs| seconds(&runs)).unwrap_or(0.0))
}

/// Sum of the seconds of a run's record, of the runs that were averaged, or of a list of such.
fn seconds(record: &Value) -> Option<f64> {
    match record {
        Value::Array(records) => records.iter().filter_map(seconds).reduce(|sum, own| sum + own),
        record => record["seconds"].as_f64().or_else(|| seconds(record.get("average_of")?)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minutes_of_all_runs_are_summed_also_of_those_that_were_averaged() {
        let mut state = StateDict::default();
        let mut say = |name: &str, text: &str| state.metadata.insert(name.into(), text.into());
        say(TRAINING, r#"{"average_of":[{"seconds":60},{"seconds":30}]}"#);
        say(EARLIER_TRAINING, r#"[[{"seconds":5},{"config":{}}],[{"seconds":5}]]"#);
        say("other", r#"{"config":{}}"#);
        assert_eq!(training_seconds(&state, TRAINING), Some(100.0));
        assert_eq!(training_seconds(&state, "other"), None);
        assert_eq!(training_seconds(&state, "none"), None);
    }
}
