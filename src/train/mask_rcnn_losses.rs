//! The five losses of a slice (docs/method.md, 1.4 to 1.6, 4).

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rayon::prelude::*;

use crate::dataset::DatasetError;
use crate::dataset::instances::{Instance, LesionSlice};
use crate::dataset::lesions::LesionDataset;
use crate::detection::matcher::{ignore_on, match_boxes};
use crate::detection::proposals::{ProposalCounts, RpnMaps, filter_proposals};
use crate::detection::roi_align::bins::level_scale;
use crate::detection::sampler::{Sample, sample};
use crate::detection::{BBox, BoxCoder};
use crate::image::NetworkInput;
use crate::network::MaskRcnn;
use crate::network::cpu_ops::roi_align::{PooledLayout, pool};
use crate::network::cpu_values::to_cpu_vec;
use crate::network::heads::{BOX_POOL, MASK_POOL, MASK_SIDE};
use crate::network::rpn::RpnLevel;
use crate::train::augmentation::Transform;
use crate::train::config::SegmentationConfig;
use crate::train::copy_paste::copy_lesions;
use crate::train::loader::{SampleInfo, SampleOrder, read_ahead};
use crate::train::losses;
use crate::train::rng::{RngStream, rng};
use crate::train::run::TrainError;
use crate::train::targets::mask_target;

/// Names of the losses, in the order of the reference table.
pub const LOSS_NAMES: [&str; 5] = ["roi_class", "roi_box", "mask", "objectness", "rpn_box"];

/// A slice as the network takes it, with its lesions in network pixels.
#[derive(Clone, Debug)]
pub struct TrainingSlice {
    /// The network's input.
    pub input: NetworkInput,
    /// The lesions.
    pub instances: Vec<Instance>,
    /// Places that are neither lesion nor background.
    pub ignored: Vec<BBox>,
}

impl TrainingSlice {
    /// Reads, changes and prepares slice `index` of `dataset` as draw `number` of a run.
    ///
    /// # Errors
    /// If its files changed.
    pub fn read(
        dataset: &LesionDataset,
        config: &SegmentationConfig,
        index: usize,
        number: u64,
    ) -> Result<Self, DatasetError> {
        let mut read = dataset.read(&dataset.files[index])?;
        if config.copy_paste > 0.0 && dataset.files[index].lesions == 0 {
            let mut rng = rng(config.seed, RngStream::CopyPaste, number);
            if rng.random_bool(config.copy_paste)
                && let Some(donor) = dataset.any_with_lesions(&mut rng)
            {
                read = copy_lesions(read, &dataset.read(donor)?, &dataset.rules(), &mut rng);
            }
        }
        let change = Transform::draw(config.augmentation, config.seed, number);
        Ok(Self::new(change.apply_with_lesions(
            read,
            config.resize,
            config.crop,
            config.minimum_area,
        )))
    }

    /// Prepares a slice that has the network's scale.
    pub fn new(slice: LesionSlice) -> Self {
        let input = NetworkInput::unscaled(&slice.slice);
        let ignored = slice.ignored.iter().map(|place| place.bbox).collect();
        Self { input, instances: slice.instances, ignored }
    }
}

/// The five losses of a slice, in the order of [`LOSS_NAMES`].
pub struct Losses(pub [Tensor<1>; 5]);

impl Losses {
    /// Their sum, the mask loss taken `mask_weight` times.
    pub fn total(&self, mask_weight: f64) -> Tensor<1> {
        let [class, bbox, mask, objectness, rpn] = self.0.clone();
        class + bbox + mask * mask_weight + objectness + rpn
    }

