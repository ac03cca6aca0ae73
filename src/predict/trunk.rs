//! Runs a network on its device and reads the results back.
//!
//! A read-back from a GPU is a round trip through the browser's event loop, so there are two a
//! slice: the proposal maps, then the box outputs together with the masks of the boxes that the
//! device itself expects to survive ([`crate::network::candidates`]). Only a slice with more lesions
//! than [`EXPECTED_LESIONS`] costs a third.

use burn::tensor::{Device, Tensor, TensorData, Transaction};

use super::canary::{self, Canary};
use super::detections::{BoxOutputs, Detection};
use super::monitor::{Monitor, Stage};
use super::predictor::PredictError;
use super::proposals::{ProposalCounts, RpnMaps, select_proposals};
use super::settings::Settings;
use crate::geometry::{AnchorGenerator, BBox};
use crate::image::NetworkInput;
use crate::network::candidates::{self, CandidateRule};
use crate::network::cpu_conv::channels_last;
use crate::network::heads::{BOX_POOL, MASK_POOL, MASK_SIDE};
use crate::network::roi_align::{HostLevel, by_lookup, by_matrices_per_level, level_scale};
use crate::network::{Architecture, MaskRcnn};

/// Regions pooled at a time: bounds memory whatever their number.
const ROI_CHUNK: usize = 64;
/// Masks computed on a GPU before the host has chosen the lesions.
pub const EXPECTED_LESIONS: usize = 32;

/// A network ready for inference.
#[derive(Debug)]
pub struct Trunk {
    network: MaskRcnn,
    anchors: AnchorGenerator,
    classes: usize,
    device: Device,
    is_cpu: bool,
}

/// The pyramid on the device, or laid out for look-ups on the host.
enum Levels {
    Host { levels: Vec<HostLevel>, scales: Vec<f32> },
    Device { levels: Vec<Tensor<4>>, scales: Vec<f32> },
}

/// What the box stage leaves for the mask stage.
pub struct TrunkOutput {
    levels: Levels,
    /// Box outputs on the host.
    pub boxes: BoxOutputs,
    /// Masks computed ahead: proposal, class and logits of all classes.
    ahead: Vec<(usize, usize, Vec<f32>)>,
}

fn device_error(error: impl std::fmt::Display) -> PredictError {
    PredictError::Device { reason: error.to_string() }
}

fn values(data: TensorData) -> Result<Vec<f32>, PredictError> {
    data.try_into_vec_as::<f32>().map_err(|error| device_error(format!("{error:?}")))
}

fn finite(values: &[f32], what: &'static str) -> Result<(), PredictError> {
    if values.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(PredictError::NotFinite { what })
    }
}

impl Trunk {
    /// Folds and prepares `network` for inference on `device`.
    pub fn new(
        network: MaskRcnn,
        architecture: &Architecture,
        device: &Device,
        is_cpu: bool,
    ) -> Self {
        let network = network.fold_batch_norm();
        Self {
            network: if is_cpu { network.prepare_cpu() } else { network },
            anchors: architecture.anchors.clone(),
            classes: architecture.masks.classes(),
            device: device.clone(),
            is_cpu,
        }
    }

    fn upload(&self, input: &NetworkInput) -> Tensor<4> {
        let data = TensorData::new(input.values.clone(), [1, 3, input.height, input.width]);
        Tensor::from_data(data, &self.device)
    }

    /// Features, proposals and boxes of one slice.
    pub async fn run(
        &self,
        input: &NetworkInput,
        settings: Option<&Settings>,
        monitor: &mut impl Monitor,
        clock: &mut impl FnMut(Stage),
    ) -> Result<TrunkOutput, PredictError> {
        monitor.enter(Stage::Features).await?;
        let body = &self.network.backbone.body;
        let mut hidden = body.stem(self.upload(input));
        let mut maps = Vec::new();
        for index in 0..body.layers() {
            monitor.enter(Stage::Features).await?;
            hidden = body.layer(index, hidden);
            maps.push(hidden.clone());
        }
        monitor.enter(Stage::Features).await?;
        let levels = self.network.backbone.pyramid(maps);
        let maps = self.read_rpn(&levels).await?;
        clock(Stage::Features);

        monitor.enter(Stage::Proposals).await?;
        let image = (input.image_height, input.image_width);
        let proposals = select_proposals(
            &maps,
            &self.anchors,
            (input.height, input.width),
            image,
            ProposalCounts::TEST,
        );
        clock(Stage::Proposals);

        monitor.enter(Stage::Boxes).await?;
        let levels = self.place(levels, input);
        let output = self.boxes(levels, proposals, image, settings).await?;
        clock(Stage::Boxes);
        Ok(output)
    }

