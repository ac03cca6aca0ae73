//! Progress and cancellation of one prediction.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A step of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Resizing and normalising.
    Preprocess,
    /// Backbone, pyramid and proposal head.
    Features,
    /// Choosing proposals.
    Proposals,
    /// Classifying and refining boxes.
    Boxes,
    /// Outlining lesions.
    Masks,
    /// Classifying the slice.
    Classification,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 6] = [
        Self::Preprocess,
        Self::Features,
        Self::Proposals,
        Self::Boxes,
        Self::Masks,
        Self::Classification,
    ];

    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Preprocess => "preprocess",
            Self::Features => "features",
            Self::Proposals => "proposals",
            Self::Boxes => "boxes",
            Self::Masks => "masks",
            Self::Classification => "classification",
        }
    }
}

/// The user asked to stop.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("cancelled")]
pub struct Cancelled;

/// Receives progress, and may stop the work.
pub trait Progress {
    /// Called at least once as each stage begins, and between the layers of a long one. A browser
    /// returns to its event loop here, so that a cancellation can arrive.
    ///
    /// # Errors
    /// [`Cancelled`] ends the prediction.
    fn enter(&mut self, stage: Stage) -> impl Future<Output = Result<(), Cancelled>>;
}

/// Ignores all progress.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    async fn enter(&mut self, _stage: Stage) -> Result<(), Cancelled> {
        Ok(())
    }
}
