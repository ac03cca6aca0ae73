//! Of stage II.

use serde::{Deserialize, Serialize};

use crate::dataset::lesions::DataRecord;
use crate::train::config::{Augmentation, LearningRate, Schedule};
use crate::train::folds::Fold;

/// Stage II. Defaults are the paper's (docs/method.md, 2, 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierConfig {
    /// What is trained beside module S.
    pub trainable: Trainable,
    /// Learning rate.
    pub learning_rate: LearningRate,
    /// L2 term of Adam. Default: 1e-3
    pub weight_decay: f64,
    /// Slices per step. Default: 8
    pub batch: usize,
    /// Passes over the list. Default: 50
    pub epochs: u64,
    /// Seed of module S, order and replication.
    pub seed: u64,
    /// Regions of the batch that module S reads. Default: 128
    pub roi_batch: usize,
    /// Features of module S. Default: 512
    pub features: usize,
    /// Random changes. Default: none
    pub augmentation: Augmentation,
    /// Share of each class's slices held out to fit the temperature. Default: 0.2
    pub holdout: f64,
    /// Whether classes are drawn alike; else every slice comes once an epoch. Default: once an epoch
    #[serde(default)]
    pub balanced: bool,
    /// Share of the hidden features that are zeroed in the head beside module S. Default: 0, of s+f 0.3
    #[serde(default)]
    pub dropout: f64,
    /// The held-out part. Default: none
    #[serde(default)]
    pub fold: Option<Fold>,
    /// What the run learns from.
    #[serde(default)]
    pub data: Vec<DataRecord>,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self {
            trainable: Trainable::default(),
            learning_rate: LearningRate { peak: 1e-5, warmup: 0, schedule: Schedule::Constant },
            weight_decay: 1e-3,
            batch: 8,
            epochs: 50,
            seed: 0,
            roi_batch: 128,
            features: 512,
            augmentation: Augmentation::None,
            holdout: 0.2,
            balanced: false,
            dropout: 0.0,
            fold: None,
            data: Vec::new(),
        }
    }
}

impl ClassifierConfig {
    /// Share of zeroed features, where none is given, of what is trained.
    pub fn default_dropout(trainable: Trainable) -> f64 {
        if trainable == Trainable::ScoreAndFeatures { 0.3 } else { 0.0 }
    }
}

/// What stage II trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trainable {
    /// Module S and the affine parameters of batch norm: the paper's 0.6M.
    #[default]
    #[serde(rename = "s+bn")]
    ScoreAndNorm,
    /// Module S alone: segmentation and classifier share one backbone.
    #[serde(rename = "s")]
    Score,
    /// Module S and a head beside it that sees the backbone's features; the backbone stays as it is. Not the paper's.
    #[serde(rename = "s+f")]
    ScoreAndFeatures,
}
