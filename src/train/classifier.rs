//! Stage II: from the ranked regions of a slice to its class (docs/method.md, 2).

use std::path::Path;
use std::time::Instant;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::classes::CLASSES;
use crate::dataset::classes::ClassDataset;
use crate::detection::BBox;
use crate::detection::detections::{BoxOutputs, Detection};
use crate::detection::proposals::{ProposalCounts, select_proposals};
use crate::detection::roi_align::bins::level_scale;
use crate::detection::roi_batch::{NMS_THRESHOLD, ROI_FEATURES, RoiBatch, SCORE_THRESHOLD};
use crate::image::NetworkInput;
use crate::inference::model::{CLASSIFIER_METADATA, ModelFile, TEMPERATURE};
use crate::network::cpu_ops::roi_align::{PooledLayout, pool};
use crate::network::cpu_values::to_cpu_vec;
use crate::network::heads::BOX_POOL;
use crate::network::weights::StateDict;
use crate::network::{Architecture, MaskRcnn, MaskRcnnConfig, WeightsError};
use crate::train::adam::{Adam, AdamConfig};
use crate::train::augmentation::Change;
use crate::train::calibration::fit_temperature;
use crate::train::checkpoint::{self, Saved, write_whole};
use crate::train::config::{Augmentation, ClassifierConfig, Trainable};
use crate::train::curves::Curves;
use crate::train::freeze::train_only;
use crate::train::loader::{purpose, rng, shuffled};
use crate::train::losses;
use crate::train::run::{
    Limits, MODEL, Outcome, Progress, TRAINING, TrainError, difference, fresh_state,
};
use crate::train::segmentation::read_maps;

/// Regions whose boxes are computed at a time.
const CHUNK: usize = 256;
/// Name of the one loss.
pub const LOSS_NAMES: [&str; 1] = ["class"];

/// Whether stage II trains a parameter of this name (docs/method.md, 2.3).
fn is_trainable(name: &str, trainable: Trainable) -> bool {
    name.contains("new") || (trainable == Trainable::ScoreAndNorm && name.contains("bn"))
}

/// The classifier under training.
struct Stage<'a> {
    network: MaskRcnn,
    architecture: Architecture,
    config: &'a ClassifierConfig,
    device: &'a Device,
}

