//! What may be said of a slice: pneumonia or not first, which one only then, "uncertain" where that is the truth,
//! and nothing of a slice that is unlike all that the classifier knows.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::classes::{CLASSES, SliceClass};
use crate::detection::postprocess::softmax;
use crate::image::refusal::Unlike;
use crate::image::{CtSlice, Refusal};
use crate::report::probabilities::ClassProbabilities;

/// Share of its own width by which a range of known values is widened.
const MARGIN: f32 = 0.25;

/// What a classifier's logits are worth, fitted on patients that it has not seen. Stored with the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Divides the logits.
    pub temperature: f32,
    /// Added to the divided logits, class by class: training draws classes alike, patients are not.
    #[serde(default)]
    pub bias: [f32; CLASSES],
    /// Probability of control, or of pneumonia of any kind, under which neither is said.
    #[serde(default)]
    pub signs_from: f32,
    /// Probability of a class under which it is not named.
    #[serde(default)]
    pub class_from: f32,
    /// What the slices that it learnt from look like; none where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<InputRange>,
    /// How often what is said was right; none where nothing was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// How often verdicts were right on slices of patients that the network which gave them had not learnt from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Slices.
    pub slices: usize,
    /// Their patients.
    pub patients: usize,
    /// Share of slices whose most probable class was right.
    pub accuracy: f32,
    /// Share of slices of which a class was named.
    pub named: f32,
    /// Share of these that were right.
    pub named_accuracy: f32,
    /// Share of slices of which a kind of pneumonia was named.
    #[serde(default)]
    pub kind: f32,
    /// Share of these that were right.
    #[serde(default)]
    pub kind_accuracy: f32,
    /// Share of slices of which it was said whether there are signs of pneumonia.
    pub signs: f32,
    /// Share of these that were right.
    pub signs_accuracy: f32,
    /// Share of ill slices with a probability of pneumonia over a half.
    pub sensitivity: f32,
    /// Share of slices without pneumonia with one under a half.
    pub specificity: f32,
    /// Area under the curve of the probability of pneumonia.
    pub auc: f32,
}

impl Default for Calibration {
    /// Logits as they are; the most probable class is always named.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            bias: [0.0; CLASSES],
            signs_from: 0.0,
            class_from: 0.0,
            inputs: None,
            measured: None,
        }
    }
}

/// Lowest and highest values of slices that a classifier has learnt from, of intensities from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputRange {
    /// Mean intensity.
    pub mean: [f32; 2],
    /// Standard deviation of the intensities.
    pub deviation: [f32; 2],
}

impl InputRange {
    /// What lies in either or between both.
    pub fn joined(self, other: Self) -> Self {
        let wider =
            |[low, high]: [f32; 2], other: [f32; 2]| [low.min(other[0]), high.max(other[1])];
        Self {
            mean: wider(self.mean, other.mean),
            deviation: wider(self.deviation, other.deviation),
        }
    }

    /// The range of slices, given their means and deviations.
    pub fn of(values: impl IntoIterator<Item = [f32; 2]>) -> Option<Self> {
        let alone =
            |[mean, deviation]: [f32; 2]| Self { mean: [mean; 2], deviation: [deviation; 2] };
        values.into_iter().map(alone).reduce(Self::joined)
    }

    /// How a slice is unlike those of the range; none if it is not.
    pub fn refusal(&self, slice: &CtSlice) -> Option<Refusal> {
        let [mean, deviation] = intensities(slice);
        let unlike = |value: f32, [low, high]: [f32; 2]| {
            let room = MARGIN * (high - low);
            let is_outside = value < low - room || value > high + room;
            let [value, low, high] = [value, low, high].map(|value| value.round() as u32);
            is_outside.then_some(Unlike { value, low, high })
        };
        let mean = unlike(mean, self.mean).map(Refusal::UnlikeMean);
        mean.or_else(|| unlike(deviation, self.deviation).map(Refusal::UnlikeContrast))
    }
}

/// Mean and standard deviation of a slice's intensities.
pub fn intensities(slice: &CtSlice) -> [f32; 2] {
    let count = slice.pixels.len().max(1) as f64;
    let sum: f64 = slice.pixels.iter().map(|pixel| f64::from(*pixel)).sum();
    let squares: f64 = slice.pixels.iter().map(|pixel| f64::from(*pixel).powi(2)).sum();
    let mean = sum / count;
    [mean as f32, (squares / count - mean * mean).max(0.0).sqrt() as f32]
}

/// What is said of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Neither pneumonia nor its absence is probable enough.
    Uncertain,
    /// No signs of pneumonia.
    NoPneumonia,
    /// Signs of pneumonia; which one cannot be told.
    Pneumonia,
    /// Signs of common pneumonia.
    CommonPneumonia,
    /// Signs of COVID-19.
    Covid19,
}

