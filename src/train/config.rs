//! What a training run is told; written to its folder and into the model it makes.

use serde::{Deserialize, Serialize};

use super::dataset::lesions::LesionClasses;
use crate::geometry::AnchorGenerator;
use crate::network::{Backbone, Truncation, Variant};

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

/// IoU over which a box is foreground, and under which it is background; between, it is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MatchThresholds {
    /// Foreground from here.
    pub foreground: f32,
    /// Background below.
    pub background: f32,
}

/// Stage I. Defaults are the paper's (specification 4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentationConfig {
    /// Network.
    pub variant: Variant,
    /// Which lesions, and whether they are told apart.
    pub classes: LesionClasses,
    /// Anchors; stored with the model.
    pub anchors: AnchorGenerator,
    /// Anchors against lesions. Default: 0.7 and 0.3
    pub rpn: MatchThresholds,
    /// Proposals against lesions. Default: 0.75 and 0.5
    pub roi: MatchThresholds,
    /// Anchors, and proposals, that count in the loss of a slice. Default: 256
    pub samples: usize,
    /// Largest share of them that are foreground. Default: 0.75
    pub positive_fraction: f64,
    /// Learning rate.
    pub learning_rate: LearningRate,
    /// L2 term of Adam. Default: 1e-3
    pub weight_decay: f64,
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
    /// Components of this many pixels or fewer are removed. Default: 100
    pub minimum_area: usize,
    /// Share that the moving average of the weights keeps at a step; the average becomes the model.
    /// Default: 0, the last weights become the model, as in the paper
    #[serde(default)]
    pub average: f64,
}

impl SegmentationConfig {
    /// What learns within an hour on two cores: anchors that large lesions can match, a higher
    /// learning rate that decays, mirrored slices. Everything else is the paper's.
    pub fn practical() -> Self {
        let sizes = vec![8.0, 16.0, 32.0, 64.0, 128.0];
        Self {
            variant: Variant::new(Backbone::ResNet18, Truncation::T1),
            classes: LesionClasses::Merge,
            anchors: AnchorGenerator { sizes, ..AnchorGenerator::default() },
            rpn: MatchThresholds { foreground: 0.7, background: 0.3 },
            roi: MatchThresholds { foreground: 0.5, background: 0.5 },
            samples: 256,
            positive_fraction: 0.75,
            learning_rate: LearningRate { peak: 5e-4, warmup: 200, schedule: Schedule::Cosine },
            weight_decay: 1e-3,
            batch: 1,
            steps: 2600,
            from: None,
            seed: 1,
            augmentation: Augmentation::Flip,
            sampling: Sampling::Slice,
            minimum_area: 100,
            average: 0.0,
        }
    }
}

/// Stage II. Defaults are the paper's (specification 2, 4).
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
}

/// What stage II trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trainable {
    /// Module S and the affine parameters of batch norm: the paper's 0.6M.
    #[default]
    #[serde(rename = "s+bn")]
    ScoreAndNorm,
    /// Module S alone: segmentation and classifier share one trunk.
    #[serde(rename = "s")]
    Score,
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
}
