//! Weights on the way to a device: read, checked, named.

use sha2::{Digest, Sha256};

use super::report::ModelInfo;
use crate::network::{Architecture, StateDict, WeightsError};

/// Name of the metadata that holds the softmax temperature of a classifier.
pub const TEMPERATURE: &str = "temperature";

/// The weights of one file, not yet on a device.
#[derive(Clone, Debug)]
pub struct ModelFile {
    /// Name and hash.
    pub info: ModelInfo,
    /// The weights.
    pub state: StateDict,
    /// What they are the weights of.
    pub architecture: Architecture,
}

impl ModelFile {
    /// Reads `.bpk` (or, natively, `.pth`) and tells the variant from the shapes.
    ///
    /// # Errors
    /// If the bytes are no weights or those of no known network.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        let state = StateDict::from_bytes(bytes)?;
        let architecture = Architecture::infer(&state)?;
        let info = ModelInfo { name: name.into(), sha256: sha256(bytes) };
        Ok(Self { info, state, architecture })
    }

    /// Softmax temperature of the classifier, 1 where none was fitted.
    pub fn temperature(&self) -> f32 {
        let stored = self.state.metadata.get(TEMPERATURE).and_then(|text| text.parse().ok());
        stored.filter(|temperature: &f32| *temperature > 0.0).unwrap_or(1.0)
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
    /// If the segmentation file has no mask branch or the classifier no module S.
    pub fn new(
        segmentation: Option<ModelFile>,
        classifier: Option<ModelFile>,
    ) -> Result<Self, WeightsError> {
        if segmentation.as_ref().is_some_and(|file| !file.architecture.mask_branch) {
            return Err(WeightsError::Branch { branch: "mask branch", task: "segmentation" });
        }
        if classifier.as_ref().is_some_and(|file| file.architecture.score_module.is_none()) {
            return Err(WeightsError::Branch { branch: "module S", task: "classification" });
        }
        Ok(Self { segmentation, classifier })
    }

    /// Whether one trunk serves both.
    pub fn shares_trunk(&self) -> bool {
        self.segmentation
            .as_ref()
            .zip(self.classifier.as_ref())
            .is_some_and(|(a, b)| a.state.shares_trunk_with(&b.state))
    }
}

/// SHA-256 as lowercase hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }
}
