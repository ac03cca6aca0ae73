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

use super::adam::Adam;
use super::average::WeightAverage;
use super::checkpoint::{self, CheckpointError, Saved, write_whole};
use super::config::SegmentationConfig;
use super::curves::Curves;
use super::dataset::DatasetError;
use super::dataset::lesions::LesionDataset;
use super::segmentation::{LOSS_NAMES, TrainingSlice, losses, slices};
use crate::network::batch_norm::Statistics;
use crate::network::{Architecture, MaskRcnn, MaskRcnnConfig, StateDict, Task, WeightsError};

/// File name of the model in the run's folder.
pub const MODEL: &str = "model.bpk";
/// Name of the model's metadata that holds the run's configuration.
pub const TRAINING: &str = "training";

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
}

/// How a run ended.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Steps done.
    pub step: u64,
    /// Whether these are all.
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
pub fn train_segmentation(
    dataset: LesionDataset,
    from: Option<&StateDict>,
    config: &SegmentationConfig,
    folder: &Path,
    device: &Device,
    limits: &Limits,
    mut report: impl FnMut(&Progress),
) -> Result<Outcome, TrainError> {
    let started = Instant::now();
    let architecture = architecture(config);
    let saved = take_up(folder, config)?.unwrap_or_else(|| {
        let weights = from.cloned().unwrap_or_else(|| fresh_state(&architecture, config.seed));
        let average = if config.average > 0.0 { weights.clone() } else { StateDict::default() };
        let progress = SavedProgress { step: 0, config: config.clone(), seconds: 0.0 };
        Saved { weights, average, optimizer: StateDict::default(), progress }
    });
    let (mut step, before) = (saved.progress.step, saved.progress.seconds);
    let mut adam = Adam::resume(config.weight_decay, step, &saved.optimizer);
    let mut average =
        (config.average > 0.0).then(|| WeightAverage::new(config.average, saved.average));
    // A folder that cannot be written to should say so now.
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    write_whole(&folder.join("config.json"), text.as_bytes())?;

    let mut network = MaskRcnnConfig::new(architecture.clone())
        .init_with(&saved.weights, device)?
        .with_statistics(Statistics::Batch);
    let mut curves = Curves::open(folder, &LOSS_NAMES, step);
    let batch = config.batch as u64;
    let source = slices(Arc::new(dataset), config, step * batch);
    let save = |network: &MaskRcnn,
                average: Option<&WeightAverage>,
                adam: &Adam,
                curves: &Curves,
                step: u64| {
        let mut weights = network.state();
        weights.anchors = Some(architecture.anchors.clone());
        let seconds = before + started.elapsed().as_secs_f64();
        let progress = SavedProgress { step, config: config.clone(), seconds };
        curves.save()?;
        let average = average.map(|average| average.state().clone());
        let mut model = average.clone().unwrap_or_else(|| weights.clone());
        model.anchors.clone_from(&weights.anchors);
        let (average, optimizer) = (average.unwrap_or_default(), adam.state());
        checkpoint::save(folder, Saved { weights, average, optimizer, progress })?;
        let training = serde_json::json!({ "config": config, "steps": step, "seconds": seconds });
        model.metadata = BTreeMap::from([(TRAINING.into(), training.to_string())]);
        write_whole(&folder.join(MODEL), &model.to_pack()?)?;
        Ok::<_, TrainError>(seconds)
    };

    while step < config.steps {
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
            let total = losses.total() / batch as f64;
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
        if limits.reached(started) {
            break;
        }
        if step.is_multiple_of(limits.checkpoint_every) {
            save(&network, average.as_ref(), &adam, &curves, step)?;
        }
    }
    let seconds = save(&network, average.as_ref(), &adam, &curves, step)?;
    Ok(Outcome { step, finished: step == config.steps, seconds })
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
    let mut network = MaskRcnnConfig::new(architecture(&config))
        .init_with(&state, device)?
        .with_statistics(Statistics::Batch);
    let mut adam = Adam::new(config.weight_decay);
    let mut times = Vec::with_capacity(runs);
    for number in 0..runs as u64 + 2 {
        let started = Instant::now();
        let losses = losses(&network, &config, slice, number, device);
        losses.values();
        let gradients = GradientsParams::from_grads(losses.total().backward(), &network);
        network = adam.step(config.learning_rate.peak, network, gradients);
        if number >= 2 {
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(times)
}
