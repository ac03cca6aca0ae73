//! A network on the CPU, natively and in the browser.

use crate::detection::BBox;
use crate::detection::postprocess::Detection;
use crate::detection::proposals::RpnMaps;
use crate::detection::roi_align::bins::level_scale;
use crate::image::NetworkInput;
use crate::inference::backend::{Backend, BoxValues, ROI_CHUNK};
use crate::inference::cpu::CpuMaskRcnn;
use crate::inference::error::PredictError;
use crate::inference::progress::{Progress, Stage};
use crate::inference::settings::Settings;
use crate::inference::slice_features::SliceFeatures;
use crate::kernels::FeatureMap;
use crate::network::heads::MASK_SIDE;
use crate::network::{Architecture, StateDict, WeightsError};

/// [`CpuMaskRcnn`] as a backend.
#[derive(Debug)]
pub struct CpuBackend {
    network: CpuMaskRcnn,
    architecture: Architecture,
}

/// Levels and their scales.
#[derive(Debug)]
pub struct CpuPyramid {
    levels: Vec<FeatureMap>,
    /// The body's last map.
    last: Option<FeatureMap>,
    scales: Vec<f32>,
}

impl CpuBackend {
    /// The network with the weights of `state`.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(architecture: &Architecture, state: &StateDict) -> Result<Self, WeightsError> {
        let network = CpuMaskRcnn::new(architecture, state)?;
        Ok(Self { network, architecture: architecture.clone() })
    }
}

impl Backend for CpuBackend {
    type Pyramid = CpuPyramid;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    async fn pyramid(
        &self,
        input: &NetworkInput,
        progress: &mut impl Progress,
    ) -> Result<(CpuPyramid, Vec<RpnMaps>), PredictError> {
        let body = self.network.body();
        let stem = body.stem(std::slice::from_ref(input));
        let mut outputs: Vec<FeatureMap> = Vec::with_capacity(body.layers());
        for index in 0..body.layers() {
            progress.enter(Stage::Features).await?;
            let output = body.layer(index, outputs.last().unwrap_or(&stem));
            outputs.push(output);
        }
        progress.enter(Stage::Features).await?;
        let levels = self.network.pyramid(&outputs);
        let maps = levels.iter().map(|level| {
            let [_, height, width, _] = level.dims;
            let (objectness, deltas) = self.network.proposals(level);
            let (objectness, deltas) = (objectness.to_channels_first(), deltas.to_channels_first());
            RpnMaps { objectness, deltas, height, width }
        });
        let maps = maps.collect();
        let scales = levels.iter().map(|level| level_scale(level.dims[1], input.height)).collect();
        Ok((CpuPyramid { levels, scales, last: outputs.pop() }, maps))
    }

    async fn boxes(
        &self,
        pyramid: &mut CpuPyramid,
        proposals: &[BBox],
        _image: (usize, usize),
        _settings: Option<&Settings>,
    ) -> Result<BoxValues, PredictError> {
        let (mut logits, mut deltas) = (Vec::new(), Vec::new());
        for chunk in proposals.chunks(ROI_CHUNK) {
            let (of_chunk, moves) = self.network.boxes(&pyramid.levels, &pyramid.scales, chunk);
            logits.extend(of_chunk);
            deltas.extend(moves);
        }
        Ok((logits, deltas))
    }

    async fn masks(
        &self,
        pyramid: &CpuPyramid,
        detections: &[Detection],
    ) -> Result<Vec<Vec<f32>>, PredictError> {
        let mut found = Vec::with_capacity(detections.len());
        for chunk in detections.chunks(ROI_CHUNK) {
            let boxes: Vec<BBox> = chunk.iter().map(|detection| detection.bbox).collect();
            let Some(maps) = self.network.masks(&pyramid.levels, &pyramid.scales, &boxes) else {
                return Ok(Vec::new());
            };
            let length = MASK_SIDE * MASK_SIDE * maps.channels();
            for (detection, values) in chunk.iter().zip(maps.values.chunks_exact(length)) {
                let own = values.iter().skip(detection.class).step_by(maps.channels());
                found.push(own.copied().collect());
            }
        }
        Ok(found)
    }

    async fn slice_features(
        &self,
        pyramid: &CpuPyramid,
        boxes: &[BBox],
    ) -> Result<SliceFeatures, PredictError> {
        let last = pyramid.last.as_ref();
        let means = last.map(FeatureMap::means).unwrap_or_default();
        let maxima = last.map(FeatureMap::maxima).unwrap_or_default();
        let mut representations = Vec::new();
        for chunk in boxes.chunks(ROI_CHUNK) {
            let network = &self.network;
            let found = network.representations(&pyramid.levels, &pyramid.scales, chunk);
            representations.extend(found);
        }
        Ok(SliceFeatures { means, maxima, representations })
    }

    async fn features(&self, pyramid: &CpuPyramid) -> Result<Vec<Vec<f32>>, PredictError> {
        Ok(pyramid.levels.iter().map(FeatureMap::to_channels_first).collect())
    }
}
