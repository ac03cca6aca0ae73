//! What a training run is told; written to its folder and into the model it makes.

mod classifier;
mod image_classifier;
mod segmentation;

use serde::{Deserialize, Serialize};

use crate::network::batch_norm::Statistics;

pub use self::classifier::{ClassifierConfig, Trainable};
pub use self::image_classifier::ImageClassifierTraining;
pub use self::segmentation::SegmentationConfig;

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
