//! A run of stage I: from a folder of slices to a model, with everything that may happen meanwhile.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dataset::DatasetError;
use crate::dataset::lesions::LesionDataset;
use crate::inference::model::RESIZE;
use crate::network::batch_norm::Statistics;
use crate::network::pretrained::{BODY, BackboneError, Taken, load_backbone};
use crate::network::{Architecture, MaskRcnn, MaskRcnnConfig, StateDict, Task, WeightsError};
use crate::train::adam::Adam;
use crate::train::average::WeightAverage;
use crate::train::checkpoint::{self, CheckpointError, Saved, write_whole};
use crate::train::config::{Norm, SegmentationConfig};
use crate::train::curves::Curves;
use crate::train::freeze::train_only;
use crate::train::segmentation::{LOSS_NAMES, TrainingSlice, losses, slices};
use crate::train::validation::{BEST, Look, Looks};

/// File name of the model in the run's folder.
pub const MODEL: &str = "model.bpk";
/// Name of the model's metadata that holds the run's configuration.
pub const TRAINING: &str = "training";
/// Name of the model's metadata that holds the same of the runs before, first to last.
pub const EARLIER_TRAINING: &str = "earlier_training";

/// Why a run ended without a model.
#[derive(Debug, Error)]
pub enum TrainError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The run's folder.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The weights.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Slices that are looked at while training lasts.
    #[error("validation at step {step}: {what}")]
    Validation {
        /// When.
        step: u64,
        /// What went wrong.
        what: String,
    },
    /// A loss that is no number.
    #[error("the {name} loss became {value} at step {step}; lower the learning rate")]
    Diverged {
        /// Which loss.
        name: &'static str,
        /// Its value.
        value: f32,
        /// When.
        step: u64,
    },
    /// A folder with another run in it.
    #[error(
        "{folder}: the run there has another configuration ({difference}); choose another --out, or the options it was started with"
    )]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// First thing that differs.
        difference: String,
    },
    /// The thread that reads slices is gone.
    #[error("reading slices ended unexpectedly")]
    Reader,
}

/// When to save and when to stop.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Stop with a checkpoint after this long.
    pub time: Option<Duration>,
    /// Stop with a checkpoint when this turns true.
    pub stop: Arc<AtomicBool>,
}

impl Limits {
    /// Whether to stop now.
    pub fn reached(&self, started: Instant) -> bool {
        self.stop.load(Ordering::Relaxed) || self.time.is_some_and(|time| started.elapsed() >= time)
    }
}

/// What a progress display shows.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// Smoothed losses, in the order of their names.
    pub losses: Vec<f64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedProgress {
    step: u64,
    config: SegmentationConfig,
    /// Seconds spent so far, over all resumptions.
    seconds: f64,
    /// Looks at the validation slices so far.
    #[serde(default)]
    looks: Looks,
}

/// What was measured, by name, the first of which decides; or why nothing was.
pub type Measures = Result<Vec<(String, f64)>, String>;

/// Looking at slices that the run does not learn from.
pub struct Validation<'a> {
    /// Steps between two looks.
    pub every: u64,
    /// Looks without anything better after which the run ends. Default: any number
    pub patience: Option<usize>,
    /// Measures weights.
    pub measure: &'a mut dyn FnMut(&StateDict) -> Measures,
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Steps done.
    pub step: u64,
    /// Whether these are all, or validation ended the run.
    pub finished: bool,
    /// Seconds spent, over all resumptions.
    pub seconds: f64,
}

fn architecture(config: &SegmentationConfig) -> Architecture {
    let masks = config.classes.masks();
    let paper = Architecture::paper(config.variant, Task::Segmentation, masks);
    Architecture { anchors: config.anchors.clone(), ..paper }
}

/// A fresh network whose weights depend on the seed alone.
pub fn fresh_state(architecture: &Architecture, seed: u64) -> StateDict {
    let device = Device::flex();
    device.seed(seed);
    let mut state = MaskRcnnConfig::new(architecture.clone()).init(&device).state();
    state.anchors = Some(architecture.anchors.clone());
    state
}

/// A fresh network for `config` whose body is the one in `backbone`.
///
/// # Errors
/// If that is no backbone of the variant.
pub fn state_with_backbone(
    config: &SegmentationConfig,
    backbone: &StateDict,
) -> Result<(StateDict, Taken), BackboneError> {
    let mut state = fresh_state(&architecture(config), config.seed);
    let taken = load_backbone(&mut state, BODY, config.variant, backbone)?;
    Ok((state, taken))
}