impl Finding {
    /// In words.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Uncertain => "uncertain",
            Self::NoPneumonia => "no signs of pneumonia",
            Self::Pneumonia => "signs of pneumonia; which one cannot be told",
            Self::CommonPneumonia => "signs of common pneumonia",
            Self::Covid19 => "signs of COVID-19",
        }
    }

    /// The class that is named, if one is.
    pub fn class(self) -> Option<SliceClass> {
        match self {
            Self::Uncertain | Self::Pneumonia => None,
            Self::NoPneumonia => Some(SliceClass::Control),
            Self::CommonPneumonia => Some(SliceClass::CommonPneumonia),
            Self::Covid19 => Some(SliceClass::Covid19),
        }
    }

    /// Whether signs of pneumonia are said to be there; none where that is uncertain.
    pub fn signs(self) -> Option<bool> {
        match self {
            Self::Uncertain => None,
            other => Some(other != Self::NoPneumonia),
        }
    }
}

/// The verdict on a slice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Probability of pneumonia of any kind.
    pub pneumonia: f32,
    /// What is said.
    pub finding: Finding,
}

/// Why a calibration cannot be used.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum CalibrationError {
    /// Zero, negative or no number.
    #[error("the temperature is {0}")]
    Temperature(f32),
    /// Infinite or no number.
    #[error("a bias is no number")]
    Bias,
    /// Outside 0 to 1.
    #[error("a threshold is no probability")]
    Threshold,
}

impl Calibration {
    /// That of a classifier whose verdicts were never measured: no probability is high enough to say anything.
    pub fn untested(inputs: Option<InputRange>) -> Self {
        Self { inputs, signs_from: 1.0, class_from: 1.0, ..Self::default() }
    }

    /// That it can be used, as untrusted files may say anything.
    ///
    /// # Errors
    /// If a number is out of its range.
    pub fn checked(self) -> Result<Self, CalibrationError> {
        let share = |value: f32| (0.0..=1.0).contains(&value);
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(CalibrationError::Temperature(self.temperature));
        }
        if !self.bias.iter().all(|bias| bias.is_finite()) {
            return Err(CalibrationError::Bias);
        }
        if !(share(self.signs_from) && share(self.class_from)) {
            return Err(CalibrationError::Threshold);
        }
        Ok(self)
    }

    /// Probabilities of class logits.
    pub fn probabilities(&self, logits: &[f32; CLASSES]) -> [f32; CLASSES] {
        let scaled: Vec<f32> = logits
            .iter()
            .zip(self.bias)
            .map(|(logit, bias)| logit / self.temperature + bias)
            .collect();
        let found = softmax(&scaled);
        std::array::from_fn(|class| found[class])
    }

    /// What may be said with these probabilities.
    pub fn finding(&self, [control, common, covid]: [f32; CLASSES]) -> Finding {
        let pneumonia = common + covid;
        if control.max(pneumonia) < self.signs_from {
            Finding::Uncertain
        } else if control >= pneumonia {
            Finding::NoPneumonia
        } else if common.max(covid) < self.class_from {
            Finding::Pneumonia
        } else if common > covid {
            Finding::CommonPneumonia
        } else {
            Finding::Covid19
        }
    }

    /// The verdict on a slice with these probabilities.
    pub fn verdict(&self, classes: &ClassProbabilities) -> Verdict {
        Verdict {
            pneumonia: classes.common_pneumonia + classes.covid19,
            finding: self.finding(classes.values()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_goes_in_two_steps_and_says_when_it_cannot_tell() {
        let calibration =
            Calibration { signs_from: 0.7, class_from: 0.6, ..Calibration::default() };
        for (probabilities, finding) in [
            ([0.8, 0.1, 0.1], Finding::NoPneumonia),
            ([0.6, 0.2, 0.2], Finding::Uncertain),
            ([0.2, 0.5, 0.3], Finding::Pneumonia),
            ([0.2, 0.65, 0.15], Finding::CommonPneumonia),
            ([0.1, 0.2, 0.7], Finding::Covid19),
            ([0.45, 0.0, 0.55], Finding::Uncertain),
        ] {
            assert_eq!(calibration.finding(probabilities), finding, "{probabilities:?}");
        }
    }

    #[test]
    fn temperature_flattens_and_bias_shifts() {
        let plain = Calibration::default().probabilities(&[2.0, 0.0, 0.0]);
        let flat = Calibration { temperature: 4.0, ..Calibration::default() };
        assert!(flat.probabilities(&[2.0, 0.0, 0.0])[0] < plain[0]);
        let shifted = Calibration { bias: [0.0, 0.0, 2.0], ..Calibration::default() };
        let [a, _, c] = shifted.probabilities(&[2.0, 0.0, 0.0]);
        assert!((a - c).abs() < 1e-6);
    }

    #[test]
    fn a_slice_unlike_all_known_ones_is_refused_in_words() {
        let slice = |pixels: Vec<u8>| CtSlice::new("", (pixels.len(), 1), pixels);
        let known = [slice(vec![20, 60, 100]), slice(vec![60, 120, 200])];
        let range = InputRange::of(known.iter().map(intensities)).unwrap();
        assert_eq!(range.refusal(&known[0]), None);
        assert_eq!(range.refusal(&slice(vec![30, 90, 150])), None);
        assert!(
            range
                .refusal(&slice(vec![0, 0, 9]))
                .is_some_and(|found| matches!(found, Refusal::UnlikeMean(_)))
        );
        assert!(
            range
                .refusal(&slice(vec![100; 3]))
                .is_some_and(|found| matches!(found, Refusal::UnlikeContrast(_)))
        );
    }
}