    /// First read-back: the proposal maps of every level.
    async fn read_rpn(&self, levels: &[Tensor<4>]) -> Result<Vec<RpnMaps>, PredictError> {
        let heads = self.network.rpn.forward(levels);
        let mut transaction = Transaction::default();
        for head in &heads {
            transaction =
                transaction.register(head.objectness.clone()).register(head.deltas.clone());
        }
        let mut data = transaction.execute_async().await.map_err(device_error)?.into_iter();
        let mut maps = Vec::with_capacity(heads.len());
        for head in &heads {
            let [_, _, height, width] = head.objectness.dims();
            let (Some(objectness), Some(deltas)) = (data.next(), data.next()) else {
                return Err(device_error("the device returned too few tensors"));
            };
            let (objectness, deltas) = (values(objectness)?, values(deltas)?);
            finite(&objectness, "proposal scores")?;
            finite(&deltas, "proposal boxes")?;
            maps.push(RpnMaps { objectness, deltas, height, width });
        }
        Ok(maps)
    }

    fn place(&self, levels: Vec<Tensor<4>>, input: &NetworkInput) -> Levels {
        let scales =
            levels.iter().map(|level| level_scale(level.dims()[2], input.height)).collect();
        if !self.is_cpu {
            return Levels::Device { levels, scales };
        }
        let levels = levels
            .into_iter()
            .map(|level| {
                let [_, channels, height, width] = level.dims();
                HostLevel::new(channels_last(level), [channels, height, width])
            })
            .collect();
        Levels::Host { levels, scales }
    }

    fn pool(&self, levels: &Levels, boxes: &[BBox], bins: usize) -> Tensor<4> {
        match levels {
            Levels::Host { levels, scales } => by_lookup(levels, scales, boxes, bins, &self.device),
            Levels::Device { levels, scales } => by_matrices_per_level(levels, scales, boxes, bins),
        }
    }

    /// Second read-back: box outputs and, on a GPU, the masks expected to be needed.
    async fn boxes(
        &self,
        levels: Levels,
        proposals: Vec<BBox>,
        image: (usize, usize),
        settings: Option<&Settings>,
    ) -> Result<TrunkOutput, PredictError> {
        let outputs = |logits, deltas| BoxOutputs {
            proposals: proposals.clone(),
            logits,
            deltas,
            classes: self.classes,
            image,
        };
        if proposals.is_empty() {
            let boxes = outputs(Vec::new(), Vec::new());
            return Ok(TrunkOutput { levels, boxes, ahead: Vec::new() });
        }
        let (mut logits, mut deltas) = (Vec::new(), Vec::new());
        for chunk in proposals.chunks(ROI_CHUNK) {
            let pooled = self.pool(&levels, chunk, BOX_POOL);
            let (chunk_logits, chunk_deltas) = self.network.roi_heads.boxes(pooled);
            logits.push(chunk_logits);
            deltas.push(chunk_deltas);
        }
        let (logits, deltas) = (Tensor::cat(logits, 0), Tensor::cat(deltas, 0));
        let mut transaction =
            Transaction::default().register(logits.clone()).register(deltas.clone());

        let expected = match (&levels, settings) {
            (Levels::Device { levels, scales }, Some(settings))
                if levels.len() == 1 && self.network.roi_heads.has_masks() =>
            {
                let rule = CandidateRule {
                    score_threshold: settings.score_threshold,
                    nms_threshold: settings.nms_threshold,
                    image,
                    count: EXPECTED_LESIONS.min(settings.detections).min(proposals.len()),
                };
                let chosen = candidates::choose(logits, deltas, &proposals, &rule);
                let pooled = candidates::pool(&levels[0], chosen.boxes, scales[0], MASK_POOL);
                self.network.roi_heads.masks(pooled).map(|masks| (chosen.rows, masks))
            }
            _ => None,
        };
        let has_masks = expected.is_some();
        if let Some((rows, masks)) = expected {
            transaction = transaction.register(rows).register(masks);
        }
        let mut data = transaction.execute_async().await.map_err(device_error)?.into_iter();
        let mut next = || {
            data.next()
                .ok_or_else(|| device_error("the device returned too few tensors"))
                .and_then(values)
        };
        let (logits, deltas) = (next()?, next()?);
        finite(&logits, "box scores")?;
        finite(&deltas, "box deltas")?;
        let mut ahead = Vec::new();
        if has_masks {
            let (rows, masks) = (next()?, next()?);
            let maps = masks.chunks_exact(self.classes * MASK_SIDE * MASK_SIDE);
            for (row, map) in rows.iter().zip(maps).filter(|(row, _)| **row >= 0.0) {
                // A row is `proposal * foreground classes + class - 1`.
                let (row, foreground) = (*row as usize, self.classes - 1);
                ahead.push((row / foreground, row % foreground + 1, map.to_vec()));
            }
        }
        Ok(TrunkOutput { levels, boxes: outputs(logits, deltas), ahead })
    }

