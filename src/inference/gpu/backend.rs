//! A network on a device of burn: a graphics card, or flex to test the same code without one.
//!
//! A read-back from a GPU is a round trip through the browser's event loop, so there are two a
//! slice: the proposal maps, then the box outputs together with the masks of the boxes that the
//! device itself expects to survive ([`crate::inference::gpu::preselect`]). Only a slice with more lesions
//! than [`EXPECTED_LESIONS`] costs a third.

use burn::tensor::{Device, Tensor, TensorData, Transaction};

use crate::detection::BBox;
use crate::detection::detections::Detection;
use crate::detection::proposals::RpnMaps;
use crate::detection::roi_align::bins::level_scale;
use crate::image::NetworkInput;
use crate::inference::backend::{Backend, BoxValues};
use crate::inference::error::PredictError;
use crate::inference::gpu::preselect::{self, PreselectRule};
use crate::inference::progress::{Progress, Stage};
use crate::inference::settings::Settings;
use crate::inference::slice_features::SliceFeatures;
use crate::network::feature_module::over_cells;
use crate::network::heads::{BOX_POOL, MASK_POOL, MASK_SIDE};
use crate::network::roi_align::by_matrices_per_level;
use crate::network::{Architecture, MaskRcnn, MaskRcnnConfig, StateDict, WeightsError};

/// Regions pooled at a time: bounds memory whatever their number.
const ROI_CHUNK: usize = 64;
/// Masks computed before the host has chosen the lesions.
pub const EXPECTED_LESIONS: usize = 32;
/// Cells of a mask.
const CELLS: usize = MASK_SIDE * MASK_SIDE;

/// [`MaskRcnn`] as a backend.
#[derive(Debug)]
pub struct GpuBackend {
    network: MaskRcnn,
    architecture: Architecture,
    device: Device,
}

/// Levels on the device.
#[derive(Debug)]
pub struct GpuPyramid {
    levels: Vec<Tensor<4>>,
    scales: Vec<f32>,
    /// The body's last map.
    last: Option<Tensor<4>>,
    /// Masks computed ahead: proposal, class and logits of all classes.
    ahead: Vec<(usize, usize, Vec<f32>)>,
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

impl GpuBackend {
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

    /// Rows and masks of the boxes expected to become lesions.
    fn masks_ahead(
        &self,
        pyramid: &GpuPyramid,
        (logits, deltas): (Tensor<2>, Tensor<2>),
        proposals: &[BBox],
        image: (usize, usize),
        settings: &Settings,
    ) -> Option<(Tensor<1>, Tensor<4>)> {
        let ([level], [scale]) = (&pyramid.levels[..], &pyramid.scales[..]) else { return None };
        if !self.network.roi_heads.has_masks() {
            return None;
        }
        let rule = PreselectRule {
            score_threshold: settings.score_threshold,
            nms_threshold: settings.nms_threshold,
            image,
            count: EXPECTED_LESIONS.min(settings.detections).min(proposals.len()),
        };
        let chosen = preselect::choose(logits, deltas, proposals, &rule);
        let pooled = preselect::pool(level, chosen.boxes, *scale, MASK_POOL);
        self.network.roi_heads.masks(pooled).map(|masks| (chosen.rows, masks))
    }
}

impl Backend for GpuBackend {
    type Pyramid = GpuPyramid;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// First read-back: the proposal maps of every level.
    async fn pyramid(
        &self,
        input: &NetworkInput,
        progress: &mut impl Progress,
    ) -> Result<(GpuPyramid, Vec<RpnMaps>), PredictError> {
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
        Ok((GpuPyramid { levels, scales, last, ahead: Vec::new() }, maps))
    }

    /// Second read-back: box outputs and the masks expected to be needed.
    async fn boxes(
        &self,
        pyramid: &mut GpuPyramid,
        proposals: &[BBox],
        image: (usize, usize),
        settings: Option<&Settings>,
    ) -> Result<BoxValues, PredictError> {
        let (mut logits, mut deltas) = (Vec::new(), Vec::new());
        for chunk in proposals.chunks(ROI_CHUNK) {
            let pooled = by_matrices_per_level(&pyramid.levels, &pyramid.scales, chunk, BOX_POOL);
            let (chunk_logits, chunk_deltas) = self.network.roi_heads.boxes(pooled);
            logits.push(chunk_logits);
            deltas.push(chunk_deltas);
        }
        let (logits, deltas) = (Tensor::cat(logits, 0), Tensor::cat(deltas, 0));
        let mut transaction =
            Transaction::default().register(logits.clone()).register(deltas.clone());
        let ahead = settings.and_then(|settings| {
            self.masks_ahead(pyramid, (logits, deltas), proposals, image, settings)
        });
        let has_masks = ahead.is_some();
        if let Some((rows, masks)) = ahead {
            transaction = transaction.register(rows).register(masks);
        }
        let mut values = read(transaction).await?;
        let found = (next(&mut values)?, next(&mut values)?);
        if has_masks {
            let (rows, masks) = (next(&mut values)?, next(&mut values)?);
            let maps = masks.chunks_exact(self.classes() * CELLS);
            for (row, map) in rows.iter().zip(maps).filter(|(row, _)| **row >= 0.0) {
                // A row is `proposal * foreground classes + class - 1`.
                let (row, foreground) = (*row as usize, self.classes() - 1);
                pyramid.ahead.push((row / foreground, row % foreground + 1, map.to_vec()));
            }
        }
        Ok(found)
    }

    async fn masks(
        &self,
        pyramid: &GpuPyramid,
        detections: &[Detection],
    ) -> Result<Vec<Vec<f32>>, PredictError> {
        let own_class = |maps: &[f32], class: usize| maps[class * CELLS..][..CELLS].to_vec();
        let mut found: Vec<Option<Vec<f32>>> = detections
            .iter()
            .map(|detection| {
                let known = pyramid.ahead.iter().find(|(proposal, class, _)| {
                    (*proposal, *class) == (detection.proposal, detection.class)
                });
                known.map(|(_, class, maps)| own_class(maps, *class))
            })
            .collect();
        let missing: Vec<usize> = (0..found.len()).filter(|i| found[*i].is_none()).collect();
        let mut transaction = Transaction::default();
        for chunk in missing.chunks(ROI_CHUNK) {
            let boxes: Vec<BBox> = chunk.iter().map(|index| detections[*index].bbox).collect();
            let pooled = by_matrices_per_level(&pyramid.levels, &pyramid.scales, &boxes, MASK_POOL);
            match self.network.roi_heads.masks(pooled) {
                Some(masks) => transaction = transaction.register(masks),
                None => return Ok(Vec::new()),
            }
        }
        if !missing.is_empty() {
            for (chunk, maps) in missing.chunks(ROI_CHUNK).zip(read(transaction).await?) {
                for (index, maps) in chunk.iter().zip(maps.chunks_exact(self.classes() * CELLS)) {
                    found[*index] = Some(own_class(maps, detections[*index].class));
                }
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// A read-back of its own, for the few models whose class needs it.
    async fn slice_features(
        &self,
        pyramid: &GpuPyramid,
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

    async fn features(&self, pyramid: &GpuPyramid) -> Result<Vec<Vec<f32>>, PredictError> {
        let levels = pyramid.levels.iter();
        let transaction =
            levels.fold(Transaction::default(), |all, level| all.register(level.clone()));
        Ok(read(transaction).await?.collect())
    }
}
