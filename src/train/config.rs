//! What a training run is told; written to its folder and into the model it makes.

use serde::{Deserialize, Serialize};

use crate::dataset::instances::{LesionRules, LesionTargets, MINIMUM_AREA};
use crate::dataset::lesions::DataRecord;
use crate::detection::AnchorGenerator;
use crate::detection::matcher::MatchThresholds;
use crate::image::preprocess::Resize;
use crate::network::batch_norm::Statistics;
use crate::network::image_classifier::SIDE;
use crate::network::pretrained::BODY;
use crate::network::{Backbone, Truncation, Variant};
use crate::train::adam::AdamConfig;
use crate::train::folds::Fold;

/// Random changes of the training slices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augmentation {
    /// None, as the paper.
    #[default]
    None,
    /// Left and right swapped, every second time.
    Flip,
    /// The same, and brightness, contrast and gamma drawn anew every time: scanners and windows
    /// differ more than six patients show.
    Jitter,
    /// The same, and turned by up to 10 degrees, zoomed by 0.8 to 1.25 and shifted by up to a tenth
    /// of the side: so do bodies.
    Affine,
    /// Wider ranges of all these, bends, and now and then adaptive equalisation, lower resolution, blur and
    /// noise: so do sources.
    Strong,
}

/// Which slice comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// Shuffled epochs over all slices, as the paper.
    #[default]
    Slice,
    /// A patient at random, then one of the patient's slices: no patient dominates.
    Patient,
    /// A source by its weight, then a patient in proportion to the root of the number of its slices, then
    /// one of these.
    Source,
}

/// How batch norm normalises in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// By the statistics of the slice at hand, as the paper; the running ones, which inference uses, follow.
    #[default]
    Batch,
    /// By the running statistics that the run starts with: training sees what inference sees. Scale and
    /// shift are trained.
    Running,
    /// The same, with scale and shift as they are: how torchvision fine-tunes detectors.
    Frozen,
}

/// How much of the body is left as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Freeze {
    /// Nothing.
    #[default]
    None,
    /// The first convolution with its batch norm.
    Stem,
    /// These and the first layer.
    Layer1,
}

impl Freeze {
    /// Whether a parameter of the body, named as torchvision names it, stays as it is.
    pub fn holds(self, name: &str) -> bool {
        let stem = name.starts_with("conv1.") || name.starts_with("bn1.");
        match self {
            Self::None => false,
            Self::Stem => stem,
            Self::Layer1 => stem || name.starts_with("layer1."),
        }
    }
}

impl Norm {
    /// Which statistics normalise while it is trained.
    pub fn statistics(self) -> Statistics {
        match self {
            Self::Batch => Statistics::Batch,
            Self::Running | Self::Frozen => Statistics::Running,
        }
    }

    /// Whether a parameter with this name is a scale or shift that stays as it is.
    pub fn holds(self, name: &str) -> bool {
        self == Self::Frozen && (name.contains("bn") || name.contains("downsample.1"))
    }
}

/// How the learning rate moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// It does not, as in the paper.
    #[default]
    Constant,
    /// Down to zero at the last step along half a cosine.
    Cosine,
}

/// Learning rate over a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LearningRate {
    /// Highest value. Default: the paper's 1e-5
    pub peak: f64,
    /// Steps of linear warm-up. Default: 0
    pub warmup: u64,
    /// What follows. Default: constant
    pub schedule: Schedule,
}

impl LearningRate {
    /// The rate of step `step` (from 0) out of `steps`.
    pub fn at(&self, step: u64, steps: u64) -> f64 {
        let warm = ((step + 1) as f64 / self.warmup.max(1) as f64).min(1.0);
        let rest = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine if step < self.warmup => 1.0,
            Schedule::Cosine => {
                let span = steps.saturating_sub(self.warmup).max(1) as f64;
                let done = ((step - self.warmup) as f64 / span).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        };
        self.peak * warm * rest
    }
}

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
    /// Share of the hidden features that are zeroed in the head beside module S. Default: 0
    #[serde(default)]
    pub dropout: f64,
    /// The held-out part. Default: none
    #[serde(default)]
    pub fold: Option<Fold>,
    /// What the run learns from.
    #[serde(default)]
    pub data: Vec<DataRecord>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_warms_up_and_falls_to_zero_along_a_cosine() {
        let rate = LearningRate { peak: 1.0, warmup: 10, schedule: Schedule::Cosine };
        assert!((rate.at(0, 110) - 0.1).abs() < 1e-12);
        assert_eq!(rate.at(9, 110), 1.0);
        assert!((rate.at(60, 110) - 0.5).abs() < 1e-12);
        assert!(rate.at(110, 110).abs() < 1e-12);
        let constant = LearningRate { peak: 2.0, warmup: 0, schedule: Schedule::Constant };
        assert_eq!(constant.at(77, 100), 2.0);
    }

    #[test]
    fn a_configuration_with_the_names_of_earlier_versions_is_read() {
        let earlier = |text: String, names: &[(&str, &str)]| {
            names.iter().fold(text, |text, (now, before)| {
                assert!(text.contains(now), "{now}");
                text.replace(&format!("\"{now}\""), &format!("\"{before}\""))
            })
        };
        let detector = SegmentationConfig { crop: Some(96), ..SegmentationConfig::small_data() };
        let text = serde_json::to_string(&detector).unwrap();
        let names = [("ema_decay", "average"), ("negatives", "empty"), ("crop", "cut")];
        let read: SegmentationConfig = serde_json::from_str(&earlier(text, &names)).unwrap();
        assert!(read == detector);
        let classifier = ImageClassifierTraining { ema_decay: 0.7, ..Default::default() };
        let text = earlier(serde_json::to_string(&classifier).unwrap(), &names[..1]);
        let read: ImageClassifierTraining = serde_json::from_str(&text).unwrap();
        assert!(read == classifier);
    }
}
