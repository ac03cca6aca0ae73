//! Stage I: one slice, five losses (specification 1.4 to 1.6, 4).

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::augmentation::Change;
use super::config::SegmentationConfig;
use super::dataset::DatasetError;
use super::dataset::lesions::{Instance, LesionDataset, LesionSlice};
use super::loader::{purpose, rng};
use super::losses;
use super::matcher::match_boxes;
use super::sampler::{Sample, sample};
use super::targets::mask_target;
use crate::geometry::roi_pooling::level_scale;
use crate::geometry::{BBox, BoxCoder, Mask};
use crate::image::NetworkInput;
use crate::network::MaskRcnn;
use crate::network::heads::{BOX_POOL, MASK_POOL, MASK_SIDE};
use crate::network::host_ops::roi_align::{PooledLayout, pool};
use crate::network::host_values::host_values;
use crate::network::rpn::RpnLevel;
use crate::predict::proposals::{ProposalCounts, RpnMaps, select_proposals};

/// Names of the losses, in the order of the reference table.
pub const LOSS_NAMES: [&str; 5] = ["roi_class", "roi_box", "mask", "objectness", "rpn_box"];

/// A slice as the network takes it, with its lesions in network pixels.
#[derive(Clone, Debug)]
pub struct TrainingSlice {
    /// The network's input.
    pub input: NetworkInput,
    /// The lesions.
    pub instances: Vec<Instance>,
}

impl TrainingSlice {
    /// Reads, changes and prepares a slice of `dataset`.
    ///
    /// # Errors
    /// If its files changed.
    pub fn read(
        dataset: &LesionDataset,
        index: usize,
        change: Change,
    ) -> Result<Self, DatasetError> {
        let read = dataset.read(&dataset.files[index])?;
        Ok(Self::new(change.apply_with_lesions(read, dataset.minimum_area())))
    }

    /// Prepares a slice.
    pub fn new(slice: LesionSlice) -> Self {
        let input = NetworkInput::new(&slice.slice);
        let size = (input.image_width, input.image_height);
        let instances = slice
            .instances
            .into_iter()
            .map(|instance| Instance {
                bbox: instance.bbox.scale(1.0 / input.to_slice[0], 1.0 / input.to_slice[1]),
                mask: resize_nearest(&instance.mask, size),
                class: instance.class,
            })
            .collect();
        Self { input, instances }
    }
}

fn resize_nearest(mask: &Mask, (width, height): (usize, usize)) -> Mask {
    if (mask.width, mask.height) == (width, height) {
        return mask.clone();
    }
    let source = |at: usize, from: usize, to: usize| (at * from / to).min(from - 1);
    let pixels = (0..height)
        .flat_map(|y| {
            let row = source(y, mask.height, height) * mask.width;
            (0..width).map(move |x| row + source(x, mask.width, width))
        })
        .map(|index| mask.pixels[index])
        .collect();
    Mask { width, height, pixels }
}

/// The five losses of a slice, in the order of [`LOSS_NAMES`].
pub struct Losses(pub [Tensor<1>; 5]);

impl Losses {
    /// Their sum.
    pub fn total(&self) -> Tensor<1> {
        let [class, bbox, mask, objectness, rpn] = self.0.clone();
        class + bbox + mask + objectness + rpn
    }

    /// Their values.
    pub fn values(&self) -> [f32; 5] {
        self.0.clone().map(|loss| loss.into_data().iter::<f32>().next().unwrap_or(f32::NAN))
    }
}

