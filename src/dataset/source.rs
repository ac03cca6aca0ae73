//! Where training and evaluation slices come from.

use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::dataset::DatasetError;

/// A folder or file with slices, and how often it is drawn from beside others.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSource {
    /// Folder or file.
    pub path: PathBuf,
    /// Weight of its draws. Default: 1
    pub weight: f64,
}

/// What a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A folder with `imgs` and `masks`, as CNCB gives them.
    Masks,
    /// A COCO file.
    Coco,
    /// A folder with `imagesTr` and `labelsTr` (or `images` and `labels`) of NIfTI volumes.
    Volumes,
    /// A COVIDx-CT list, of which the healthy slices are taken.
    Healthy,
}

impl DataSource {
    /// The last part of its path that says something.
    pub fn name(&self) -> String {
        let parts: Vec<_> = self
            .path
            .components()
            .rev()
            .take(2)
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        parts.iter().rev().map(AsRef::as_ref).collect::<Vec<_>>().join("/")
    }

    /// What it is.
    ///
    /// # Errors
    /// If it is nothing known, or not there.
    pub fn kind(&self) -> Result<Kind, DatasetError> {
        let ending = self.path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let has = |name: &str| self.path.join(name).is_dir();
        let kind = if self.path.is_file() {
            match ending.as_deref() {
                Some("json") => Some(Kind::Coco),
                Some("txt") => Some(Kind::Healthy),
                _ => None,
            }
        } else if (has("imagesTr") && has("labelsTr")) || (has("images") && has("labels")) {
            Some(Kind::Volumes)
        } else {
            (has("imgs") || has("masks")).then_some(Kind::Masks)
        };
        kind.ok_or_else(|| DatasetError::Unknown { path: self.path.clone() })
    }
}

/// A source whose weight is no weight.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}`: the weight must be positive")]
pub struct WeightError(String);

impl FromStr for DataSource {
    type Err = WeightError;

    /// `PATH` or `PATH:WEIGHT`.
    fn from_str(text: &str) -> Result<Self, WeightError> {
        let (path, weight) = match text.rsplit_once(':').map(|(path, w)| (path, w.parse::<f64>())) {
            Some((path, Ok(weight))) => (path, weight),
            _ => (text, 1.0),
        };
        if !(weight.is_finite() && weight > 0.0) {
            return Err(WeightError(text.into()));
        }
        Ok(Self { path: path.into(), weight })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_may_follow_the_path() {
        let read = |text: &str| text.parse::<DataSource>();
        let source = |path: &str, weight| Ok(DataSource { path: path.into(), weight });
        assert_eq!(read("lesions/train"), source("lesions/train", 1.0));
        assert_eq!(read("mosmed:0.5"), source("mosmed", 0.5));
        assert_eq!(read("odd:name"), source("odd:name", 1.0));
        assert!(read("mosmed:0").is_err() && read("mosmed:-1").is_err());
        assert_eq!(read("a/b/train").unwrap().name(), "b/train");
    }
}
