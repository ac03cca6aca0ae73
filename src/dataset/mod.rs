//! Data to learn from and to be measured on: the paper's layouts (docs/method.md, 5), COCO files, NIfTI volumes.

pub mod classes;
pub mod cncb;
pub mod coco;
pub mod instances;
pub mod lesions;
pub mod source;
pub mod volumes;

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A slice as its source lists it.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// `<scan>_<slice>`, or the picture's name.
    pub stem: String,
    /// Whose slice it is; known within its source.
    pub patient: String,
    /// Where it is read from.
    pub place: T,
}

/// The slices of a source, and what cannot be used of it.
pub type Listing<T> = (Vec<Listed<T>>, Vec<Skipped>);

/// Why a dataset cannot be used at all.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// A file or folder that cannot be read.
    #[error("{path}: {reason}; expected {expected}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: std::io::Error,
        /// What should be there.
        expected: &'static str,
    },
    /// Nothing to train on or to evaluate.
    #[error("{path}: no usable slice ({report})")]
    Empty {
        /// Folder or list.
        path: PathBuf,
        /// What was found instead.
        report: String,
    },
    /// A source of no known kind.
    #[error(
        "{path}: expected a folder with `imgs` and `masks`, one with `imagesTr` and `labelsTr` of NIfTI volumes, a COCO file (.json), or a COVIDx-CT list (.txt) whose healthy slices are taken"
    )]
    Unknown {
        /// The path.
        path: PathBuf,
    },
    /// A file that contradicts itself or the files that it names.
    #[error("{path}: {what}")]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A line of a list that says nothing known.
    #[error("{path}, line {line}: {what}")]
    Line {
        /// The list.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A file that was good when the run began and is no longer.
    #[error("{path}: {what}")]
    Changed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// A file that is not used, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// The reason.
    pub reason: String,
}

/// Adds the path to an i/o error.
fn reading(path: &Path, expected: &'static str) -> impl FnOnce(std::io::Error) -> DatasetError {
    let path = path.to_path_buf();
    move |reason| DatasetError::Read { path, reason, expected }
}

/// What is not held out, and what is.
pub fn divided<T: Clone>(items: &[T], held_out: &[bool]) -> (Vec<T>, Vec<T>) {
    let of = |wanted: bool| {
        let own = items.iter().zip(held_out).filter(|(_, held)| **held == wanted);
        own.map(|(item, _)| item.clone()).collect()
    };
    (of(false), of(true))
}

/// What was skipped, the first few by name.
pub fn summary(skipped: &[Skipped]) -> String {
    const NAMED: usize = 5;
    let mut text = format!("{} skipped", skipped.len());
    for Skipped { path, reason } in skipped.iter().take(NAMED) {
        text.push_str(&format!("\n  {}: {reason}", path.display()));
    }
    if skipped.len() > NAMED {
        text.push_str(&format!("\n  and {} more", skipped.len() - NAMED));
    }
    text
}