/// The losses of `slice`; `step` decides what is sampled.
pub fn losses(
    network: &MaskRcnn,
    config: &SegmentationConfig,
    slice: &TrainingSlice,
    step: u64,
    device: &Device,
) -> Losses {
    let mut rng = rng(config.seed, purpose::SAMPLING, step);
    let input = &slice.input;
    let data = TensorData::new(input.values.clone(), [1, 3, input.height, input.width]);
    let levels = network.features(Tensor::from_data(data, device));
    let heads = network.rpn.forward(&levels);
    let maps: Vec<RpnMaps> = heads.iter().map(read_maps).collect();
    let truth: Vec<BBox> = slice.instances.iter().map(|instance| instance.bbox).collect();

    let padded = (input.height, input.width);
    let anchors: Vec<BBox> = maps
        .iter()
        .flat_map(|maps| config.anchors.grid((maps.height, maps.width), padded))
        .collect();
    let matches = match_boxes(&truth, &anchors, config.rpn, true);
    let chosen = sample(&matches, config.samples, config.positive_fraction, &mut rng);
    let per_location = config.anchors.anchors_per_location();
    let [objectness, rpn_box] =
        rpn_losses(&heads, &maps, per_location, &anchors, &truth, &chosen, device);

    let image = (input.image_height, input.image_width);
    let counts = ProposalCounts::TRAINING;
    let mut proposals = select_proposals(&maps, &config.anchors, padded, image, counts);
    proposals.extend(&truth);
    let matches = match_boxes(&truth, &proposals, config.roi, false);
    let chosen = sample(&matches, config.samples, config.positive_fraction, &mut rng);
    let scales: Vec<f32> =
        levels.iter().map(|level| level_scale(level.dims()[2], input.height)).collect();
    let [class, bbox, mask] =
        roi_losses(network, &levels, &scales, slice, &proposals, &chosen, device);
    Losses([class, bbox, mask, objectness, rpn_box])
}

/// The head's maps on the host.
pub fn read_maps(level: &RpnLevel) -> RpnMaps {
    let [_, _, height, width] = level.objectness.dims();
    let values = |tensor: &Tensor<4>| host_values(tensor.clone().detach());
    RpnMaps { objectness: values(&level.objectness), deltas: values(&level.deltas), height, width }
}

fn rows<const D: usize>(values: Vec<f32>, dims: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, dims), device)
}

fn zero(device: &Device) -> Tensor<1> {
    Tensor::zeros([1], device)
}

fn rpn_losses(
    heads: &[RpnLevel],
    maps: &[RpnMaps],
    per_location: usize,
    anchors: &[BBox],
    truth: &[BBox],
    chosen: &Sample,
    device: &Device,
) -> [Tensor<1>; 2] {
    if chosen.is_empty() {
        return [zero(device), zero(device)];
    }
    // An anchor's place in the maps laid end to end, `[anchors, height, width]` each.
    let place = |index: usize| {
        let (mut first, mut cells_before) = (0, 0);
        for level in maps {
            let cells = level.height * level.width;
            if index < first + cells * per_location {
                let inside = index - first;
                let (cell, anchor) = (inside / per_location, inside % per_location);
                return (cells_before, cells, anchor, cell);
            }
            first += cells * per_location;
            cells_before += cells;
        }
        unreachable!("anchors are numbered along the maps");
    };
    let flat = |maps: Vec<Tensor<4>>| -> Tensor<1> {
        Tensor::cat(maps.into_iter().map(|map| map.flatten::<1>(0, 3)).collect(), 0)
    };
    let logits = flat(heads.iter().map(|head| head.objectness.clone()).collect());
    let all = chosen.positives.iter().map(|positive| positive.0).chain(chosen.negatives.clone());
    let logit_places = all.map(|index| {
        let (before, cells, anchor, cell) = place(index);
        before * per_location + anchor * cells + cell
    });
    let logits = logits.select(0, losses::indices(logit_places, device));
    let mut labels = vec![1.0; chosen.positives.len()];
    labels.resize(chosen.len(), 0.0);
    let labels = rows(labels, [chosen.len()], device);
    let objectness = losses::binary_cross_entropy(logits, labels);
    if chosen.positives.is_empty() {
        return [objectness, zero(device)];
    }
    let deltas = flat(heads.iter().map(|head| head.deltas.clone()).collect());
    let delta_places = chosen.positives.iter().flat_map(|(index, _)| {
        let (before, cells, anchor, cell) = place(*index);
        (0..4).map(move |k| (before * per_location + anchor * cells) * 4 + k * cells + cell)
    });
    let count = chosen.positives.len();
    let deltas = deltas.select(0, losses::indices(delta_places, device)).reshape([count, 4]);
    let targets = encoded(&BoxCoder::RPN, anchors, truth, chosen, device);
    [objectness, losses::l1_sum(deltas, targets) / chosen.len() as f64]
}

