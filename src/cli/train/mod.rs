//! `groundglass train`.

mod class_slices;
mod classifier;

mod image_classifier;
mod joint;
mod segmentation;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use crate::cli::files;
use crate::cli::interrupt::stop_on_interrupt;
use crate::cli::model::{DeviceArgument, read_state, training_device};
use crate::dataset::classes::ClassDataset;
use crate::network::StateDict;
use crate::report::NOTICE;
use crate::train::config::{Freeze, Norm};
use crate::train::folds::{Fold, FoldBy};
use crate::train::run::{
    Execution, MODEL, Measures, Outcome, Progress, StopConditions, TrainError, Validation,
};

/// Largest configuration that is read.
const MAX_CONFIG: u64 = 1 << 20;
/// Largest table of names that is read.
const MAX_NAMES: u64 = 16 << 20;

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct Train {
    #[command(subcommand)]
    stage: Stage,
}

#[derive(Debug, Subcommand)]
enum Stage {
    /// Stage I: find and outline lesions.
    Segmentation(segmentation::TrainSegmentation),
    /// Stage II: classify slices by their regions.
    Classifier(classifier::TrainClassifier),
    /// A network that judges slices as a whole, beside the paper's stage II.
    ImageClassifier(image_classifier::TrainImageClassifier),
    /// One network for both tasks: lesions and classes by turns on one backbone, beside the paper's two stages.
    Joint(joint::TrainJoint),
}

impl Train {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        match self.stage {
            Stage::Segmentation(command) => command.run(),
            Stage::Classifier(command) => command.run(),
            Stage::ImageClassifier(command) => command.run(),
            Stage::Joint(command) => command.run(),
        }
    }
}

/// Where a run lies and how long it may take.
#[derive(Debug, Args)]
struct RunArguments {
    /// Folder of the run: configuration, curves, checkpoint, model. An unfinished run is resumed
    #[arg(long)]
    out: PathBuf,
    /// Device to compute on
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Require an unfinished run in the folder
    #[arg(long)]
    resume: bool,
    /// Stop with a checkpoint after so many minutes
    #[arg(long)]
    minutes: Option<f64>,
    /// Steps between checkpoints
    #[arg(long, default_value_t = 100)]
    checkpoint_every: u64,
}

impl RunArguments {
    fn check(&self) -> Result<()> {
        ensure!(self.checkpoint_every > 0, "--checkpoint-every must be at least 1");
        if self.resume {
            let checkpoint = self.out.join(crate::train::checkpoint::FILE);
            ensure!(checkpoint.is_file(), "{}: no checkpoint to resume", checkpoint.display());
        }
        Ok(())
    }

    /// Carries out a run, and shows how it goes.
    fn execute<'v, T>(
        &self,
        losses: &'static [&'static str],
        validation: Option<Validation<'v>>,
        train: impl FnOnce(Execution<'_, 'v>) -> Result<T, TrainError>,
    ) -> Result<T> {
        let device = training_device(self.device)?;
        let limits = StopConditions {
            checkpoint_every: self.checkpoint_every,
            time: self.minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0)),
            stop: stop_on_interrupt("stopping after this step, with a checkpoint")?,
        };
        let mut display = Display::new(losses);
        let ended = train(Execution {
            folder: &self.out,
            device: &device,
            limits: &limits,
            validation,
            report: &mut |progress| display.show(progress),
        });
        display.finish();
        ended.with_context(|| format!("training into {}", self.out.display()))
    }

    /// Says how it ended; of a finished run also what its model makes of the slices that were held out.
    fn finish(&self, outcome: &Outcome, held_out: Option<&ClassDataset>) -> Result<ExitCode> {
        println!("{outcome}");
        let model = self.out.join(MODEL);
        let held_out = held_out.filter(|slices| outcome.finished && !slices.files.is_empty());
        if let Some(held_out) = held_out {
            class_slices::write(&self.out, &read_state(&model)?.0, held_out)?;
        }
        println!("{}\n{NOTICE}", model.display());
        Ok(ExitCode::SUCCESS)
    }
}

/// Which part of the data is held out, and how often it is looked at.
#[derive(Debug, Args)]
struct FoldArguments {
    /// Divide the data into so many parts and hold one out
    #[arg(long, requires = "fold")]
    folds: Option<usize>,
    /// Which part is held out, from 0
    #[arg(long, requires = "folds")]
    fold: Option<usize>,
    /// What stays together: patient, source, name (patients, by a hash of their name: in every set and list the
    /// same part)
    #[arg(long, value_parser = serde_value::<FoldBy>, default_value = "patient")]
    fold_by: FoldBy,
    /// Names that mean one patient in different sets, for --fold-by name: CSV with the columns name, patient
    #[arg(long, requires = "folds")]
    same_patients: Option<PathBuf>,
    /// Steps between validations on what is held out; the best weights are kept in best.bpk
    #[arg(long, requires = "folds")]
    validate: Option<u64>,
    /// End the run after so many validations without improvement
    #[arg(long, requires = "validate")]
    patience: Option<usize>,
}

impl FoldArguments {
    fn check(&self) -> Result<()> {
        if let Some(Fold { folds, fold, .. }) = self.fold() {
            ensure!(folds >= 2, "--folds must be at least 2");
            ensure!(fold < folds, "--fold must be below --folds");
        }
        ensure!(self.validate.is_none_or(|every| every > 0), "--validate must be at least 1");
        ensure!(
            self.same_patients.is_none() || self.fold_by == FoldBy::Name,
            "--same-patients is for --fold-by name"
        );
        ensure!(self.patience.is_none_or(|count| count > 0), "--patience must be at least 1");
        Ok(())
    }

