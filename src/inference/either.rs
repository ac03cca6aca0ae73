//! An engine chosen while the program runs.

use crate::detection::BBox;
use crate::detection::detections::Detection;
use crate::detection::proposals::RpnMaps;
use crate::image::NetworkInput;
use crate::inference::backend::{Backend, BoxValues};
use crate::inference::cpu::{CpuBackend, CpuPyramid};
use crate::inference::gpu::{GpuBackend, GpuPyramid};
use crate::inference::predictor::PredictError;
use crate::inference::progress::Progress;
use crate::inference::settings::Settings;
use crate::inference::slice_features::SliceFeatures;
use crate::network::Architecture;

/// One or the other.
#[derive(Debug)]
pub enum EitherBackend {
    /// The CPU.
    Host(Box<CpuBackend>),
    /// A device of burn.
    Device(Box<GpuBackend>),
}

/// The pyramid of one or the other.
#[derive(Debug)]
pub enum AnyPyramid {
    /// The CPU's.
    Host(CpuPyramid),
    /// A device's.
    Device(Box<GpuPyramid>),
}

fn mismatched() -> PredictError {
    PredictError::Device { reason: "the slice was begun on another device".into() }
}

impl Backend for EitherBackend {
    type Pyramid = AnyPyramid;

    fn architecture(&self) -> &Architecture {
        match self {
            Self::Host(engine) => engine.architecture(),
            Self::Device(engine) => engine.architecture(),
        }
    }

    async fn pyramid(
        &self,
        input: &NetworkInput,
        monitor: &mut impl Progress,
    ) -> Result<(AnyPyramid, Vec<RpnMaps>), PredictError> {
        match self {
            Self::Host(engine) => {
                let (pyramid, maps) = engine.pyramid(input, monitor).await?;
                Ok((AnyPyramid::Host(pyramid), maps))
            }
            Self::Device(engine) => {
                let (pyramid, maps) = engine.pyramid(input, monitor).await?;
                Ok((AnyPyramid::Device(Box::new(pyramid)), maps))
            }
        }
    }

    async fn boxes(
        &self,
        pyramid: &mut AnyPyramid,
        proposals: &[BBox],
        image: (usize, usize),
        settings: Option<&Settings>,
    ) -> Result<BoxValues, PredictError> {
        match (self, pyramid) {
            (Self::Host(engine), AnyPyramid::Host(pyramid)) => {
                engine.boxes(pyramid, proposals, image, settings).await
            }
            (Self::Device(engine), AnyPyramid::Device(pyramid)) => {
                engine.boxes(pyramid, proposals, image, settings).await
            }
            _ => Err(mismatched()),
        }
    }

    async fn masks(
        &self,
        pyramid: &AnyPyramid,
        detections: &[Detection],
    ) -> Result<Vec<Vec<f32>>, PredictError> {
        match (self, pyramid) {
            (Self::Host(engine), AnyPyramid::Host(pyramid)) => {
                engine.masks(pyramid, detections).await
            }
            (Self::Device(engine), AnyPyramid::Device(pyramid)) => {
                engine.masks(pyramid, detections).await
            }
            _ => Err(mismatched()),
        }
    }

    async fn slice_features(
        &self,
        pyramid: &AnyPyramid,
        boxes: &[BBox],
    ) -> Result<SliceFeatures, PredictError> {
        match (self, pyramid) {
            (Self::Host(engine), AnyPyramid::Host(pyramid)) => {
                engine.slice_features(pyramid, boxes).await
            }
            (Self::Device(engine), AnyPyramid::Device(pyramid)) => {
                engine.slice_features(pyramid, boxes).await
            }
            _ => Err(mismatched()),
        }
    }

    async fn features(&self, pyramid: &AnyPyramid) -> Result<Vec<Vec<f32>>, PredictError> {
        match (self, pyramid) {
            (Self::Host(engine), AnyPyramid::Host(pyramid)) => engine.features(pyramid).await,
            (Self::Device(engine), AnyPyramid::Device(pyramid)) => engine.features(pyramid).await,
            _ => Err(mismatched()),
        }
    }
}
