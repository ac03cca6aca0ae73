//! A backend chosen while the program runs.

use crate::detection::BBox;
use crate::detection::postprocess::Detection;
use crate::detection::proposals::RpnMaps;
use crate::image::NetworkInput;
use crate::inference::backend::{Backend, BoxValues};
use crate::inference::burn_backend::{BurnBackend, BurnPyramid};
use crate::inference::cpu::{CpuBackend, CpuPyramid};
use crate::inference::error::PredictError;
use crate::inference::progress::Progress;
use crate::inference::settings::Settings;
use crate::inference::slice_features::SliceFeatures;
use crate::network::Architecture;

/// One or the other.
#[derive(Debug)]
pub enum EitherBackend {
    /// The CPU.
    Cpu(Box<CpuBackend>),
    /// A device of burn.
    Burn(Box<BurnBackend>),
}

/// The pyramid of one or the other.
#[derive(Debug)]
pub enum EitherPyramid {
    /// The CPU's.
    Cpu(CpuPyramid),
    /// Burn's.
    Burn(Box<BurnPyramid>),
}

fn mismatched() -> PredictError {
    PredictError::Device { reason: "the slice was begun on another device".into() }
}

impl Backend for EitherBackend {
    type Pyramid = EitherPyramid;

    fn architecture(&self) -> &Architecture {
        match self {
            Self::Cpu(backend) => backend.architecture(),
            Self::Burn(backend) => backend.architecture(),
        }
    }

    async fn pyramid(
        &self,
        input: &NetworkInput,
        progress: &mut impl Progress,
    ) -> Result<(EitherPyramid, Vec<RpnMaps>), PredictError> {
        match self {
            Self::Cpu(backend) => {
                let (pyramid, maps) = backend.pyramid(input, progress).await?;
                Ok((EitherPyramid::Cpu(pyramid), maps))
            }
            Self::Burn(backend) => {
                let (pyramid, maps) = backend.pyramid(input, progress).await?;
                Ok((EitherPyramid::Burn(Box::new(pyramid)), maps))
            }
        }
    }

    async fn boxes(
        &self,
        pyramid: &mut EitherPyramid,
        proposals: &[BBox],
        image: (usize, usize),
        settings: Option<&Settings>,
    ) -> Result<BoxValues, PredictError> {
        match (self, pyramid) {
            (Self::Cpu(backend), EitherPyramid::Cpu(pyramid)) => {
                backend.boxes(pyramid, proposals, image, settings).await
            }
            (Self::Burn(backend), EitherPyramid::Burn(pyramid)) => {
                backend.boxes(pyramid, proposals, image, settings).await
            }
            _ => Err(mismatched()),
        }
    }

    async fn masks(
        &self,
        pyramid: &EitherPyramid,
        detections: &[Detection],
    ) -> Result<Vec<Vec<f32>>, PredictError> {
        match (self, pyramid) {
            (Self::Cpu(backend), EitherPyramid::Cpu(pyramid)) => {
                backend.masks(pyramid, detections).await
            }
            (Self::Burn(backend), EitherPyramid::Burn(pyramid)) => {
                backend.masks(pyramid, detections).await
            }
            _ => Err(mismatched()),
        }
    }

    async fn slice_features(
        &self,
        pyramid: &EitherPyramid,
        boxes: &[BBox],
    ) -> Result<SliceFeatures, PredictError> {
        match (self, pyramid) {
            (Self::Cpu(backend), EitherPyramid::Cpu(pyramid)) => {
                backend.slice_features(pyramid, boxes).await
            }
            (Self::Burn(backend), EitherPyramid::Burn(pyramid)) => {
                backend.slice_features(pyramid, boxes).await
            }
            _ => Err(mismatched()),
        }
    }

    async fn features(&self, pyramid: &EitherPyramid) -> Result<Vec<Vec<f32>>, PredictError> {
        match (self, pyramid) {
            (Self::Cpu(backend), EitherPyramid::Cpu(pyramid)) => backend.features(pyramid).await,
            (Self::Burn(backend), EitherPyramid::Burn(pyramid)) => backend.features(pyramid).await,
            _ => Err(mismatched()),
        }
    }
}