fn encoded(
    coder: &BoxCoder,
    boxes: &[BBox],
    truth: &[BBox],
    chosen: &Sample,
    device: &Device,
) -> Tensor<2> {
    let values = chosen
        .positives
        .iter()
        .flat_map(|(index, truth_index)| coder.encode(&truth[*truth_index], &boxes[*index]));
    rows(values.collect(), [chosen.positives.len(), 4], device)
}

fn roi_losses(
    network: &MaskRcnn,
    levels: &[Tensor<4>],
    scales: &[f32],
    slice: &TrainingSlice,
    proposals: &[BBox],
    chosen: &Sample,
    device: &Device,
) -> [Tensor<1>; 3] {
    if chosen.is_empty() {
        return [zero(device), zero(device), zero(device)];
    }
    let positives: Vec<BBox> =
        chosen.positives.iter().map(|(index, _)| proposals[*index]).collect();
    let mut boxes = positives.clone();
    boxes.extend(chosen.negatives.iter().map(|index| proposals[*index]));
    let layout = PooledLayout::ChannelsFirst;
    let (logits, deltas) = network.roi_heads.boxes(pool(levels, scales, &boxes, BOX_POOL, layout));
    let classes = logits.dims()[1];
    let own: Vec<usize> =
        chosen.positives.iter().map(|(_, truth)| slice.instances[*truth].class).collect();
    let mut labels = own.clone();
    labels.resize(chosen.len(), 0);
    let class_loss = losses::cross_entropy(logits, &labels);
    if positives.is_empty() {
        return [class_loss, zero(device), zero(device)];
    }

    let count = positives.len();
    let own_rows = |length: usize| {
        let rows = own.iter().enumerate().map(move |(row, class)| row * length + class);
        losses::indices(rows, device)
    };
    let deltas = deltas.slice([0..count, 0..classes * 4]).reshape([count * classes, 4]);
    let deltas = deltas.select(0, own_rows(classes));
    let truth: Vec<BBox> = slice.instances.iter().map(|instance| instance.bbox).collect();
    let targets = encoded(&BoxCoder::ROI, proposals, &truth, chosen, device);
    let box_loss = losses::smooth_l1_sum(deltas, targets) / chosen.len() as f64;

    let pooled = pool(levels, scales, &positives, MASK_POOL, PooledLayout::ChannelsLast);
    let Some(maps) = network.roi_heads.masks(pooled) else {
        return [class_loss, box_loss, zero(device)];
    };
    let cells = MASK_SIDE * MASK_SIDE;
    let maps = maps.reshape([count * classes, cells]).select(0, own_rows(classes));
    let targets: Vec<Vec<f32>> = chosen
        .positives
        .par_iter()
        .map(|(index, truth)| mask_target(&slice.instances[*truth].mask, &proposals[*index]))
        .collect();
    let targets = rows(targets.concat(), [count, cells], device);
    [class_loss, box_loss, losses::binary_cross_entropy(maps, targets)]
}

/// The slices of a run, read ahead from slice number `first` on.
pub fn slices(
    dataset: Arc<LesionDataset>,
    config: &SegmentationConfig,
    first: u64,
) -> std::sync::mpsc::Receiver<Result<Arc<TrainingSlice>, DatasetError>> {
    let patients = dataset.patient_names();
    let order = super::loader::Order {
        patients,
        sampling: config.sampling,
        augmentation: config.augmentation,
        seed: config.seed,
    };
    super::loader::read_ahead(order.from(first), move |index, change| {
        TrainingSlice::read(&dataset, index, change)
    })
}