impl Stage<'_> {
    /// The ranked regions of a slice and their proposals. `levels` carry no gradient.
    fn regions(&self, levels: &[Tensor<4>], input: &NetworkInput) -> (Vec<Detection>, Vec<BBox>) {
        let maps: Vec<_> = self.network.rpn.forward(levels).iter().map(read_maps).collect();
        let image = (input.image_height, input.image_width);
        let padded = (input.height, input.width);
        let anchors = &self.architecture.anchors;
        let proposals = select_proposals(&maps, anchors, padded, image, ProposalCounts::TEST);
        let classes = self.architecture.masks.classes();
        let (mut logits, mut deltas) = (Vec::new(), Vec::new());
        for boxes in proposals.chunks(CHUNK) {
            let (chunk_logits, chunk_deltas) = self.boxes(levels, boxes, input);
            logits.extend(to_cpu_vec(chunk_logits.inner()));
            deltas.extend(to_cpu_vec(chunk_deltas.inner()));
        }
        let outputs = BoxOutputs { proposals, logits, deltas, classes, image };
        let found = outputs.detect(SCORE_THRESHOLD, NMS_THRESHOLD, self.config.roi_batch);
        (found, outputs.proposals)
    }

    fn boxes(
        &self,
        levels: &[Tensor<4>],
        boxes: &[BBox],
        input: &NetworkInput,
    ) -> (Tensor<2>, Tensor<2>) {
        let scales: Vec<f32> =
            levels.iter().map(|level| level_scale(level.dims()[2], input.height)).collect();
        let pooled = pool(levels, &scales, boxes, BOX_POOL, PooledLayout::ChannelsFirst);
        self.network.roi_heads.boxes(pooled)
    }

    fn levels(&self, input: &NetworkInput) -> Vec<Tensor<4>> {
        let data = TensorData::new(input.values.clone(), [1, 3, input.height, input.width]);
        self.network.features(Tensor::from_data(data, self.device))
    }

    /// The regions of a slice, for a trunk that does not change.
    fn fixed_regions(&self, input: &NetworkInput) -> Vec<Detection> {
        let levels: Vec<_> = self.levels(input).into_iter().map(Tensor::detach).collect();
        self.regions(&levels, input).0
    }

    /// Class logits `[1, 3]` from fixed regions.
    fn logits_of_regions(&self, regions: &[Detection], seed: u64) -> Tensor<2> {
        let size = self.config.roi_batch;
        let values = RoiBatch::spread(regions.to_vec(), size, seed).values(size);
        self.score(Tensor::from_data(
            TensorData::new(values, [1, size * ROI_FEATURES]),
            self.device,
        ))
    }

    /// Class logits `[1, 3]` of a slice, with gradients down to the first batch norm.
    ///
    /// The regions are chosen without gradients, and only the chosen ones are computed again with
    /// them: what is dropped has no gradient in the reference either.
    fn logits_of_slice(&self, input: &NetworkInput, seed: u64) -> Tensor<2> {
        let levels = self.levels(input);
        let fixed: Vec<_> = levels.iter().map(|level| level.clone().detach()).collect();
        let (regions, proposals) = self.regions(&fixed, input);
        if regions.is_empty() {
            return self.logits_of_regions(&[], seed);
        }
        let boxes: Vec<BBox> = regions.iter().map(|region| proposals[region.proposal]).collect();
        let (logits, deltas) = self.boxes(&levels, &boxes, input);
        let [count, classes] = logits.dims();
        let own = regions.iter().enumerate().map(|(row, region)| row * classes + region.class);
        let own = losses::indices(own, self.device);
        let scores = softmax(logits, 1).reshape([count * classes, 1]).select(0, own.clone());
        let deltas = deltas.reshape([count * classes, 4]).select(0, own);
        let slots = RoiBatch::spread(regions, self.config.roi_batch, seed).slots();
        let slots = losses::indices(slots, self.device);
        let batch = Tensor::cat(vec![scores, deltas], 1).select(0, slots);
        self.score(batch.reshape([1, self.config.roi_batch * ROI_FEATURES]))
    }

    fn score(&self, batch: Tensor<2>) -> Tensor<2> {
        match &self.network.s2new {
            Some(module) => module.forward(batch),
            None => Tensor::zeros([1, CLASSES], self.device),
        }
    }
}

