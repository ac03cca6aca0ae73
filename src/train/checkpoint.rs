//! A run on disk: everything that it needs to continue as if it had never stopped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::network::{StateDict, WeightsError};
use crate::whole_file;

/// File name of a checkpoint in the run's folder.
pub const FILE: &str = "checkpoint.bpk";
const WEIGHTS: &str = "weights/";
const AVERAGE: &str = "average/";
const PROGRESS: &str = "progress";

/// Why a checkpoint cannot be written or taken up.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// A file that cannot be written or read.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Contents of no checkpoint.
    #[error("{path}: {source}")]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: WeightsError,
    },
    /// Progress that cannot be understood.
    #[error("{path}: the checkpoint's progress is not that of this kind of run ({what})")]
    Progress {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// Writes a file that appears whole or not at all, whatever happens meanwhile.
///
/// # Errors
/// If folder or disk do not allow it; an older file of the name is then still there.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::File { path: path.into(), source };
    whole_file::write_whole(path, bytes).map_err(failed)
}

/// What a run is made of at one step.
#[derive(Debug)]
pub struct Saved<T> {
    /// The weights.
    pub weights: StateDict,
    /// Their average; empty for a run without.
    pub average: StateDict,
    /// The optimizer's state.
    pub optimizer: StateDict,
    /// Everything else.
    pub progress: T,
}

/// Writes a run into `folder`.
///
/// # Errors
/// If the file cannot be written.
pub fn save<T: Serialize>(folder: &Path, saved: Saved<T>) -> Result<(), CheckpointError> {
    let path = folder.join(FILE);
    let contents = |source| CheckpointError::Contents { path: path.clone(), source };
    let mut state = saved.optimizer;
    for (prefix, part) in [(WEIGHTS, &saved.weights), (AVERAGE, &saved.average)] {
        for (name, parameter) in &part.tensors {
            state.tensors.insert(format!("{prefix}{name}"), parameter.clone());
        }
    }
    state.anchors.clone_from(&saved.weights.anchors);
    let progress = serde_json::to_string(&saved.progress).map_err(|error| {
        CheckpointError::Progress { path: path.clone(), what: error.to_string() }
    })?;
    state.metadata.insert(PROGRESS.into(), progress);
    write_whole(&path, &state.to_exact_pack().map_err(contents)?)
}

/// What [`save`] wrote; `None` if there is nothing.
///
/// # Errors
/// If the file is damaged or of another kind of run.
pub fn load<T: DeserializeOwned>(folder: &Path) -> Result<Option<Saved<T>>, CheckpointError> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CheckpointError::File { path, source }),
    };
    let state = StateDict::from_bytes(&bytes)
        .map_err(|source| CheckpointError::Contents { path: path.clone(), source })?;
    let text = state.metadata.get(PROGRESS).cloned().unwrap_or_default();
    let progress = serde_json::from_str(&text)
        .map_err(|error| CheckpointError::Progress { path, what: error.to_string() })?;
    let part = || StateDict { anchors: state.anchors.clone(), ..StateDict::default() };
    let (weights, average, optimizer) = (part(), part(), StateDict::default());
    let mut saved = Saved { weights, average, optimizer, progress };
    for (name, parameter) in state.tensors {
        if let Some(name) = name.strip_prefix(WEIGHTS) {
            saved.weights.tensors.insert(name.to_owned(), parameter);
        } else if let Some(name) = name.strip_prefix(AVERAGE) {
            saved.average.tensors.insert(name.to_owned(), parameter);
        } else {
            saved.optimizer.tensors.insert(name, parameter);
        }
    }
    Ok(Some(saved))
}
