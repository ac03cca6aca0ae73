//! One change that a reader makes to a slice's findings.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::classes::LesionKind;
use crate::report::measurements::Measurement;
use crate::report::slice::ReaderClass;

/// A lesion of a slice, whatever the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LesionId {
    /// The model's, by its place in the report at every score.
    Found(usize),
    /// One that a reader drew, or that was split off, in their order.
    Drawn(usize),
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Correction {
    /// It is no lesion.
    Reject(LesionId),
    /// It is one after all.
    Restore(LesionId),
    /// It is of another kind.
    Relabel(LesionId, LesionKind),
    /// A stroke of a brush or an eraser.
    Paint(Stroke),
    /// Its unconnected parts become lesions of their own.
    Split(LesionId),
    /// The second becomes part of the first.
    Join(LesionId, LesionId),
    /// The class of the slice; `None` for the model's.
    Class(Option<ReaderClass>),
    /// A measurement, which changes no finding.
    Measure(Measurement),
    /// The measurement at this place is removed.
    Unmeasure(usize),
}

/// A stroke of a brush or an eraser.
#[derive(Clone, Debug, PartialEq)]
pub struct Stroke {
    /// The lesion that it changes; `None` for a new one.
    pub lesion: Option<LesionId>,
    /// Columns and rows of the slice, the middle of its first pixel at (0.5, 0.5).
    pub points: Vec<(f64, f64)>,
    /// Radius of the brush in pixels of the slice.
    pub radius: f64,
    /// Whether it takes pixels away.
    pub erases: bool,
    /// Kind of a new lesion.
    pub kind: LesionKind,
}

/// Why a change is impossible.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CorrectionError {
    /// A lesion that is not there, or has no outline.
    #[error("there is no such lesion, or it has no outline")]
    NoLesion,
    /// One that cannot be split.
    #[error("the lesion is in one piece: part it with the eraser first")]
    InOnePiece,
    /// A stroke beside the slice, or that erases where nothing is; a ruler without length.
    #[error("the stroke changes nothing")]
    NothingChanged,
}
