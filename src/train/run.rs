//! A run: from a starting point to a model, whatever happens meanwhile.
//!
//! One loop for every kind of training: an [`Objective`] says what a step learns, [`run`] does the rest: the
//! optimizer, the average, checkpoints, curves, validation, and going on where a killed run ended.

use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::dataset::DatasetError;
use crate::network::{StateDict, WeightsError};
use crate::train::adam::{Adam, AdamConfig};
use crate::train::average::WeightAverage;
use crate::train::checkpoint::{self, CheckpointError, Saved, write_whole};
use crate::train::config::LearningRate;
use crate::train::curves::LossHistory;
use crate::train::validation::{BEST, ValidationHistory, ValidationPoint};

/// File name of the model in the run's folder.
pub const MODEL: &str = "model.bpk";
/// File name of the configuration there.
pub const CONFIG: &str = "config.json";

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.finished { "finished" } else { "stopped; run again to resume" };
        write!(f, "{state} at step {} after {:.1} minutes", self.step, self.seconds / 60.0)
    }
}

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
    #[error("validation at step {step}")]
    Validation {
        /// When.
        step: u64,
        /// What went wrong.
        source: Box<dyn StdError + Send + Sync>,
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
pub struct StopConditions {
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// Stop with a checkpoint after this long.
    pub time: Option<Duration>,
    /// Stop with a checkpoint when this turns true.
    pub stop: Arc<AtomicBool>,
}

impl StopConditions {
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

/// What was measured, by name, the first of which decides; or why nothing was.
pub type Measures = Result<Vec<(String, f64)>, Box<dyn StdError + Send + Sync>>;

/// Measuring on slices that the run does not learn from.
pub struct Validation<'a> {
    /// Steps between two validations.
    pub every: u64,
    /// Validations without anything better after which the run ends. Default: any number
    pub patience: Option<usize>,
    /// Measures weights.
    pub measure: &'a mut dyn FnMut(&StateDict) -> Measures,
}

/// Where a run lies, what computes it, when it ends and what it is validated on: nothing of this changes what is learnt.
pub struct Execution<'a, 'v> {
    /// Folder of its files.
    pub folder: &'a Path,
    /// The device that computes.
    pub device: &'a Device,
    /// When to save and when to stop.
    pub limits: &'a StopConditions,
    /// Slices that are looked at while it lasts.
    pub validation: Option<Validation<'v>>,
    /// Called after every step.
    pub report: &'a mut dyn FnMut(&Progress),
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

/// How long a run is and how its weights move.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Steps of the whole run.
    pub steps: u64,
    /// Learning rate over them.
    pub learning_rate: LearningRate,
    /// The optimizer.
    pub optimizer: AdamConfig,
    /// Share that the moving average of the weights keeps at a step; 0 for none.
    pub ema_decay: f64,
}

/// What a run learns.
pub trait Objective {
    /// The network under training.
    type Network: Module;
    /// Configuration; a folder's run is taken up only with the same.
    type Config: Clone + PartialEq + Serialize + DeserializeOwned;
    /// Names of the losses.
    const LOSS_NAMES: &'static [&'static str];

    /// The configuration.
    fn config(&self) -> &Self::Config;

    /// Length, learning rate, optimizer.
    fn plan(&self) -> Plan;

    /// SHA-256 of the weights that the run starts from, where the configuration does not name them.
    fn base(&self) -> Option<&str> {
        None
    }

    /// The weights of a new run.
    ///
    /// # Errors
    /// If the data that they are fitted to cannot be read.
    fn start(&mut self) -> Result<StateDict, TrainError>;

    /// The network with these weights, its gradients recorded where it learns.
    ///
    /// # Errors
    /// If the weights do not fit.
    fn init(&self, weights: &StateDict, device: &Device) -> Result<Self::Network, WeightsError>;

    /// The weights of the network.
    fn state(&self, network: &Self::Network) -> StateDict;

    /// Prepares the data from step `step` on.
    ///
    /// # Errors
    /// If the data cannot be read.
    fn begin(&mut self, step: u64) -> Result<(), TrainError>;

    /// Gradients and losses, in the order of their names, of step `step`. Steps come in order, from the one that
    /// [`begin`](Self::begin) was told.
    ///
    /// # Errors
    /// If the data cannot be read.
    fn gradients(
        &mut self,
        network: &Self::Network,
        step: u64,
    ) -> Result<(GradientsParams, Vec<f32>), TrainError>;

    /// The model with these weights: what is said of it, and what it takes over from elsewhere.
    fn model(&self, weights: StateDict, step: u64, seconds: f64) -> StateDict;
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedProgress<C> {
    step: u64,
    config: C,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    /// Seconds spent so far, over all resumptions.
    seconds: f64,
    /// Validations so far.
    #[serde(default, alias = "looks")]
    validations: ValidationHistory,
}

/// The folder's run if it has one, checked to be the one that is asked for.
fn resume<O: Objective>(
    folder: &Path,
    objective: &O,
) -> Result<Option<Saved<SavedProgress<O::Config>>>, TrainError> {
    let Some(saved) = checkpoint::load::<SavedProgress<O::Config>>(folder)? else {
        return Ok(None);
    };
    let other = |difference| Err(TrainError::OtherRun { folder: folder.into(), difference });
    if saved.progress.base.as_deref() != objective.base() {
        return other("it started from other weights".into());
    }
    if saved.progress.config != *objective.config() {
        return other(difference(&saved.progress.config, objective.config()));
    }
    Ok(Some(saved))
}

/// The first option that differs between two configurations.
fn difference<T: Serialize>(there: &T, here: &T) -> String {
    let value = |config: &T| serde_json::to_value(config).unwrap_or_default();
    let first = first_difference("", &value(there), &value(here));
    first.unwrap_or_else(|| "nothing that can be named".into())
}

fn first_difference(path: &str, there: &Value, here: &Value) -> Option<String> {
    if there == here {
        return None;
    }
    let (Value::Object(fields), Value::Object(own)) = (there, here) else {
        return Some(format!("{path} is {there} there and {here} here"));
    };
    let named = |name: &str| if path.is_empty() { name.into() } else { format!("{path}.{name}") };
    let mut names: Vec<&String> = fields.keys().chain(own.keys()).collect();
    names.dedup();
    names.into_iter().find_map(|name| {
        let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        first_difference(&named(name), &of(fields), &of(own))
    })
}

/// Moves the weights by one step; the network and its losses.
///
/// # Errors
/// If the data cannot be read, or a loss is no number.
pub(super) fn advance<O: Objective>(
    objective: &mut O,
    network: O::Network,
    adam: &mut Adam,
    step: u64,
    rate: f64,
) -> Result<(O::Network, Vec<f32>), TrainError> {
    let (gradients, losses) = objective.gradients(&network, step)?;
    for (name, value) in O::LOSS_NAMES.iter().zip(&losses) {
        if !value.is_finite() {
            return Err(TrainError::Diverged { name, value: *value, step });
        }
    }
    Ok((adam.step(rate, network, gradients), losses))
}

/// Trains until done, or until the limits say stop; resumes from the folder's checkpoint.
///
/// # Errors
/// If data, weights or folder fail, or a loss is no number any more. The last checkpoint then still stands.
pub fn run<O: Objective>(
    objective: &mut O,
    execution: Execution<'_, '_>,
) -> Result<Outcome, TrainError> {
    let Execution { folder, device, limits, mut validation, report } = execution;
    let started = Instant::now();
    let Plan { steps, learning_rate, optimizer, ema_decay } = objective.plan();
    let saved = match resume(folder, objective)? {
        Some(saved) => saved,
        None => {
            let weights = objective.start()?;
            let average = if ema_decay > 0.0 { weights.clone() } else { StateDict::default() };
            let progress = SavedProgress {
                step: 0,
                config: objective.config().clone(),
                base: objective.base().map(str::to_owned),
                seconds: 0.0,
                validations: ValidationHistory::default(),
            };
            Saved { weights, average, optimizer: StateDict::default(), progress }
        }
    };
    let SavedProgress { mut step, seconds: before, mut validations, .. } = saved.progress;
    let mut adam = Adam::resume(optimizer, step, &saved.optimizer);
    let mut average = (ema_decay > 0.0).then(|| WeightAverage::new(ema_decay, saved.average));
    // A folder that cannot be written to should say so now.
    let text = serde_json::to_string_pretty(objective.config()).unwrap_or_default();
    write_whole(&folder.join(CONFIG), text.as_bytes())?;

    let mut network = objective.init(&saved.weights, device)?;
    let mut curves = LossHistory::open(folder, O::LOSS_NAMES, step);
    objective.begin(step)?;
    let seconds = || before + started.elapsed().as_secs_f64();
    // What ships: the average where there is one.
    let model = |objective: &O, network: &O::Network, average: Option<&WeightAverage>, step| {
        let weights = match average {
            Some(average) => average.state().clone(),
            None => objective.state(network),
        };
        objective.model(weights, step, seconds())
    };
    let save = |objective: &O,
                network: &O::Network,
                average: Option<&WeightAverage>,
                adam: &Adam,
                curves: &LossHistory,
                validations: &ValidationHistory,
                step: u64| {
        let seconds = seconds();
        let progress = SavedProgress {
            step,
            config: objective.config().clone(),
            base: objective.base().map(str::to_owned),
            seconds,
            validations: validations.clone(),
        };
        curves.save()?;
        let model = model(objective, network, average, step);
        let average = average.map(|average| average.state().clone()).unwrap_or_default();
        let (weights, optimizer) = (objective.state(network), adam.state());
        checkpoint::save(folder, Saved { weights, average, optimizer, progress })?;
        write_whole(&folder.join(MODEL), &model.to_pack()?)?;
        Ok::<_, TrainError>(seconds)
    };

    let patience = validation.as_ref().and_then(|validation| validation.patience);
    let mut stalled = patience.is_some_and(|patience| validations.stalled(patience));
    while step < steps && !stalled {
        let rate = learning_rate.at(step, steps);
        let losses;
        (network, losses) = advance(objective, network, &mut adam, step, rate)?;
        step += 1;
        if let Some(average) = &mut average {
            average.update(step, steps, || objective.state(&network));
        }
        curves.push(step, rate, &losses);
        report(&Progress { step, steps, losses: curves.latest_mean() });
        let mut due = step.is_multiple_of(limits.checkpoint_every);
        if let Some(validation) = &mut validation
            && (step.is_multiple_of(validation.every) || step == steps)
        {
            let model = model(objective, &network, average.as_ref(), step);
            let measures = (validation.measure)(&model)
                .map_err(|source| TrainError::Validation { step, source })?;
            let score = measures.first().map_or(0.0, |(_, value)| *value);
            if validations.push(ValidationPoint { step, score, measures }) {
                write_whole(&folder.join(BEST), &model.to_pack()?)?;
            }
            validations.save(folder)?;
            stalled = patience.is_some_and(|patience| validations.stalled(patience));
            due = true;
        }
        if limits.reached(started) {
            break;
        }
        if due {
            save(objective, &network, average.as_ref(), &adam, &curves, &validations, step)?;
        }
    }
    let seconds = save(objective, &network, average.as_ref(), &adam, &curves, &validations, step)?;
    Ok(Outcome { step, finished: stalled || step == steps, seconds })
}