/// Which slices are held out to fit the temperature, and a warning if they are not of patients of
/// their own.
pub fn hold_out(dataset: &ClassDataset, share: f64, seed: u64) -> (Vec<bool>, Option<String>) {
    let mut held = vec![false; dataset.files.len()];
    let mut warning = None;
    for class in 0..CLASSES {
        let members: Vec<usize> =
            (0..held.len()).filter(|index| dataset.files[*index].class == class).collect();
        let mut patients: Vec<String> =
            members.iter().map(|index| dataset.files[*index].patient_key()).collect();
        patients.sort_unstable();
        patients.dedup();
        if share <= 0.0 || members.len() < 2 {
            continue;
        }
        if patients.len() < 2 {
            // The last slices of the only patient: neighbours stay together.
            let count = ((members.len() as f64 * share).round() as usize).max(1);
            for index in &members[members.len() - count..] {
                held[*index] = true;
            }
            warning = Some(
                "a class has one patient only: the temperature is fitted on slices of a patient that was trained on".into(),
            );
            continue;
        }
        let mut rng = rng(seed, purpose::HOLDOUT, class as u64);
        let count = ((patients.len() as f64 * share).round() as usize).clamp(1, patients.len() - 1);
        for _ in 0..count {
            let patient = patients.swap_remove(rng.random_range(0..patients.len()));
            for index in
                members.iter().filter(|index| dataset.files[**index].patient_key() == patient)
            {
                held[*index] = true;
            }
        }
    }
    (held, warning)
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedProgress {
    step: u64,
    config: ClassifierConfig,
    /// The weights that stage II started from.
    base: String,
    seconds: f64,
}

/// What stage II found, beside the model.
#[derive(Clone, Debug)]
pub struct ClassifierOutcome {
    /// How the run ended.
    pub outcome: Outcome,
    /// Temperature of the softmax, if slices were held out.
    pub temperature: Option<f64>,
    /// What to know about it.
    pub warning: Option<String>,
}

/// Starting weights: the segmentation network's by name, module S fresh (docs/method.md, 2.5).
fn starting_state(
    base: &ModelFile,
    config: &ClassifierConfig,
) -> Result<(Architecture, StateDict), WeightsError> {
    let architecture = Architecture {
        score_module: Some((config.roi_batch, config.features)),
        mask_branch: false,
        ..base.detector()?.clone()
    };
    let fresh = fresh_state(&architecture, config.seed);
    let mut state = fresh.filtered(|name| name.starts_with("s2new."));
    let kept = base
        .state
        .clone()
        .filtered(|name| !name.starts_with("s2new.") && !name.starts_with("roi_heads.mask"));
    state.tensors.extend(kept.tensors);
    state.anchors = Some(architecture.anchors.clone());
    Ok((architecture, state))
}

/// Trains until done, or until `limits` say stop; goes on where the folder's checkpoint ends.
///
/// # Errors
/// If data, weights or folder fail, or the loss is no number any more.
pub fn train_classifier(
    dataset: &ClassDataset,
    base: &ModelFile,
    config: &ClassifierConfig,
    folder: &Path,
    device: &Device,
    limits: &Limits,
    mut report: impl FnMut(&Progress),
) -> Result<ClassifierOutcome, TrainError> {
    let started = Instant::now();
    let (architecture, mut state) = starting_state(base, config)?;
    let (mut adam, mut step, mut before) =
        (Adam::new(AdamConfig::with_decay(config.weight_decay)), 0, 0.0);
    if let Some(saved) = checkpoint::load::<SavedProgress>(folder)? {
        let Saved { weights, optimizer, progress: saved, .. } = saved;
        if saved.config != *config || saved.base != base.info.sha256 {
            let difference = if saved.base == base.info.sha256 {
                difference(&saved.config, config)
            } else {
                "it started from other weights".into()
            };
            return Err(TrainError::OtherRun { folder: folder.into(), difference });
        }
        state = weights;
        adam = Adam::resume(AdamConfig::with_decay(config.weight_decay), saved.step, &optimizer);
        (step, before) = (saved.step, saved.seconds);
    }
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    write_whole(&folder.join("config.json"), text.as_bytes())?;

    let network = MaskRcnnConfig::new(architecture.clone()).init_with(&state, device)?;
    let network = train_only(network, |name| is_trainable(name, config.trainable));
    let mut stage = Stage { network, architecture, config, device };
    let (held, warning) = hold_out(dataset, config.holdout, config.seed);
    let training: Vec<usize> = (0..held.len()).filter(|index| !held[*index]).collect();
    let batches = training.len().div_ceil(config.batch) as u64;
    let steps = batches * config.epochs;

    let input = |index: usize, change: Change| -> Result<NetworkInput, TrainError> {
        let slice = change.apply(dataset.read(&dataset.files[index])?);
        Ok(NetworkInput::resized(&slice, base.resize()))
    };
    // A trunk that stays as it is looks at every slice once.
    let mut fixed: Vec<[Option<Vec<Detection>>; 2]> = vec![[None, None]; held.len()];
    let mut curves = Curves::open(folder, &LOSS_NAMES, step);
    let save = |stage: &Stage<'_>, adam: &Adam, curves: &Curves, step: u64| {
        let mut weights = stage.network.state();
        weights.anchors = Some(stage.architecture.anchors.clone());
        let seconds = before + started.elapsed().as_secs_f64();
        let base = base.info.sha256.clone();
        let progress = SavedProgress { step, config: config.clone(), base, seconds };
        curves.save()?;
        let (average, optimizer) = (StateDict::default(), adam.state());
        let saved = Saved { weights: weights.clone(), average, optimizer, progress };
        checkpoint::save(folder, saved)?;
        Ok::<_, TrainError>((weights, seconds))
    };
    while step < steps {
        let epoch = step / batches;
        let order = shuffled(training.len(), config.seed, epoch);
        let first = (step % batches) as usize * config.batch;
        let members = &order[first..(first + config.batch).min(order.len())];
        let mut accumulator = GradientsAccumulator::new();
        let mut sum = 0.0f32;
        for (place, member) in members.iter().enumerate() {
            let index = training[*member];
            let number = step * config.batch as u64 + place as u64;
            let change = Change::draw(config.augmentation, config.seed, number);
            let seed: u64 = rng(config.seed, purpose::REPLICATION, number).random();
            let logits = match config.trainable {
                Trainable::ScoreAndNorm => stage.logits_of_slice(&input(index, change)?, seed),
                Trainable::Score => {
                    if !matches!(config.augmentation, Augmentation::None | Augmentation::Flip) {
                        let regions = stage.fixed_regions(&input(index, change)?);
                        stage.logits_of_regions(&regions, seed)
                    } else {
                        let slot = &mut fixed[index][usize::from(change.mirrored)];
                        let regions = match slot {
                            Some(regions) => regions,
                            None => slot.insert(stage.fixed_regions(&input(index, change)?)),
                        };
                        stage.logits_of_regions(regions, seed)
                    }
                }
            };
            let mut label = vec![0.0f32; CLASSES];
            label[dataset.files[index].class] = 1.0;
            let label = Tensor::from_data(TensorData::new(label, [1, CLASSES]), device);
            let loss = losses::binary_cross_entropy(logits, label) / members.len() as f64;
            let value = loss.clone().into_data().iter::<f32>().next().unwrap_or(f32::NAN);
            if !value.is_finite() {
                return Err(TrainError::Diverged { name: LOSS_NAMES[0], value, step });
            }
            sum += value;
            let gradients = GradientsParams::from_grads(loss.backward(), &stage.network);
            accumulator.accumulate(&stage.network, gradients);
        }
        let rate = config.learning_rate.at(step, steps);
        stage.network = adam.step(rate, stage.network, accumulator.grads());
        step += 1;
        curves.push(step, rate, &[sum]);
        report(&Progress { step, steps, losses: curves.latest_mean() });
        if limits.reached(started) {
            break;
        }
        if step.is_multiple_of(limits.checkpoint_every) {
            save(&stage, &adam, &curves, step)?;
        }
    }
    let (mut weights, seconds) = save(&stage, &adam, &curves, step)?;

    let mut examples = Vec::new();
    for index in (0..held.len()).filter(|index| held[*index]) {
        let logits = stage.logits_of_regions(&stage.fixed_regions(&input(index, Change::NONE)?), 0);
        let logits: Vec<f64> = to_cpu_vec(logits.inner()).into_iter().map(f64::from).collect();
        examples.push((logits, dataset.files[index].class));
    }
    let temperature = (!examples.is_empty()).then(|| fit_temperature(&examples));
    if config.trainable == Trainable::Score {
        // One file serves both stages: the trunk is the segmentation network's.
        let masks = base.state.clone().filtered(|name| name.starts_with("roi_heads.mask"));
        weights.tensors.extend(masks.tensors);
    }
    weights.metadata.clone_from(&base.state.metadata);
    weights.metadata.retain(|name, _| !CLASSIFIER_METADATA.contains(&name.as_str()));
    if let Some(temperature) = temperature {
        weights.metadata.insert(TEMPERATURE.into(), temperature.to_string());
    }
    let about = serde_json::json!({ "config": config, "steps": step, "seconds": seconds });
    weights.metadata.insert(format!("{TRAINING}_classifier"), about.to_string());
    write_whole(&folder.join(MODEL), &weights.to_pack()?)?;
    let outcome = Outcome { step, finished: step == steps, seconds };
    Ok(ClassifierOutcome { outcome, temperature, warning })
}
