//! An engine chosen while the program runs.

use super::detections::Detection;
use super::device_engine::{DeviceEngine, DevicePyramid};
use super::engine::{BoxValues, Engine};
use super::host_engine::{HostEngine, HostPyramid};
use super::monitor::Monitor;
use super::predictor::PredictError;
use super::proposals::RpnMaps;
use super::settings::Settings;
use crate::geometry::BBox;
use crate::image::NetworkInput;
use crate::network::Architecture;

/// One or the other.
#[derive(Debug)]
pub enum AnyEngine {
    /// The CPU.
    Host(Box<HostEngine>),
    /// A device of burn.
    Device(Box<DeviceEngine>),
}

/// The pyramid of one or the other.
#[derive(Debug)]
pub enum AnyPyramid {
    /// The CPU's.
    Host(HostPyramid),
    /// A device's.
    Device(DevicePyramid),
}

fn mismatched() -> PredictError {
    PredictError::Device { reason: "the slice was begun on another device".into() }
}

impl Engine for AnyEngine {
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
        monitor: &mut impl Monitor,
    ) -> Result<(AnyPyramid, Vec<RpnMaps>), PredictError> {
        match self {
            Self::Host(engine) => {
                let (pyramid, maps) = engine.pyramid(input, monitor).await?;
                Ok((AnyPyramid::Host(pyramid), maps))
            }
            Self::Device(engine) => {
                let (pyramid, maps) = engine.pyramid(input, monitor).await?;
                Ok((AnyPyramid::Device(pyramid), maps))
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

    async fn features(&self, pyramid: &AnyPyramid) -> Result<Vec<Vec<f32>>, PredictError> {
        match (self, pyramid) {
            (Self::Host(engine), AnyPyramid::Host(pyramid)) => engine.features(pyramid).await,
            (Self::Device(engine), AnyPyramid::Device(pyramid)) => engine.features(pyramid).await,
            _ => Err(mismatched()),
        }
    }
}
