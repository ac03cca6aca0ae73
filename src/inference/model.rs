//! Weights on the way to a device: read, checked, named.

use crate::image::preprocess::Resize;
use crate::network::image_classifier::{PREFIX, SIDE};
use crate::network::{Architecture, StateDict, Variant, WeightsError};
use crate::report::ModelInfo;
use crate::report::verdict::Calibration;
use crate::sha256::sha256;

/// Name of the metadata that holds the softmax temperature of a classifier.
pub const TEMPERATURE: &str = "temperature";

/// Name of the metadata that holds the [`Calibration`] of a classifier, as JSON.
pub const CALIBRATION: &str = "calibration";

/// Name of the metadata that holds the side of the square that a whole-slice classifier sees.
pub const IMAGE_SIDE: &str = "image_side";

/// Name of the metadata that holds the [`Resize`] rule that the detector was trained with.
pub const RESIZE: &str = "resize";

/// Name of the metadata that holds the configuration of a classifier's training.
pub const TRAINING_CLASSIFIER: &str = "training_classifier";

/// The same of a network that judges slices as a whole.
pub const TRAINING_IMAGE_CLASSIFIER: &str = "training_image_classifier";

/// Names of all metadata that belong to a classifier and not to its detector.
pub const CLASSIFIER_METADATA: [&str; 5] =
    [CALIBRATION, IMAGE_SIDE, TEMPERATURE, TRAINING_IMAGE_CLASSIFIER, TRAINING_CLASSIFIER];

/// The weights of one file, not yet on a device.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Name and hash.
    pub info: ModelInfo,
    /// The weights.
    pub state: StateDict,
    /// The detector (with or without module S), if it is in the file.
    pub detector: Option<Architecture>,
    /// The network that judges slices as a whole, if it is in the file.
    pub image_classifier: Option<Variant>,
}

impl ModelFile {
    /// Reads `.bpk` (or, natively, `.pth` and `.safetensors`) and tells the variants from the shapes.
    ///
    /// # Errors
    /// If the bytes are no weights or those of no known network.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        let state = StateDict::from_bytes(bytes)?;
        let has = |start: &str| state.tensors.keys().any(|name| name.starts_with(start));
        let image_classifier = match has(PREFIX) {
            true => Some(Variant::infer(&state, PREFIX)?),
            false => None,
        };
        let detector = match has("backbone.") || image_classifier.is_none() {
            true => Some(Architecture::infer(&state)?),
            false => None,
        };
        let info = ModelInfo { name: name.into(), sha256: sha256(bytes) };
        Ok(Self { info, state, detector, image_classifier })
    }

    /// The detector.
    ///
    /// # Errors
    /// If it is not in the file.
    pub fn detector(&self) -> Result<&Architecture, WeightsError> {
        let missing = WeightsError::Branch { branch: "detector", task: "finding lesions" };
        self.detector.as_ref().ok_or(missing)
    }

    /// The variant of the detector, or else of the classifier.
    pub fn variant(&self) -> Option<Variant> {
        self.detector.as_ref().map(|detector| detector.variant).or(self.image_classifier)
    }

    /// Whether it can outline lesions.
    pub fn segments(&self) -> bool {
        self.detector.as_ref().is_some_and(|detector| detector.mask_branch)
    }

    /// Whether it can classify slices, by their regions or as a whole.
    pub fn classifies(&self) -> bool {
        let by_regions = |detector: &Architecture| detector.score_module.is_some();
        self.image_classifier.is_some() || self.detector.as_ref().is_some_and(by_regions)
    }

    /// Side of the square that the whole-slice classifier sees.
    pub fn image_side(&self) -> usize {
        let stored = self.state.metadata.get(IMAGE_SIDE).and_then(|text| text.parse().ok());
        // The network halves the side five times.
        let fits = |side: &usize| side.is_multiple_of(32) && (32..=1024).contains(side);
        stored.filter(fits).unwrap_or(SIDE)
    }

    /// How slices are scaled for the detector.
    pub fn resize(&self) -> Resize {
        let stored = self.state.metadata.get(RESIZE).and_then(|text| text.parse().ok());
        stored.unwrap_or_default()
    }

    /// What the classifier's logits are worth. Files of earlier versions have a temperature only; their verdicts
    /// are always "uncertain".
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn calibration(&self) -> Result<Calibration, WeightsError> {
        let text = |name: &str| self.state.metadata.get(name);
        if let Some(stored) = text(CALIBRATION) {
            let damaged = |error: &dyn std::error::Error| WeightsError::Damaged {
                what: format!("its calibration cannot be used: {error}"),
            };
            let read: Calibration = serde_json::from_str(stored).map_err(|e| damaged(&e))?;
            return read.checked().map_err(|error| damaged(&error));
        }
        let temperature = text(TEMPERATURE).and_then(|text| text.parse().ok());
        let temperature = temperature.filter(|value: &f32| *value > 0.0).unwrap_or(1.0);
        Ok(Calibration { temperature, ..Calibration::untested(None) })
    }
}

/// The files of a model: a segmentation network, a classifier, or both; both may be one file.
#[derive(Clone, Debug)]
pub struct LoadedModel {
    /// Stage I.
    pub segmentation: Option<ModelFile>,
    /// Stage II.
    pub classifier: Option<ModelFile>,
}

impl LoadedModel {
    /// Checks that each file has the branch that it is given for.
    ///
    /// # Errors
    /// If the segmentation file has no mask branch or the classifier file no classifier.
    pub fn new(
        segmentation: Option<ModelFile>,
        classifier: Option<ModelFile>,
    ) -> Result<Self, WeightsError> {
        if segmentation.as_ref().is_some_and(|file| !file.segments()) {
            return Err(WeightsError::Branch { branch: "mask branch", task: "segmentation" });
        }
        if classifier.as_ref().is_some_and(|file| !file.classifies()) {
            return Err(WeightsError::Branch { branch: "classifier", task: "classification" });
        }
        Ok(Self { segmentation, classifier })
    }

    /// All that one file holds.
    ///
    /// # Errors
    /// If it can neither outline lesions nor classify.
    pub fn of_file(file: ModelFile) -> Result<Self, WeightsError> {
        let segmentation = file.segments().then(|| file.clone());
        let classifier = file.classifies().then_some(file);
        if segmentation.is_none() && classifier.is_none() {
            return Err(WeightsError::Branch { branch: "mask branch", task: "segmentation" });
        }
        Ok(Self { segmentation, classifier })
    }

    /// Whether one detector serves both.
    pub fn shares_detector(&self) -> bool {
        self.segmentation
            .as_ref()
            .zip(self.classifier.as_ref())
            .is_some_and(|(a, b)| a.state.shares_detector_with(&b.state))
    }
}