/// What is to be said of a model's training: its own, and the runs before, which `from` tells of.
fn provenance(own: &serde_json::Value, from: Option<&StateDict>) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(TRAINING.to_owned(), own.to_string())]);
    let said = |key: &str| -> Option<serde_json::Value> {
        serde_json::from_str(from?.metadata.get(key)?).ok()
    };
    let mut earlier = match said(EARLIER_TRAINING) {
        Some(serde_json::Value::Array(runs)) => runs,
        _ => Vec::new(),
    };
    earlier.extend(said(TRAINING));
    if !earlier.is_empty() {
        metadata.insert(EARLIER_TRAINING.into(), serde_json::Value::Array(earlier).to_string());
    }
    metadata
}

/// The network of a run, its gradients recorded where it learns.
fn network_of(
    config: &SegmentationConfig,
    state: &StateDict,
    device: &Device,
) -> Result<MaskRcnn, WeightsError> {
    let statistics = match config.norm {
        Norm::Batch => Statistics::Batch,
        Norm::Running | Norm::Frozen => Statistics::Running,
    };
    let network = MaskRcnnConfig::new(architecture(config))
        .init_with(state, device)?
        .with_statistics(statistics);
    Ok(train_only(network, |name| {
        let body = name.strip_prefix(BODY);
        !body.is_some_and(|name| config.freeze.holds(name) || config.norm.holds(name))
    }))
}

/// The folder's run if it has one, checked to be the one that is asked for.
fn take_up(
    folder: &Path,
    config: &SegmentationConfig,
) -> Result<Option<Saved<SavedProgress>>, TrainError> {
    let saved = checkpoint::load::<SavedProgress>(folder)?;
    if let Some(saved) = saved.as_ref().filter(|saved| saved.progress.config != *config) {
        let folder = folder.into();
        let difference = difference(&saved.progress.config, config);
        return Err(TrainError::OtherRun { folder, difference });
    }
    Ok(saved)
}

/// The first option that differs between two configurations.
pub(super) fn difference<T: Serialize>(there: &T, here: &T) -> String {
    let value = |config: &T| serde_json::to_value(config).unwrap_or_default();
    let (there, here) = (value(there), value(here));
    let fields = there.as_object().into_iter().flatten();
    fields
        .filter(|(name, value)| here.get(name.as_str()) != Some(*value))
        .map(|(name, value)| {
            let here = here.get(name.as_str()).map(ToString::to_string).unwrap_or_default();
            format!("{name} is {value} there and {here} here")
        })
        .next()
        .unwrap_or_else(|| "nothing that can be named".into())
}