    /// Their values.
    pub fn values(&self) -> [f32; 5] {
        self.0.clone().map(|loss| losses::value(&loss))
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
    let mut rng = rng(config.seed, RngStream::Sampling, step);
    let input = &slice.input;
    let data = TensorData::new(input.normalised(), [1, 3, input.height, input.width]);
    let levels = network.features(Tensor::from_data(data, device));
    let heads = network.rpn.forward(&levels);
    let maps: Vec<RpnMaps> = heads.iter().map(read_maps).collect();
    let truth: Vec<BBox> = slice.instances.iter().map(|instance| instance.bbox).collect();

    let padded = (input.height, input.width);
    let anchors: Vec<BBox> = maps
        .iter()
        .flat_map(|maps| config.anchors.grid((maps.height, maps.width), padded))
        .collect();
    let mut matches = match_boxes(&truth, &anchors, config.rpn, true);
    ignore_on(&mut matches, &anchors, &slice.ignored, config.rpn.background);
    let chosen = sample(&matches, config.samples, config.positive_fraction, &mut rng);
    let per_location = config.anchors.anchors_per_location();
    let [objectness, rpn_box] =
        rpn_losses(&heads, &maps, per_location, &anchors, &truth, &chosen, device);

    let image = (input.image_height, input.image_width);
    let counts = ProposalCounts::TRAINING;
    let mut proposals = filter_proposals(&maps, &config.anchors, padded, image, counts);
    proposals.extend(&truth);
    let mut matches = match_boxes(&truth, &proposals, config.roi, false);
    ignore_on(&mut matches, &proposals, &slice.ignored, config.roi.background);
    let chosen = sample(&matches, config.samples, config.roi_positive_fraction, &mut rng);
    let scales: Vec<f32> =
        levels.iter().map(|level| level_scale(level.dims()[2], input.height)).collect();
    let [class, bbox, mask] =
        roi_losses(network, &levels, &scales, slice, &proposals, &chosen, device);
    Losses([class, bbox, mask, objectness, rpn_box])
}

/// The head's maps on the host.
pub fn read_maps(level: &RpnLevel) -> RpnMaps {
    let [_, _, height, width] = level.objectness.dims();
    let values = |tensor: &Tensor<4>| to_cpu_vec(tensor.clone().detach());
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

/// Adds the gradients of step `step` to `accumulator`: the mean over its slices, which come from `source`. The
/// losses, in the order of [`LOSS_NAMES`].
///
/// # Errors
/// If a slice cannot be read.
pub fn accumulate(
    network: &MaskRcnn,
    config: &SegmentationConfig,
    source: &Receiver<Result<Arc<TrainingSlice>, DatasetError>>,
    step: u64,
    device: &Device,
    accumulator: &mut GradientsAccumulator<MaskRcnn>,
) -> Result<[f32; 5], TrainError> {
    let batch = config.batch as u64;
    let mut sums = [0.0; LOSS_NAMES.len()];
    for number in step * batch..(step + 1) * batch {
        let slice = source.recv().map_err(|_| TrainError::Reader)??;
        let losses = losses(network, config, &slice, number, device);
        for (sum, value) in sums.iter_mut().zip(losses.values()) {
            *sum += value / batch as f32;
        }
        let total = losses.total(config.mask_weight) / batch as f64;
        accumulator.accumulate(network, GradientsParams::from_grads(total.backward(), network));
    }
    Ok(sums)
}

/// The order in which a run takes the slices of `dataset`.
pub fn order(dataset: &LesionDataset, config: &SegmentationConfig) -> SampleOrder {
    let slice = |file: &crate::dataset::lesions::LesionFile| SampleInfo {
        patient: file.patient_key(),
        source: file.source,
        is_negative: file.lesions == 0,
    };
    SampleOrder {
        slices: dataset.files.iter().map(slice).collect(),
        weights: dataset.sources.iter().map(|source| source.weight).collect(),
        negatives: config.negatives,
        sampling: config.sampling,
        seed: config.seed,
    }
}

/// The slices of a run, read ahead from slice number `first` on.
pub fn slices(
    dataset: Arc<LesionDataset>,
    config: &SegmentationConfig,
    first: u64,
) -> Receiver<Result<Arc<TrainingSlice>, DatasetError>> {
    let (order, config) = (order(&dataset, config), config.clone());
    read_ahead(order.from(first), move |index, number| {
        TrainingSlice::read(&dataset, &config, index, number)
    })
}