    /// When to look at what is held out, and how.
    fn validation<'a>(
        &self,
        measure: &'a mut dyn FnMut(&StateDict) -> Measures,
    ) -> Option<Validation<'a>> {
        let every = self.validate?;
        Some(Validation { every, patience: self.patience, measure })
    }

    /// What patients are called where parts are told by names.
    fn names(&self) -> Result<PatientNames> {
        let mut same = BTreeMap::new();
        if let Some(path) = &self.same_patients {
            let text = files::read(path, MAX_NAMES)?;
            for row in csv::Reader::from_reader(&text[..]).deserialize::<SameName>() {
                let SameName { name, patient } = row.with_context(|| {
                    format!("{}: expected the columns name, patient", path.display())
                })?;
                let before = same.insert(name.clone(), patient.clone());
                ensure!(
                    before.is_none_or(|before| before == patient),
                    "{}: {name} has two patients",
                    path.display()
                );
            }
        }
        Ok(PatientNames { by_name: self.fold_by == FoldBy::Name, same })
    }

    /// The part that is held out, for a run whose configuration may name one.
    ///
    /// # Errors
    /// If it does and none is given: what that run held out would be learnt from.
    fn instead_of(&self, stored: Option<Fold>) -> Result<Option<Fold>> {
        if let (Some(Fold { folds, fold, .. }), None) = (stored, self.fold()) {
            bail!(
                "the configuration is of a run that held out part {fold} of {folds}: give --folds and --fold again"
            );
        }
        Ok(self.fold())
    }

    fn fold(&self) -> Option<Fold> {
        let (folds, fold) = self.folds.zip(self.fold)?;
        Some(Fold { folds, fold, by: self.fold_by })
    }
}

/// A row of `--same-patients`.
#[derive(Deserialize)]
struct SameName {
    name: String,
    patient: String,
}

/// What patients are called when parts of the data are told apart.
struct PatientNames {
    by_name: bool,
    same: BTreeMap<String, String>,
}

impl PatientNames {
    /// `key`, which no other patient has; or, by name, what the patient is called in every set.
    fn of(&self, name: &str, key: String) -> String {
        match self.by_name {
            true => self.same.get(name).cloned().unwrap_or_else(|| name.into()),
            false => key,
        }
    }
}

/// Takes over the value of an option that is given.
fn set<T: Clone>(target: &mut T, given: &Option<T>) {
    if let Some(given) = given {
        target.clone_from(given);
    }
}

/// Refuses a configuration of a run that began with a file, unless it is given again.
fn given_again(option: &str, is_named: bool, is_given: bool) -> Result<()> {
    ensure!(
        !is_named || is_given,
        "the configuration is of a run with {option}: give the file again"
    );
    Ok(())
}

/// Refuses options below zero, or that are no number.
fn not_negative(values: &[(&str, f64)]) -> Result<()> {
    for (name, value) in values {
        ensure!(value.is_finite() && *value >= 0.0, "{name} must be 0 or more");
    }
    Ok(())
}

/// Refuses what keeps parameters or statistics that are random numbers.
fn from_scratch(norm: Norm, freeze: Freeze, begun_by: &str) -> Result<()> {
    ensure!(
        norm == Norm::Batch && freeze == Freeze::None,
        "--norm {} and --freeze keep what {begun_by} has learnt; without one train with --norm batch --freeze none",
        serde_json::to_string(&norm)?.trim_matches('"')
    );
    Ok(())
}

/// Refuses options that are no share of something that is left.
fn below_one(shares: &[(&str, f64)]) -> Result<()> {
    for (name, share) in shares {
        ensure!((0.0..1.0).contains(share), "{name} must be at least 0 and below 1");
    }
    Ok(())
}

/// Refuses options that are no share.
fn at_most_one(shares: &[(&str, f64)]) -> Result<()> {
    for (name, share) in shares {
        ensure!((0.0..=1.0).contains(share), "{name} must lie between 0 and 1");
    }
    Ok(())
}

/// Reads a configuration that a run wrote.
fn read_config<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = files::read(path, MAX_CONFIG)?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{}: not the configuration of such a run", path.display()))
}

/// Reads a word as serde does.
fn serde_value<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(serde_json::Value::String(word.into()))
}

/// Shows how a run goes: a bar on a terminal, a line every half minute elsewhere.
struct Display {
    bar: ProgressBar,
    names: &'static [&'static str],
    first: Option<u64>,
    started: Instant,
    told: Instant,
}

impl Display {
    fn new(names: &'static [&'static str]) -> Self {
        let now = Instant::now();
        Self { bar: progress_bar(0), names, first: None, started: now, told: now }
    }

    fn show(&mut self, progress: &Progress) {
        let first = *self.first.get_or_insert_with(|| {
            self.bar.set_length(progress.steps);
            self.bar.reset_eta();
            progress.step - 1
        });
        let losses: Vec<String> =
            self.names.iter().zip(&progress.losses).map(|(n, l)| format!("{n} {l:.4}")).collect();
        let losses = losses.join(" ");
        self.bar.set_position(progress.step);
        if self.bar.is_hidden() && self.told.elapsed() > Duration::from_secs(30) {
            self.told = Instant::now();
            let done = (progress.step - first).max(1) as f64;
            let pace = self.started.elapsed().as_secs_f64() / done;
            let left = pace * (progress.steps - progress.step) as f64 / 60.0;
            let (step, steps) = (progress.step, progress.steps);
            println!("{step}/{steps} {pace:.3} s/step, {left:.0} min left, {losses}");
        }
        self.bar.set_message(losses);
    }

    fn finish(self) {
        self.bar.finish_and_clear();
    }
}

fn progress_bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    let template = "{bar:30} {pos}/{len} {per_sec} left {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