/// Trains until done, or until `limits` say stop; goes on where the folder's checkpoint ends. A new
/// run starts from the weights `from`, or from fresh ones.
///
/// # Errors
/// If data or folder fail, or a loss is no number any more. The last checkpoint then still stands.
#[allow(clippy::too_many_arguments)]
pub fn train_segmentation(
    dataset: LesionDataset,
    from: Option<&StateDict>,
    config: &SegmentationConfig,
    folder: &Path,
    device: &Device,
    limits: &Limits,
    mut validation: Option<Validation<'_>>,
    mut report: impl FnMut(&Progress),
) -> Result<Outcome, TrainError> {
    let started = Instant::now();
    let architecture = architecture(config);
    let saved = take_up(folder, config)?.unwrap_or_else(|| {
        let weights = from.cloned().unwrap_or_else(|| fresh_state(&architecture, config.seed));
        // Other networks of the file that a run starts from are no part of it.
        let own = ["backbone.", "rpn.", "roi_heads."];
        let weights = weights.filtered(|name| own.iter().any(|part| name.starts_with(part)));
        let average = if config.average > 0.0 { weights.clone() } else { StateDict::default() };
        let looks = Looks::default();
        let progress = SavedProgress { step: 0, config: config.clone(), seconds: 0.0, looks };
        Saved { weights, average, optimizer: StateDict::default(), progress }
    });
    let (mut step, before) = (saved.progress.step, saved.progress.seconds);
    let mut looks = saved.progress.looks;
    let mut adam = Adam::resume(config.optimizer(), step, &saved.optimizer);
    let mut average =
        (config.average > 0.0).then(|| WeightAverage::new(config.average, saved.average));
    // A folder that cannot be written to should say so now.
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    write_whole(&folder.join("config.json"), text.as_bytes())?;

    let mut network = network_of(config, &saved.weights, device)?;
    let mut curves = Curves::open(folder, &LOSS_NAMES, step);
    let batch = config.batch as u64;
    let source = slices(Arc::new(dataset), config, step * batch);
    // What ships: the average where there is one.
    let model = |network: &MaskRcnn, average: Option<&WeightAverage>, step: u64, seconds: f64| {
        let mut model = average.map_or_else(|| network.state(), |average| average.state().clone());
        model.anchors = Some(architecture.anchors.clone());
        let training = serde_json::json!({ "config": config, "steps": step, "seconds": seconds });
        model.metadata = provenance(&training, from);
        model.metadata.insert(RESIZE.into(), config.resize.name().into());
        model
    };
    let save = |network: &MaskRcnn,
                average: Option<&WeightAverage>,
                adam: &Adam,
                curves: &Curves,
                looks: &Looks,
                step: u64| {
        let mut weights = network.state();
        weights.anchors = Some(architecture.anchors.clone());
        let seconds = before + started.elapsed().as_secs_f64();
        let looks = looks.clone();
        let progress = SavedProgress { step, config: config.clone(), seconds, looks };
        curves.save()?;
        let model = model(network, average, step, seconds);
        let average = average.map(|average| average.state().clone()).unwrap_or_default();
        checkpoint::save(folder, Saved { weights, average, optimizer: adam.state(), progress })?;
        write_whole(&folder.join(MODEL), &model.to_pack()?)?;
        Ok::<_, TrainError>(seconds)
    };

    let patience = validation.as_ref().and_then(|validation| validation.patience);
    let mut stalled = patience.is_some_and(|patience| looks.stalled(patience));
    while step < config.steps && !stalled {
        let mut accumulator = GradientsAccumulator::new();
        let mut sums = [0.0f32; LOSS_NAMES.len()];
        for number in step * batch..(step + 1) * batch {
            let slice = source.recv().map_err(|_| TrainError::Reader)??;
            let losses = losses(&network, config, &slice, number, device);
            let values = losses.values();
            for (index, value) in values.into_iter().enumerate() {
                if !value.is_finite() {
                    return Err(TrainError::Diverged { name: LOSS_NAMES[index], value, step });
                }
                sums[index] += value / batch as f32;
            }
            let total = losses.total(config.mask_weight) / batch as f64;
            let gradients = GradientsParams::from_grads(total.backward(), &network);
            accumulator.accumulate(&network, gradients);
        }
        let rate = config.learning_rate.at(step, config.steps);
        network = adam.step(rate, network, accumulator.grads());
        step += 1;
        if let Some(average) = &mut average {
            average.update(step, || network.state());
        }
        curves.push(step, rate, &sums);
        report(&Progress { step, steps: config.steps, losses: curves.latest_mean() });
        let mut due = step.is_multiple_of(limits.checkpoint_every);
        if let Some(validation) = &mut validation
            && (step.is_multiple_of(validation.every) || step == config.steps)
        {
            let seconds = before + started.elapsed().as_secs_f64();
            let model = model(&network, average.as_ref(), step, seconds);
            let measures = (validation.measure)(&model)
                .map_err(|what| TrainError::Validation { step, what })?;
            let score = measures.first().map_or(0.0, |(_, value)| *value);
            if looks.push(Look { step, score, measures }) {
                write_whole(&folder.join(BEST), &model.to_pack()?)?;
            }
            looks.save(folder)?;
            stalled = patience.is_some_and(|patience| looks.stalled(patience));
            due = true;
        }
        if limits.reached(started) {
            break;
        }
        if due {
            save(&network, average.as_ref(), &adam, &curves, &looks, step)?;
        }
    }
    let seconds = save(&network, average.as_ref(), &adam, &curves, &looks, step)?;
    Ok(Outcome { step, finished: stalled || step == config.steps, seconds })
}

/// Milliseconds of `runs` steps on one slice by [`SegmentationConfig::practical`], after two that are not
/// counted: the loop of [`train_segmentation`] without its files.
///
/// # Errors
/// If the weights cannot be placed on the device.
pub fn step_times(
    slice: &TrainingSlice,
    runs: usize,
    device: &Device,
) -> Result<Vec<f64>, TrainError> {
    let config = SegmentationConfig::practical();
    let state = fresh_state(&architecture(&config), config.seed);
    let mut network = network_of(&config, &state, device)?;
    let mut adam = Adam::new(config.optimizer());
    let mut times = Vec::with_capacity(runs);
    for number in 0..runs as u64 + 2 {
        let started = Instant::now();
        let losses = losses(&network, &config, slice, number, device);
        losses.values();
        let gradients =
            GradientsParams::from_grads(losses.total(config.mask_weight).backward(), &network);
        network = adam.step(config.learning_rate.peak, network, gradients);
        if number >= 2 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(times)
}
