//! `models/manifest.json`: which models there are, their files and how to know them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::inference::model::{LoadedModel, ModelFile};
use crate::inference::self_test::SelfTest;
use crate::network::{Variant, WeightsError};
use crate::report::regions::RegionReference;
use crate::sha256::sha256;

/// Name and version of the layout.
pub const SCHEMA: &str = "groundglass/models/1";
/// Largest weights' file accepted.
pub const MAX_BYTES: u64 = 512 << 20;
/// Largest list accepted.
pub const MAX_MANIFEST: u64 = 8 << 20;
/// Largest model card accepted.
pub const MAX_CARD: u64 = 1 << 20;

/// The list of models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: String,
    /// Name of the model used unless another is asked for.
    pub default: String,
    /// Models by name.
    pub models: BTreeMap<String, ModelEntry>,
    /// Files by name.
    pub files: BTreeMap<String, FileEntry>,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// Backbone and truncation.
    pub variant: Variant,
    /// File with the segmentation network.
    pub segmentation: Option<String>,
    /// File with the classifier; the same one where they share the detector.
    pub classifier: Option<String>,
    /// File with the model card.
    pub card: String,
    /// Licence of the weights, in one line.
    pub licence: String,
    /// What a device must compute before it is used.
    #[serde(rename = "canary")]
    pub self_test: SelfTest,
    /// How many regions of labelled slices pass each score, to compare a slice with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regions: Option<RegionReference>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Why a model could not be taken from the list.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not JSON of this layout.
    #[error("the manifest cannot be read: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A layout of another version.
    #[error("the manifest is of the layout `{0}`, this program reads `{SCHEMA}`")]
    Schema(String),
    /// A file outside the models' folder.
    #[error("the manifest names the file `{0}`, which is no plain name of a file")]
    FileName(String),
    /// A name not in the list.
    #[error("unknown model `{name}`; expected {known}")]
    UnknownModel {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// A file that the list does not describe.
    #[error("the manifest does not describe the file `{0}`")]
    UnknownFile(String),
    /// Another size or hash than listed.
    #[error(
        "`{file}` is not the file that the manifest lists ({what}); load it again or restore it"
    )]
    Mismatch {
        /// The file.
        file: String,
        /// What differs.
        what: String,
    },
    /// Unusable weights.
    #[error("`{file}`: {error}")]
    Weights {
        /// The file.
        file: String,
        /// The reason.
        error: WeightsError,
    },
}

/// Whether a name is one component, and not hidden.
fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.chars().any(|c| "/\\:?#%".contains(c) || c.is_control())
}

impl Manifest {
    /// Reads the list.
    ///
    /// # Errors
    /// If it is not JSON of this layout.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_str(text)?;
        if manifest.schema != SCHEMA {
            return Err(ManifestError::Schema(manifest.schema));
        }
        let cards = manifest.models.values().map(|entry| entry.card.as_str());
        let named = manifest.models.values().flat_map(|entry| entry.files());
        if let Some(wrong) = cards.chain(named).find(|name| !is_file_name(name)) {
            return Err(ManifestError::FileName(wrong.to_owned()));
        }
        Ok(manifest)
    }

    /// The model `name`, or the default one.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn model(&self, name: Option<&str>) -> Result<(&str, &ModelEntry), ManifestError> {
        let name = name.unwrap_or(&self.default);
        self.models.get_key_value(name).map(|(name, entry)| (name.as_str(), entry)).ok_or_else(
            || {
                let known: Vec<_> = self.models.keys().map(String::as_str).collect();
                ManifestError::UnknownModel { name: name.into(), known: known.join(", ") }
            },
        )
    }

    /// Checks the bytes of a listed file against its size and hash.
    ///
    /// # Errors
    /// If the file is not listed or differs.
    pub fn check(&self, file: &str, bytes: &[u8]) -> Result<(), ManifestError> {
        let entry = self.files.get(file).ok_or_else(|| ManifestError::UnknownFile(file.into()))?;
        let mismatch = |what| Err(ManifestError::Mismatch { file: file.into(), what });
        if bytes.len() as u64 != entry.bytes {
            return mismatch(format!("{} bytes, not {}", bytes.len(), entry.bytes));
        }
        let hash = sha256(bytes);
        if hash != entry.sha256 {
            return mismatch(format!("SHA-256 {hash}, not {}", entry.sha256));
        }
        Ok(())
    }

    /// Builds a model from the bytes of its files, each checked first.
    ///
    /// # Errors
    /// If a file is not the listed one or holds other weights than the model needs.
    pub fn load(
        &self,
        name: &str,
        entry: &ModelEntry,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<LoadedModel, ManifestError> {
        let mut read: BTreeMap<&str, ModelFile> = BTreeMap::new();
        for (file, bytes) in files {
            self.check(file, bytes)?;
            let model = ModelFile::read(name, bytes)
                .map_err(|error| ManifestError::Weights { file: file.clone(), error })?;
            read.insert(file, model);
        }
        let part = |file: &Option<String>| match file {
            None => Ok(None),
            Some(file) => read
                .get(file.as_str())
                .cloned()
                .map(Some)
                .ok_or_else(|| ManifestError::UnknownFile(file.clone())),
        };
        LoadedModel::new(part(&entry.segmentation)?, part(&entry.classifier)?)
            .map_err(|error| ManifestError::Weights { file: name.into(), error })
    }
}

impl ModelEntry {
    /// The files it needs, each once.
    pub fn files(&self) -> Vec<&str> {
        let mut files: Vec<&str> = [&self.segmentation, &self.classifier]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        files.dedup();
        files
    }
}
