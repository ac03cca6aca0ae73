//! Of stage I.

use serde::{Deserialize, Serialize};

use crate::dataset::instances::{LesionRules, LesionTargets, MINIMUM_AREA};
use crate::dataset::lesions::DataRecord;
use crate::detection::AnchorGenerator;
use crate::detection::matcher::MatchThresholds;
use crate::image::preprocess::Resize;
use crate::network::pretrained::BODY;
use crate::network::{Backbone, Truncation, Variant};
use crate::train::adam::AdamConfig;
use crate::train::config::{Augmentation, Freeze, LearningRate, Norm, Sampling, Schedule};
use crate::train::folds::Fold;

/// Stage I. Defaults are the paper's (docs/method.md, 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentationConfig {
    /// Network.
    pub variant: Variant,
    /// Which lesions, and whether they are told apart.
    pub classes: LesionTargets,
    /// Anchors; stored with the model.
    pub anchors: AnchorGenerator,
    /// Anchors against lesions. Default: 0.7 and 0.3
    pub rpn: MatchThresholds,
    /// Proposals against lesions. Default: 0.75 and 0.5
    pub roi: MatchThresholds,
    /// Anchors, and proposals, that count in the loss of a slice. Default: 256
    pub samples: usize,
    /// Largest share of the anchors that are foreground. Default: 0.75
    pub positive_fraction: f64,
    /// The same of the proposals. Default: 0.75
    #[serde(default = "three_quarters")]
    pub roi_positive_fraction: f64,
    /// Learning rate.
    pub learning_rate: LearningRate,
    /// L2 term of Adam. Default: 1e-3
    pub weight_decay: f64,
    /// Takes the decay out of the gradient, and spares vectors (AdamW). Default: no
    #[serde(default)]
    pub decoupled_decay: bool,
    /// Factor of the learning rate in the body. Default: 1
    #[serde(default = "one")]
    pub body_rate: f64,
    /// Largest norm of a step's gradient. Default: any
    #[serde(default)]
    pub clip: Option<f64>,
    /// Batch norm. Default: by each slice
    #[serde(default)]
    pub norm: Norm,
    /// What stays as it is. Default: nothing
    #[serde(default)]
    pub freeze: Freeze,
    /// Share of the slices without lesions that lesions of others are copied onto. Default: 0
    #[serde(default)]
    pub copy_paste: f64,
    /// Weight of the mask loss. Default: 1
    #[serde(default = "one")]
    pub mask_weight: f64,
    /// Slices per step; batch norm sees them one by one. Default: 1
    pub batch: usize,
    /// Steps of the whole run.
    pub steps: u64,
    /// SHA-256 of the weights that the run starts from. Default: none, fresh weights
    #[serde(default)]
    pub from: Option<String>,
    /// Seed of weights, order, sampling and augmentation.
    pub seed: u64,
    /// Random changes. Default: none
    pub augmentation: Augmentation,
    /// Order. Default: slice by slice
    pub sampling: Sampling,
    /// Components of this many pixels or fewer, where a slice's long side has 512, do not count. Default: 100
    pub minimum_area: usize,
    /// Whether these are ignored; else they are background. Default: background
    #[serde(default)]
    pub ignore_small: bool,
    /// Share of the draws that are slices without lesions. Default: none
    #[serde(default)]
    #[serde(alias = "empty")]
    pub negatives: f64,
    /// Which side of a slice becomes 512 px. Default: the short one
    #[serde(default)]
    pub resize: Resize,
    /// Side of the crop that is taken of a slice at random, in network pixels. Default: the whole
    #[serde(default)]
    #[serde(alias = "cut")]
    pub crop: Option<usize>,
    /// SHA-256 of the file that the body comes from. Default: none
    #[serde(default)]
    pub backbone: Option<String>,
    /// What the run learns from.
    #[serde(default)]
    pub data: Vec<DataRecord>,
    /// Share that the moving average of the weights keeps at a step; the average becomes the model.
    /// Default: 0, the last weights become the model, as in the paper
    #[serde(default)]
    #[serde(alias = "average")]
    pub ema_decay: f64,
    /// The held-out part. Default: none
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
}

fn one() -> f64 {
    1.0
}

fn three_quarters() -> f64 {
    0.75
}

impl SegmentationConfig {
    /// The paper's (docs/method.md, 4), for 100 epochs of `slices`.
    pub fn paper(slices: u64) -> Self {
        Self {
            variant: Variant::new(Backbone::ResNet18, Truncation::T1),
            classes: LesionTargets::Merge,
            anchors: AnchorGenerator::default(),
            rpn: MatchThresholds { foreground: 0.7, background: 0.3 },
            roi: MatchThresholds { foreground: 0.75, background: 0.5 },
            samples: 256,
            positive_fraction: 0.75,
            roi_positive_fraction: 0.75,
            learning_rate: LearningRate { peak: 1e-5, warmup: 0, schedule: Schedule::Constant },
            weight_decay: 1e-3,
            decoupled_decay: false,
            body_rate: 1.0,
            clip: None,
            norm: Norm::Batch,
            freeze: Freeze::None,
            copy_paste: 0.0,
            mask_weight: 1.0,
            batch: 1,
            steps: 100 * slices,
            from: None,
            backbone: None,
            data: Vec::new(),
            seed: 0,
            augmentation: Augmentation::None,
            sampling: Sampling::Slice,
            minimum_area: MINIMUM_AREA,
            ignore_small: false,
            negatives: 0.0,
            resize: Resize::ShortSide,
            crop: None,
            ema_decay: 0.0,
            fold: None,
        }
    }

    /// What learns within an hour on two cores: anchors that large lesions can match, a higher
    /// learning rate that decays, mirrored slices. Everything else is the paper's.
    pub fn fast() -> Self {
        let sizes = vec![8.0, 16.0, 32.0, 64.0, 128.0];
        Self {
            anchors: AnchorGenerator { sizes, ..AnchorGenerator::default() },
            roi: MatchThresholds { foreground: 0.5, background: 0.5 },
            learning_rate: LearningRate { peak: 5e-4, warmup: 200, schedule: Schedule::Cosine },
            steps: 2600,
            seed: 1,
            augmentation: Augmentation::Flip,
            ..Self::paper(0)
        }
    }

    /// For few patients and a backbone that has seen other pictures.
    pub fn small_data() -> Self {
        Self {
            positive_fraction: 0.5,
            roi_positive_fraction: 0.25,
            learning_rate: LearningRate { peak: 3e-4, warmup: 150, schedule: Schedule::Cosine },
            weight_decay: 0.02,
            decoupled_decay: true,
            body_rate: 0.5,
            clip: Some(5.0),
            norm: Norm::Running,
            freeze: Freeze::Stem,
            steps: 9000,
            augmentation: Augmentation::Strong,
            sampling: Sampling::Source,
            minimum_area: 60,
            ignore_small: true,
            negatives: 0.25,
            resize: Resize::LongSide,
            crop: Some(384),
            ema_decay: 0.998,
            ..Self::fast()
        }
    }

    /// The optimizer's part.
    pub fn optimizer(&self) -> AdamConfig {
        AdamConfig {
            weight_decay: self.weight_decay,
            decoupled: self.decoupled_decay,
            clip: self.clip,
            rates: vec![(BODY.into(), self.body_rate)],
        }
    }

    /// Which lesions count.
    pub fn rules(&self) -> LesionRules {
        LesionRules {
            classes: self.classes,
            minimum_area: self.minimum_area,
            ignore_small: self.ignore_small,
        }
    }
}
