//! The network on a device of burn, with burn's operations: for graphics cards that the command line is built for, and
//! on flex, burn's CPU, as a second implementation to hold others against.

use burn::tensor::{Device, Tensor, TensorData, Transaction};

use crate::detection::BBox;
use crate::detection::postprocess::Detection;
use crate::detection::proposals::RpnMaps;
use crate::detection::roi_align::bins::level_scale;
use crate::image::NetworkInput;
use crate::inference::backend::{Backend, BoxValues, ROI_CHUNK};
use crate::inference::error::PredictError;
use crate::inference::model::LoadedModel;
use crate::inference::predictor::Predictor;
use crate::inference::progress::{Progress, Stage};
use crate::inference::settings::Settings;
use crate::inference::slice_features::SliceFeatures;
use crate::network::feature_module::over_cells;
use crate::network::heads::{BOX_POOL, MASK_CELLS, MASK_POOL};
use crate::network::roi_align::by_matrices_per_level;
use crate::network::{Architecture, MaskRcnn, MaskRcnnConfig, StateDict, WeightsError};

/// [`MaskRcnn`] as a backend.
#[derive(Debug)]
pub struct BurnBackend {
    network: MaskRcnn,
    architecture: Architecture,
    device: Device,
}

/// Levels on the device.
#[derive(Debug)]
pub struct BurnPyramid {
    levels: Vec<Tensor<4>>,
    scales: Vec<f32>,
    /// The body's last map.
    last: Option<Tensor<4>>,
}

fn device_error(error: impl std::fmt::Display) -> PredictError {
    PredictError::Device { reason: error.to_string() }
}

/// Reads back what `transaction` asks for, in order.
async fn read(transaction: Transaction) -> Result<impl Iterator<Item = Vec<f32>>, PredictError> {
    let data = transaction.execute_async().await.map_err(device_error)?;
    let values = |data: TensorData| {
        data.try_into_vec_as::<f32>().map_err(|error| device_error(format!("{error:?}")))
    };
    Ok(data.into_iter().map(values).collect::<Result<Vec<_>, _>>()?.into_iter())
}

/// The next tensor of a read-back.
fn next(values: &mut impl Iterator<Item = Vec<f32>>) -> Result<Vec<f32>, PredictError> {
    values.next().ok_or_else(|| device_error("the device returned too few tensors"))
}

impl BurnBackend {
    /// The network with the weights of `state`, batch norm folded.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(
        architecture: &Architecture,
        state: &StateDict,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let network = MaskRcnnConfig::new(architecture.clone()).init_with(state, device)?;
        Ok(Self {
            network: network.fold_batch_norm(),
            architecture: architecture.clone(),
            device: device.clone(),
        })
    }

    fn classes(&self) -> usize {
        self.architecture.masks.num_classes()
    }
}

impl Backend for BurnBackend {
    type Pyramid = BurnPyramid;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    async fn pyramid(
        &self,
        input: &NetworkInput,
        progress: &mut impl Progress,
    ) -> Result<(BurnPyramid, Vec<RpnMaps>), PredictError> {
        let data = TensorData::new(input.normalised(), [1, 3, input.height, input.width]);
        let body = &self.network.backbone.body;
        let mut hidden = body.stem(Tensor::from_data(data, &self.device));
        let mut outputs = Vec::new();
        for index in 0..body.layers() {
            progress.enter(Stage::Features).await?;
            hidden = body.layer(index, hidden);
            outputs.push(hidden.clone());
        }
        progress.enter(Stage::Features).await?;
        let last = outputs.last().cloned();
        let levels = self.network.backbone.pyramid(outputs);
        let heads = self.network.rpn.forward(&levels);
        let mut transaction = Transaction::default();
        for head in &heads {
            transaction =
                transaction.register(head.objectness.clone()).register(head.deltas.clone());
        }
        let mut values = read(transaction).await?;
        let mut maps = Vec::with_capacity(heads.len());
        for head in &heads {
            let [_, _, height, width] = head.objectness.dims();
            let (objectness, deltas) = (next(&mut values)?, next(&mut values)?);
            maps.push(RpnMaps { objectness, deltas, height, width });
        }
        let scales =
            levels.iter().map(|level| level_scale(level.dims()[2], input.height)).collect();
        Ok((BurnPyramid { levels, scales, last }, maps))
    }

