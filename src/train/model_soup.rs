//! The mean of the weights of several models (Wortsman 2022, "Model soups").
//!
//! Runs that begin with the same weights and do not go far from them stay in one valley of the loss. The mean of their
//! weights lies in it, too, leans less towards what each run saw last, and costs what one model does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use thiserror::Error;

use crate::inference::model::{CALIBRATION, IMAGE_SIDE, RESIZE, TEMPERATURE};
use crate::network::StateDict;
use crate::report::verdict::{Calibration, InputRange};
use crate::train::provenance::EARLIER_TRAINING;

/// Why models have no mean.
#[derive(Debug, Error)]
pub enum SoupError {
    /// Fewer than two.
    #[error("an average takes at least two models")]
    TooFew,
    /// Parameters of other names: another network.
    #[error("the models are of different networks: only one of them has `{name}`")]
    Names {
        /// The first parameter that is not in both.
        name: String,
    },
    /// Parameters of other shapes: another network.
    #[error(
        "the models are of different networks: `{name}` has the shape {first:?} in one and {other:?} in another"
    )]
    Shapes {
        /// Name of the parameter.
        name: String,
        /// Its shape in the first model.
        first: Vec<usize>,
        /// That in another.
        other: Vec<usize>,
    },
    /// The same networks, made for different inputs or anchors.
    #[error("the models were trained with different {what}")]
    Settings {
        /// What differs.
        what: &'static str,
    },
}

/// The mean of the models' weights, each counted alike. Its calibration is not known: of the models' own only the range of
/// their inputs is kept. What they say of their training stands beside each other.
///
/// # Errors
/// If they are fewer than two, of different networks, or made for different inputs.
pub fn average(models: &[StateDict]) -> Result<StateDict, SoupError> {
    let [first, others @ ..] = models else { return Err(SoupError::TooFew) };
    if others.is_empty() {
        return Err(SoupError::TooFew);
    }
    for other in others {
        check(first, other)?;
    }
    let mut mean = first.clone();
    for (name, parameter) in &mut mean.tensors {
        let own: Vec<&[f32]> =
            models.iter().map(|model| model.tensors[name].values.as_slice()).collect();
        for (index, value) in parameter.values.iter_mut().enumerate() {
            let sum: f64 = own.iter().map(|values| f64::from(values[index])).sum();
            *value = (sum / own.len() as f64) as f32;
        }
    }
    mean.metadata.clear();
    let names: BTreeSet<&String> = models.iter().flat_map(|model| model.metadata.keys()).collect();
    for name in names {
        if let Some(text) = merged(name, models) {
            mean.metadata.insert(name.clone(), text);
        }
    }
    Ok(mean)
}

fn check(first: &StateDict, other: &StateDict) -> Result<(), SoupError> {
    let names = |model: &StateDict| model.tensors.keys().cloned().collect::<BTreeSet<_>>();
    if let Some(name) = names(first).symmetric_difference(&names(other)).next() {
        return Err(SoupError::Names { name: name.clone() });
    }
    for ((name, one), another) in first.tensors.iter().zip(other.tensors.values()) {
        if one.shape != another.shape {
            let (first, other) = (one.shape.clone(), another.shape.clone());
            return Err(SoupError::Shapes { name: name.clone(), first, other });
        }
    }
    let differ = |name: &str| first.metadata.get(name) != other.metadata.get(name);
    for (differ, what) in [
        (first.anchors != other.anchors, "anchors"),
        (differ(RESIZE), "rules for the size of slices (--resize)"),
        (differ(IMAGE_SIDE), "sizes of the picture (--side)"),
    ] {
        if differ {
            return Err(SoupError::Settings { what });
        }
    }
    Ok(())
}

