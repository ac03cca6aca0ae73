//! `groundglass train classifier`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::{Display, serde_value, stop_on_interrupt};
use crate::cli::model::{DeviceArgument, read_weights, training_device};
use crate::predict::report::NOTICE;
use crate::train::Augmentation;
use crate::train::classifier::{LOSS_NAMES, train_classifier};
use crate::train::config::{ClassifierConfig, LearningRate, Schedule, Trainable};
use crate::train::dataset::classes::ClassDataset;
use crate::train::run::{Limits, MODEL};

/// Arguments of `train classifier`. Defaults are the paper's.
#[derive(Debug, Args)]
pub struct TrainClassifier {
    /// Weights of the segmentation network to start from (.bpk or .pth)
    #[arg(long)]
    from: PathBuf,
    /// Folder of the pictures, or the folder above their `images`
    #[arg(long)]
    data: PathBuf,
    /// COVIDx-CT list or names, one a line. Default: every picture named by class
    #[arg(long)]
    list: Option<PathBuf>,
    /// Folder of the run: configuration, curves, checkpoint, model. An unfinished run goes on
    #[arg(long)]
    out: PathBuf,
    /// What is trained: s+bn (module S and the affine batch norm), or s (module S alone, so that
    /// segmentation and classifier share one trunk)
    #[arg(long, value_parser = serde_value::<Trainable>, default_value = "s+bn")]
    trainable: Trainable,
    /// Passes over the slices
    #[arg(long, default_value_t = 50)]
    epochs: u64,
    /// Highest learning rate
    #[arg(long, default_value_t = 1e-5)]
    learning_rate: f64,
    /// Steps of linear warm-up
    #[arg(long, default_value_t = 0)]
    warmup: u64,
    /// What the learning rate does after the warm-up: constant, cosine
    #[arg(long, value_parser = serde_value::<Schedule>, default_value = "constant")]
    schedule: Schedule,
    /// L2 term of Adam
    #[arg(long, default_value_t = 1e-3)]
    weight_decay: f64,
    /// Slices per step
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Seed of module S, order and replication
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Random changes of the slices: none, flip, jitter (flips, brightness, contrast,
    /// gamma), affine (jitter, turns, zoom, shifts)
    #[arg(long, value_parser = serde_value::<Augmentation>, default_value = "none")]
    augment: Augmentation,
    /// Regions that module S reads
    #[arg(long, default_value_t = 128)]
    roi_batch: usize,
    /// Features of module S
    #[arg(long, default_value_t = 512)]
    features: usize,
    /// Share of the patients held out to fit the softmax temperature; 0 fits none
    #[arg(long, default_value_t = 0.2)]
    holdout: f64,
    /// What computes
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

impl TrainClassifier {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.batch > 0, "--batch must be at least 1");
        ensure!(self.checkpoint_every > 0, "--checkpoint-every must be at least 1");
        ensure!((2..=1000).contains(&self.roi_batch), "--roi-batch must lie between 2 and 1000");
        ensure!((0.0..0.9).contains(&self.holdout), "--holdout must lie between 0 and 0.9");
        if self.resume {
            let checkpoint = self.out.join(crate::train::checkpoint::FILE);
            ensure!(checkpoint.is_file(), "{}: no checkpoint to resume", checkpoint.display());
        }
        let base = read_weights(&self.from)?;
        let dataset = ClassDataset::open(&self.data, self.list.as_deref())?;
        println!("{}", dataset.report());
        let config = ClassifierConfig {
            trainable: self.trainable,
            learning_rate: LearningRate {
                peak: self.learning_rate,
                warmup: self.warmup,
                schedule: self.schedule,
            },
            weight_decay: self.weight_decay,
            batch: self.batch,
            epochs: self.epochs,
            seed: self.seed,
            roi_batch: self.roi_batch,
            features: self.features,
            augmentation: self.augment,
            holdout: self.holdout,
        };
        let device = training_device(self.device)?;
        let limits = Limits {
            checkpoint_every: self.checkpoint_every,
            time: self.minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0)),
            stop: stop_on_interrupt()?,
        };
        let mut display = Display::new(&LOSS_NAMES);
        let outcome =
            train_classifier(&dataset, &base, &config, &self.out, &device, &limits, |progress| {
                display.show(progress);
            });
        display.finish();
        let found = outcome.with_context(|| format!("training into {}", self.out.display()))?;
        let state = if found.outcome.finished { "finished" } else { "stopped; run again to go on" };
        let (step, minutes) = (found.outcome.step, found.outcome.seconds / 60.0);
        println!("{state} at step {step} after {minutes:.1} minutes");
        if let Some(temperature) = found.temperature {
            println!("softmax temperature {temperature:.3}");
        }
        if let Some(warning) = found.warning {
            println!("warning: {warning}");
        }
        println!("{}\n{NOTICE}", self.out.join(MODEL).display());
        Ok(ExitCode::SUCCESS)
    }
}