    async fn boxes(
        &self,
        pyramid: &mut BurnPyramid,
        proposals: &[BBox],
        _image: (usize, usize),
        _settings: Option<&Settings>,
    ) -> Result<BoxValues, PredictError> {
        let mut transaction = Transaction::default();
        for chunk in proposals.chunks(ROI_CHUNK) {
            let pooled = by_matrices_per_level(&pyramid.levels, &pyramid.scales, chunk, BOX_POOL);
            let (logits, deltas) = self.network.roi_heads.boxes(pooled);
            transaction = transaction.register(logits).register(deltas);
        }
        let (mut logits, mut deltas) = (Vec::new(), Vec::new());
        let mut values = read(transaction).await?;
        while let (Some(of_chunk), Some(moves)) = (values.next(), values.next()) {
            logits.extend(of_chunk);
            deltas.extend(moves);
        }
        Ok((logits, deltas))
    }

    async fn masks(
        &self,
        pyramid: &BurnPyramid,
        detections: &[Detection],
    ) -> Result<Vec<Vec<f32>>, PredictError> {
        let mut transaction = Transaction::default();
        for chunk in detections.chunks(ROI_CHUNK) {
            let boxes: Vec<BBox> = chunk.iter().map(|detection| detection.bbox).collect();
            let pooled = by_matrices_per_level(&pyramid.levels, &pyramid.scales, &boxes, MASK_POOL);
            match self.network.roi_heads.masks(pooled) {
                Some(masks) => transaction = transaction.register(masks),
                None => return Ok(Vec::new()),
            }
        }
        let mut found = Vec::with_capacity(detections.len());
        for (chunk, maps) in detections.chunks(ROI_CHUNK).zip(read(transaction).await?) {
            for (detection, maps) in
                chunk.iter().zip(maps.chunks_exact(self.classes() * MASK_CELLS))
            {
                found.push(maps[detection.class * MASK_CELLS..][..MASK_CELLS].to_vec());
            }
        }
        Ok(found)
    }

    /// A read-back of its own, for the few models whose class needs it.
    async fn slice_features(
        &self,
        pyramid: &BurnPyramid,
        boxes: &[BBox],
    ) -> Result<SliceFeatures, PredictError> {
        let missing = || device_error("the body's last map is not there");
        let (means, maxima) = over_cells(pyramid.last.clone().ok_or_else(missing)?);
        let mut transaction = Transaction::default().register(means).register(maxima);
        for chunk in boxes.chunks(ROI_CHUNK) {
            let pooled = by_matrices_per_level(&pyramid.levels, &pyramid.scales, chunk, BOX_POOL);
            transaction = transaction.register(self.network.roi_heads.representations(pooled));
        }
        let mut values = read(transaction).await?;
        let (means, maxima) = (next(&mut values)?, next(&mut values)?);
        Ok(SliceFeatures { means, maxima, representations: values.flatten().collect() })
    }

    async fn features(&self, pyramid: &BurnPyramid) -> Result<Vec<Vec<f32>>, PredictError> {
        let levels = pyramid.levels.iter();
        let transaction =
            levels.fold(Transaction::default(), |all, level| all.register(level.clone()));
        Ok(read(transaction).await?.collect())
    }
}

impl Predictor<BurnBackend> {
    /// A predictor on a device of burn that has been initialised.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn on_device(
        model: &LoadedModel,
        device: &Device,
        device_name: &str,
    ) -> Result<Self, WeightsError> {
        Self::new(model, device_name, |file| {
            BurnBackend::new(file.detector()?, &file.state, device)
        })
    }
}
