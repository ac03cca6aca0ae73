//! Of a network that judges slices as a whole.

use serde::{Deserialize, Serialize};

use crate::dataset::lesions::DataRecord;
use crate::network::image_classifier::SIDE;
use crate::network::{Backbone, Truncation, Variant};
use crate::train::adam::AdamConfig;
use crate::train::config::{Augmentation, Freeze, LearningRate, Norm, Schedule};
use crate::train::folds::Fold;

/// A network that judges slices as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImageClassifierTraining {
    /// Network. Default: resnet18t1
    pub variant: Variant,
    /// Side of the square that it sees. Default: 256
    pub side: usize,
    /// Learning rate of the linear layer.
    pub learning_rate: LearningRate,
    /// Factor of it in the body. Default: 0.2
    pub body_rate: f64,
    /// Decoupled weight decay. Default: 0.02
    pub weight_decay: f64,
    /// Largest norm of a step's gradient. Default: 5
    pub clip: Option<f64>,
    /// Batch norm. Default: running statistics
    pub norm: Norm,
    /// What stays as it is. Default: nothing
    pub freeze: Freeze,
    /// Slices per step. Default: 16
    pub batch: usize,
    /// Steps of the whole run. Default: 860
    pub steps: u64,
    /// Weight decay of a linear layer fitted to the body's features, from which training begins. Default: it begins with
    /// random numbers
    pub probe: Option<f64>,
    /// Share of the features that are zeroed. Default: 0.3
    pub dropout: f64,
    /// Share of the label that is spread over all classes. Default: 0.1
    pub label_smoothing: f64,
    /// Factor of the draws from sources that know one class only. Default: 0.5
    pub lone_source: f64,
    /// Random changes. Default: strong
    pub augmentation: Augmentation,
    /// Share that the moving average of the weights keeps at a step. Default: 0.99
    #[serde(alias = "average")]
    pub ema_decay: f64,
    /// Seed of the linear layer, order, augmentation and dropout.
    pub seed: u64,
    /// SHA-256 of the file that the body comes from.
    pub backbone: Option<String>,
    /// The held-out part. Default: none
    pub fold: Option<Fold>,
    /// What the run learns from.
    pub data: Vec<DataRecord>,
}

impl Default for ImageClassifierTraining {
    fn default() -> Self {
        Self {
            variant: Variant::new(Backbone::ResNet18, Truncation::T1),
            side: SIDE,
            learning_rate: LearningRate { peak: 1.5e-3, warmup: 130, schedule: Schedule::Cosine },
            body_rate: 0.2,
            weight_decay: 0.02,
            clip: Some(5.0),
            norm: Norm::Running,
            freeze: Freeze::None,
            batch: 16,
            steps: 860,
            probe: None,
            dropout: 0.3,
            label_smoothing: 0.1,
            lone_source: 0.5,
            augmentation: Augmentation::Strong,
            ema_decay: 0.99,
            seed: 0,
            backbone: None,
            fold: None,
            data: Vec::new(),
        }
    }
}

impl ImageClassifierTraining {
    /// The optimizer's part.
    pub fn optimizer(&self) -> AdamConfig {
        AdamConfig {
            weight_decay: self.weight_decay,
            decoupled: true,
            clip: self.clip,
            rates: vec![("body.".into(), self.body_rate)],
        }
    }
}