    /// Mask logits `[28, 28]` of each detection, for its own class.
    pub async fn masks(
        &self,
        output: TrunkOutput,
        detections: &[Detection],
    ) -> Result<Vec<Vec<f32>>, PredictError> {
        let cells = MASK_SIDE * MASK_SIDE;
        let own_class = |maps: &[f32], class: usize| maps[class * cells..][..cells].to_vec();
        let mut found: Vec<Option<Vec<f32>>> = detections
            .iter()
            .map(|detection| {
                let known = output.ahead.iter().find(|(proposal, class, _)| {
                    (*proposal, *class) == (detection.proposal, detection.class)
                });
                known.map(|(_, class, maps)| own_class(maps, *class))
            })
            .collect();
        let missing: Vec<usize> = (0..found.len()).filter(|i| found[*i].is_none()).collect();
        let mut transaction = Transaction::default();
        for chunk in missing.chunks(ROI_CHUNK) {
            let boxes: Vec<BBox> = chunk.iter().map(|index| detections[*index].bbox).collect();
            let pooled = self.pool(&output.levels, &boxes, MASK_POOL);
            match self.network.roi_heads.masks(pooled) {
                Some(masks) => transaction = transaction.register(masks),
                None => return Ok(Vec::new()),
            }
        }
        if !missing.is_empty() {
            let data = transaction.execute_async().await.map_err(device_error)?;
            for (chunk, data) in missing.chunks(ROI_CHUNK).zip(data) {
                let maps = values(data)?;
                finite(&maps, "masks")?;
                for (index, maps) in chunk.iter().zip(maps.chunks_exact(self.classes * cells)) {
                    found[*index] = Some(own_class(maps, detections[*index].class));
                }
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Computes the canary.
    pub async fn canary(&self) -> Result<Canary, PredictError> {
        let input = canary::input();
        let levels = self.network.features(self.upload(&input));
        let maps = self.read_rpn(&levels).await?;
        let proposals = maps
            .iter()
            .flat_map(|level| [canary::sample(&level.objectness), canary::sample(&level.deltas)])
            .flatten()
            .collect();
        let levels = self.place(levels, &input);
        let image = (input.image_height, input.image_width);
        // Everything is a candidate, so the choice on the device is exercised as well.
        let settings =
            Settings { score_threshold: -1.0, nms_threshold: 1.0, ..Settings::default() };
        let output = self.boxes(levels, canary::boxes().to_vec(), image, Some(&settings)).await?;
        let boxes = output.boxes.logits.iter().chain(&output.boxes.deltas).copied().collect();
        let mut masks = Vec::new();
        if self.network.roi_heads.has_masks() {
            let mut detections =
                output.boxes.detect(-1.0, 1.0, canary::boxes().len() * self.classes);
            detections.sort_by_key(|detection| (detection.proposal, detection.class));
            for map in self.masks(output, &detections).await? {
                masks.extend(canary::sample(&map));
            }
        }
        Ok(Canary { proposals, boxes, masks })
    }

    /// Intermediate results for comparison with other implementations.
    pub async fn inspect(&self, input: &NetworkInput) -> Result<Inspection, PredictError> {
        let levels = self.network.features(self.upload(input));
        let maps = self.read_rpn(&levels).await?;
        let transaction =
            levels.iter().fold(Transaction::default(), |all, level| all.register(level.clone()));
        let features = transaction.execute_async().await.map_err(device_error)?;
        let features = features.into_iter().map(values).collect::<Result<_, _>>()?;
        let image = (input.image_height, input.image_width);
        let proposals = select_proposals(
            &maps,
            &self.anchors,
            (input.height, input.width),
            image,
            ProposalCounts::TEST,
        );
        let boxes = self.boxes(self.place(levels, input), proposals, image, None).await?.boxes;
        Ok(Inspection { features, maps, boxes })
    }
}

/// Outputs of every stage before the choice of lesions.
#[derive(Debug)]
pub struct Inspection {
    /// Pyramid levels, `[256, height, width]` each.
    pub features: Vec<Vec<f32>>,
    /// Proposal maps.
    pub maps: Vec<RpnMaps>,
    /// Proposals, their logits and deltas.
    pub boxes: BoxOutputs,
}
