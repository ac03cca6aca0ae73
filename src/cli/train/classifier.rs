//! `groundglass train classifier`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cli::class_pictures::ClassPictures;
use crate::cli::model::read_weights;
use crate::cli::train::{
    FoldArguments, RunArguments, below_one, class_slices, not_negative, serde_value,
};
use crate::dataset::source::DataSource;
use crate::train::Augmentation;
use crate::train::classifier::{LOSS_NAMES, train_classifier};
use crate::train::config::{ClassifierConfig, LearningRate, Schedule, Trainable};

/// Arguments of `train classifier`. Defaults are the paper's.
#[derive(Debug, Args)]
pub struct TrainClassifier {
    /// Weights of the segmentation network to start from (.bpk, .pth or .safetensors)
    #[arg(long)]
    from: PathBuf,
    #[command(flatten)]
    pictures: ClassPictures,
    /// Draw classes equally often, and sources and patients within a class in proportion to the square root of their
    /// slices. Without it every slice comes once an epoch
    #[arg(long)]
    balanced: bool,
    /// Share of the features that are zeroed in the head of s+f [default: 0.3]
    #[arg(long)]
    dropout: Option<f64>,
    /// What is trained: s+bn (module S and the affine batch norm), s (module S alone, so that
    /// segmentation and classifier share one backbone), or s+f (module S and a head beside it that sees the
    /// backbone's features; not the paper's)
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
    /// gamma), affine (jitter, turns, zoom, shifts), strong
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
    #[command(flatten)]
    folds: FoldArguments,
    #[command(flatten)]
    run: RunArguments,
}

impl TrainClassifier {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.batch > 0, "--batch must be at least 1");
        self.run.check()?;
        self.folds.check()?;
        ensure!(
            self.folds.validate.is_none(),
            "stage II has no --validate: it runs over the list as often as --epochs says"
        );
        ensure!(self.epochs > 0, "--epochs must be at least 1");
        not_negative(&[
            ("--learning-rate", self.learning_rate),
            ("--weight-decay", self.weight_decay),
        ])?;
        let with_features = self.trainable == Trainable::ScoreAndFeatures;
        ensure!(
            self.dropout.is_none() || with_features,
            "--dropout is for --trainable s+f, whose head it zeroes features of"
        );
        let dropout = self.dropout.unwrap_or(if with_features { 0.3 } else { 0.0 });
        below_one(&[("--dropout", dropout)])?;
        ensure!((2..=1000).contains(&self.roi_batch), "--roi-batch must lie between 2 and 1000");
        ensure!((0.0..0.9).contains(&self.holdout), "--holdout must lie between 0 and 0.9");
        let base = read_weights(&self.from)?;
        let dataset = self.pictures.open()?;
        println!("{}", dataset.report());
        let held = class_slices::held_out(&dataset, &self.folds)?;
        let (dataset, held_out) = match self.balanced || self.folds.fold().is_some() {
            true => class_slices::divided(dataset, &self.folds, &held)?,
            false => dataset.divided(&held),
        };
        let list =
            self.pictures.list.iter().map(|path| DataSource { path: path.clone(), weight: 1.0 });
        let lists: Vec<DataSource> = list.collect();
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
            balanced: self.balanced,
            dropout,
            fold: self.folds.fold(),
            data: class_slices::records(&self.pictures.data, &lists, &dataset),
        };
        let found = self.run.execute(&LOSS_NAMES, None, |execution| {
            train_classifier(&dataset, &base, &config, execution)
        })?;
        if let Some(temperature) = found.temperature {
            println!("softmax temperature {temperature:.3}");
        }
        if let Some(warning) = found.warning {
            println!("warning: {warning}");
        }
        self.run.finish(&found.outcome, Some(&held_out))
    }
}