/// What the mean says under a name of its metadata.
fn merged(name: &str, models: &[StateDict]) -> Option<String> {
    let said: Vec<&String> = models.iter().filter_map(|model| model.metadata.get(name)).collect();
    if name == TEMPERATURE {
        return None;
    }
    if name == CALIBRATION {
        let read = |text: &&String| serde_json::from_str::<Calibration>(text).ok()?.inputs;
        let ranges: Option<Vec<InputRange>> = said.iter().map(read).collect();
        let ranges = ranges.filter(|ranges| ranges.len() == models.len());
        let inputs = ranges.and_then(|ranges| ranges.into_iter().reduce(InputRange::joined));
        return serde_json::to_string(&Calibration::untested(inputs)).ok();
    }
    if said.len() == models.len() && said.iter().all(|text| *text == said[0]) {
        return Some(said[0].clone());
    }
    let read = |text: &String| serde_json::from_str(text).unwrap_or(Value::String(text.clone()));
    let all: Vec<Value> = said.into_iter().map(read).collect();
    // A list everywhere: of runs, first to last.
    let all =
        if name == EARLIER_TRAINING { Value::Array(all) } else { json!({ "average_of": all }) };
    Some(all.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::weights::Parameter;

    fn model(values: &[f32], metadata: &[(&str, &str)]) -> StateDict {
        let mut state = StateDict::default();
        let parameter = Parameter { shape: vec![values.len()], values: values.to_vec() };
        state.tensors.insert("fc.weight".into(), parameter);
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        state.metadata = metadata.iter().map(owned).collect();
        state
    }

    fn calibrated(low: f32, high: f32) -> String {
        let inputs = InputRange { mean: [low, high], deviation: [low, high] };
        let calibration =
            Calibration { temperature: 2.0, inputs: Some(inputs), ..Calibration::default() };
        serde_json::to_string(&calibration).unwrap()
    }

    #[test]
    fn every_weight_is_the_mean_of_the_models_weights() {
        let models = [model(&[1.0, -4.0], &[]), model(&[2.0, 0.0], &[]), model(&[6.0, 1.0], &[])];
        let mean = average(&models).unwrap();
        assert_eq!(mean.tensors["fc.weight"].values, [3.0, -1.0]);
    }

    #[test]
    fn what_the_models_agree_on_stays_and_their_training_stands_side_by_side() {
        let of = |seed: &str| {
            model(&[0.0], &[(IMAGE_SIDE, "256"), ("training", seed), (TEMPERATURE, seed)])
        };
        let mean = average(&[of(r#"{"seed":1}"#), of(r#"{"seed":2}"#)]).unwrap();
        assert_eq!(mean.metadata[IMAGE_SIDE], "256");
        assert_eq!(mean.metadata["training"], r#"{"average_of":[{"seed":1},{"seed":2}]}"#);
        assert!(!mean.metadata.contains_key(TEMPERATURE), "{:?}", mean.metadata);
    }

    #[test]
    fn a_calibration_is_forgotten_but_for_the_range_of_all_inputs() {
        let (one, other) = (calibrated(10.0, 20.0), calibrated(15.0, 30.0));
        let models =
            [model(&[0.0], &[(CALIBRATION, &one)]), model(&[0.0], &[(CALIBRATION, &other)])];
        let text = &average(&models).unwrap().metadata[CALIBRATION];
        let calibration: Calibration = serde_json::from_str(text).unwrap();
        let inputs = InputRange { mean: [10.0, 30.0], deviation: [10.0, 30.0] };
        assert_eq!(calibration, Calibration::untested(Some(inputs)));
    }

    #[test]
    fn models_of_different_networks_or_inputs_are_refused_by_what_differs() {
        let message = |models: &[StateDict]| average(models).unwrap_err().to_string();
        let one = model(&[1.0], &[(IMAGE_SIDE, "256")]);
        assert!(message(std::slice::from_ref(&one)).contains("at least two"));
        let longer = message(&[one.clone(), model(&[1.0, 2.0], &[(IMAGE_SIDE, "256")])]);
        assert!(longer.contains("[1] in one and [2]"), "{longer}");
        let mut renamed = one.clone();
        let parameter = renamed.tensors.remove("fc.weight").unwrap();
        renamed.tensors.insert("fc.bias".into(), parameter);
        assert!(message(&[one.clone(), renamed]).contains("`fc.bias`"));
        let side = message(&[one, model(&[1.0], &[(IMAGE_SIDE, "320")])]);
        assert!(side.contains("--side"), "{side}");
    }
}
