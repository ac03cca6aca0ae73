//! Thresholds of prediction.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::detection::postprocess::{DetectionRule, ScoreFunction};
use crate::unknown_name::UnknownName;

/// Where a mask is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskThreshold {
    /// Probability over 0.5, as the paper describes it.
    #[default]
    Probability,
    /// Logit over 0.5, that is probability over 0.62: the reference code's cut. As in torchvision,
    /// probabilities are what is resized; the reference resizes logits, which moves some border
    /// pixels.
    Logit,
}

impl FromStr for MaskThreshold {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "probability" => Ok(Self::Probability),
            "logit" => Ok(Self::Logit),
            _ => Err(UnknownName {
                what: "mask threshold",
                name: name.into(),
                known: "probability and logit",
            }),
        }
    }
}

/// Settings of one prediction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Lesions with a lower score are left out. Default: 0.5; the paper's is 0.75
    pub score_threshold: f32,
    /// Of two lesions that overlap more (IoU), the weaker is left out. Default: 0.5; with the paper's 0.75 one
    /// lesion is listed several times
    pub nms_threshold: f32,
    /// Where masks are cut. Default: probability 0.5
    pub mask_threshold: MaskThreshold,
    /// Most lesions per slice. Default: 128
    pub detections: usize,
    /// Seed of the random replication in the classifier's RoI batch. Default: 0
    pub seed: u64,
    /// How logits become scores. Default: softmax
    pub scores: ScoreFunction,
    /// Keep boxes without area, which the paper removes. Default: false
    pub keep_empty: bool,
    /// Of lesions whose masks lie on each other by more than half of the smaller, only the strongest is kept.
    /// Default: true; the reference has no such rule
    pub merge: bool,
    /// Analyse slices even if they are plainly no axial chest CT. Default: false
    pub force: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            score_threshold: 0.5,
            nms_threshold: 0.5,
            mask_threshold: MaskThreshold::default(),
            detections: 128,
            seed: 0,
            scores: ScoreFunction::default(),
            keep_empty: false,
            merge: true,
            force: false,
        }
    }
}

/// A setting out of range.
#[derive(Debug, Error, PartialEq)]
#[error("the {name} is {value}; it must lie between {low} and {high}")]
pub struct SettingsError {
    name: &'static str,
    value: f64,
    low: f64,
    high: f64,
}

impl Settings {
    /// What evaluation and training use: every slice is looked at, and nothing but NMS removes detections.
    pub fn reference() -> Self {
        Self { merge: false, force: true, ..Self::default() }
    }

    /// The rule by which boxes become lesions.
    pub fn rule(&self) -> DetectionRule {
        DetectionRule {
            score_threshold: self.score_threshold,
            nms_threshold: self.nms_threshold,
            limit: self.detections,
            scores: self.scores,
            keep_empty: self.keep_empty,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// For the first setting out of range.
    pub fn checked(self) -> Result<Self, SettingsError> {
        let ranges = [
            ("score threshold", f64::from(self.score_threshold), -1.0, 1.0),
            ("NMS threshold", f64::from(self.nms_threshold), 0.0, 1.0),
            ("number of detections", self.detections as f64, 1.0, 1000.0),
        ];
        for (name, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(SettingsError { name, value, low, high });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        assert!(Settings::default().checked().is_ok());
        let wrong = Settings { nms_threshold: f32::NAN, ..Settings::default() };
        assert!(wrong.checked().unwrap_err().to_string().contains("NMS"));
    }
}
