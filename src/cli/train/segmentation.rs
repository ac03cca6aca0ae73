//! `groundglass train segmentation`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::{Display, serde_value, stop_on_interrupt};
use crate::cli::model::{DeviceArgument, read_weights, training_device};
use crate::geometry::AnchorGenerator;
use crate::network::Variant;
use crate::predict::report::NOTICE;
use crate::train::config::{LearningRate, MatchThresholds, Sampling, Schedule};
use crate::train::dataset::lesions::{LesionClasses, LesionDataset};
use crate::train::run::{Limits, MODEL, train_segmentation};
use crate::train::segmentation::LOSS_NAMES;
use crate::train::{Augmentation, SegmentationConfig};

/// Arguments of `train segmentation`. Defaults are the paper's.
#[derive(Debug, Args)]
pub struct TrainSegmentation {
    /// Folder with `imgs` and `masks`; several are joined
    #[arg(long, required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    /// Folder of the run: configuration, curves, checkpoint, model. An unfinished run goes on
    #[arg(long)]
    out: PathBuf,
    /// Weights to start from (.bpk or .pth), with their anchors. Default: fresh ones
    #[arg(long)]
    from: Option<PathBuf>,
    /// Network
    #[arg(long, default_value = "resnet18t1")]
    variant: Variant,
    /// Which lesions: all as one class, ground glass alone, or two classes
    #[arg(long, default_value = "merge")]
    masks: LesionClasses,
    /// Passes over the slices
    #[arg(long, default_value_t = 100, conflicts_with = "steps")]
    epochs: u64,
    /// Steps, instead of epochs
    #[arg(long)]
    steps: Option<u64>,
    /// Highest learning rate
    #[arg(long, default_value_t = 1e-5)]
    learning_rate: f64,
    /// Steps of linear warm-up
    #[arg(long, default_value_t = 0)]
    warmup: u64,
    /// What the learning rate does after the warm-up
    #[arg(long, value_parser = serde_value::<Schedule>, default_value = "constant")]
    schedule: Schedule,
    /// L2 term of Adam
    #[arg(long, default_value_t = 1e-3)]
    weight_decay: f64,
    /// Slices per step
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Seed of weights, order, sampling and augmentation
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Random changes of the slices: none, flip, jitter (flips, brightness, contrast,
    /// gamma), affine (jitter, turns, zoom, shifts)
    #[arg(long, value_parser = serde_value::<Augmentation>, default_value = "none")]
    augment: Augmentation,
    /// Share that a moving average of the weights keeps at a step, such as 0.998; the average
    /// becomes the model. 0: none
    #[arg(long, default_value_t = 0.0)]
    average: f64,
    /// Order: slice (every slice once an epoch), patient (every patient equally often)
    #[arg(long, value_parser = serde_value::<Sampling>, default_value = "slice")]
    sampling: Sampling,
    /// Anchor sizes in pixels
    #[arg(long, value_delimiter = ',', default_value = "2,4,8,16,32")]
    anchors: Vec<f32>,
    /// IoU from which a proposal is a lesion
    #[arg(long, default_value_t = 0.75)]
    roi_foreground: f32,
    /// IoU under which a proposal is background
    #[arg(long, default_value_t = 0.5)]
    roi_background: f32,
    /// Keep lesions of any size; the default removes those of 100 pixels or fewer
    #[arg(long)]
    keep_small: bool,
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

impl TrainSegmentation {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.batch > 0, "--batch must be at least 1");
        ensure!(self.checkpoint_every > 0, "--checkpoint-every must be at least 1");
        ensure!(
            self.roi_background <= self.roi_foreground,
            "--roi-background is above --roi-foreground"
        );
        ensure!((0.0..1.0).contains(&self.average), "--average must be at least 0 and below 1");
        ensure!(self.anchors.iter().all(|size| *size > 0.0), "--anchors must be positive");
        if self.resume {
            let checkpoint = self.out.join(crate::train::checkpoint::FILE);
            ensure!(checkpoint.is_file(), "{}: no checkpoint to resume", checkpoint.display());
        }
        let dataset = self.open_data()?;
        println!("{}", dataset.report());
        let dataset = dataset.with_lesions()?;
        println!("training on the {} slices with lesions", dataset.files.len());
        let from = self.from.as_deref().map(read_weights).transpose()?;
        let mut config = self.config(dataset.files.len() as u64);
        if let Some(from) = &from {
            config.variant = from.architecture.variant;
            config.anchors = from.architecture.anchors.clone();
            config.from = Some(from.info.sha256.clone());
            let masks = from.architecture.masks;
            ensure!(masks == self.masks.masks(), "--from has other classes ({masks}) than --masks");
        }
        let device = training_device(self.device)?;
        let limits = Limits {
            checkpoint_every: self.checkpoint_every,
            time: self.minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0)),
            stop: stop_on_interrupt()?,
        };
        let state = from.as_ref().map(|from| &from.state);
        let mut display = Display::new(&LOSS_NAMES);
        let outcome =
            train_segmentation(dataset, state, &config, &self.out, &device, &limits, |progress| {
                display.show(progress);
            });
        display.finish();
        let outcome = outcome.with_context(|| format!("training into {}", self.out.display()))?;
        let state = if outcome.finished { "finished" } else { "stopped; run again to go on" };
        println!("{state} at step {} after {:.1} minutes", outcome.step, outcome.seconds / 60.0);
        println!("{}\n{NOTICE}", self.out.join(MODEL).display());
        Ok(ExitCode::SUCCESS)
    }

    fn open_data(&self) -> Result<LesionDataset> {
        let minimum_area = if self.keep_small { 1 } else { 100 };
        let open = |folder| LesionDataset::open(folder, self.masks, minimum_area);
        let mut datasets = self.data.iter().map(|folder| open(folder));
        let first = datasets.next().context("--data names no folder")??;
        datasets.try_fold(first, |all, next| Ok(all.extended(next?)))
    }

    fn config(&self, slices: u64) -> SegmentationConfig {
        let steps_per_epoch = slices.div_ceil(self.batch as u64);
        SegmentationConfig {
            variant: self.variant,
            classes: self.masks,
            anchors: AnchorGenerator { sizes: self.anchors.clone(), ..AnchorGenerator::default() },
            rpn: MatchThresholds { foreground: 0.7, background: 0.3 },
            roi: MatchThresholds {
                foreground: self.roi_foreground,
                background: self.roi_background,
            },
            samples: 256,
            positive_fraction: 0.75,
            learning_rate: LearningRate {
                peak: self.learning_rate,
                warmup: self.warmup,
                schedule: self.schedule,
            },
            weight_decay: self.weight_decay,
            batch: self.batch,
            steps: self.steps.unwrap_or(self.epochs * steps_per_epoch),
            from: None,
            seed: self.seed,
            augmentation: self.augment,
            sampling: self.sampling,
            minimum_area: if self.keep_small { 1 } else { 100 },
            average: self.average,
        }
    }
}
