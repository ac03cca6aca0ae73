//! `groundglass train image-classifier`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cli::model::read_state;
use crate::cli::train::class_slices::{self, ClassSlices};
use crate::cli::train::{
    FoldArguments, RunArguments, below_one, from_scratch, given_again, not_negative, read_config,
    serde_value, set,
};
use crate::dataset::source::DataSource;
use crate::network::{StateDict, Variant};
use crate::train::Augmentation;
use crate::train::config::{Freeze, ImageClassifierTraining, Norm};
use crate::train::image_classifier::{LOSS_NAMES, starting_state, train_image_classifier};

/// Arguments of `train image-classifier`.
#[derive(Debug, Args)]
pub struct TrainImageClassifier {
    /// Folder of the pictures, or the folder above their `images`; an `index.csv` with the columns file,
    /// source, patient may lie in it
    #[arg(long)]
    data: PathBuf,
    /// COVIDx-CT lists; several are joined, each with its weight (LIST:WEIGHT). Default: every picture named
    /// by class
    #[arg(long, num_args = 1..)]
    list: Vec<DataSource>,
    /// A ResNet to begin the body with (.safetensors or .pth, as torchvision and timm name it)
    #[arg(long)]
    backbone: Option<PathBuf>,
    /// Values of all options that are not given, from a run's config.json
    #[arg(long)]
    config: Option<PathBuf>,
    /// Network [default: resnet18t1]
    #[arg(long)]
    variant: Option<Variant>,
    /// Side of the square that it sees [default: 256]
    #[arg(long)]
    side: Option<usize>,
    /// Highest learning rate, of the linear layer [default: 1.5e-3]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Factor of it in the body [default: 0.2]
    #[arg(long)]
    body_rate: Option<f64>,
    /// Decoupled weight decay [default: 0.02]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// Batch norm: batch, running, frozen [default: running; without a --backbone batch]
    #[arg(long, value_parser = serde_value::<Norm>)]
    norm: Option<Norm>,
    /// What stays as it is: none, stem, layer1 [default: none]
    #[arg(long, value_parser = serde_value::<Freeze>)]
    freeze: Option<Freeze>,
    /// Slices per step [default: 16]
    #[arg(long)]
    batch: Option<usize>,
    /// Steps; 15 % of them warm up [default: 860]
    #[arg(long)]
    steps: Option<u64>,
    /// Begin with the linear layer that fits the features of the --backbone, with this weight decay, instead of random
    /// numbers. Then small learning rates do: --learning-rate 1e-4 --body-rate 1
    #[arg(long, value_name = "DECAY", requires = "backbone")]
    probe: Option<f64>,
    /// Share of the features that are zeroed [default: 0.3]
    #[arg(long)]
    dropout: Option<f64>,
    /// Share of the label that is spread over all classes [default: 0.1]
    #[arg(long)]
    label_smoothing: Option<f64>,
    /// Factor of the draws from sources that know one class only [default: 0.5]
    #[arg(long)]
    lone_source: Option<f64>,
    /// Random changes: none, flip, jitter, affine, strong [default: strong]
    #[arg(long, value_parser = serde_value::<Augmentation>)]
    augment: Option<Augmentation>,
    /// Share that a moving average of the weights keeps at a step [default: 0.99]
    #[arg(long, alias = "average")]
    ema_decay: Option<f64>,
    /// Seed of the linear layer, order, augmentation and dropout [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    folds: FoldArguments,
    #[command(flatten)]
    run: RunArguments,
}

impl TrainImageClassifier {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        self.run.check()?;
        self.folds.check()?;
        let mut config = self.config()?;
        config.fold = self.folds.instead_of(config.fold)?;
        given_again("--backbone", config.backbone.is_some(), self.backbone.is_some())?;
        if self.backbone.is_none() {
            from_scratch(config.norm, config.freeze, "a --backbone")?;
        }
        let slices =
            class_slices::prepare(&self.data, &self.list, &self.folds, config.lone_source)?;
        let ClassSlices { training, held_out, weights, records } = slices;
        config.data = records;
        let backbone = self.backbone.as_deref().map(read_state).transpose()?;
        config.backbone = backbone.as_ref().map(|(_, hash)| hash.clone());
        let (start, taken) = starting_state(&config, backbone.as_ref().map(|(state, _)| state))
            .with_context(|| format!("{:?}", self.backbone.clone().unwrap_or_default()))?;
        if let Some(taken) = taken {
            println!("{} parameters of the body come from the backbone", taken.parameters);
        }
        let mut measure =
            |state: &StateDict| class_slices::measure(state, &held_out).map_err(Into::into);
        let validation = self.folds.validation(&mut measure);
        let outcome = self.run.execute(&LOSS_NAMES, validation, |execution| {
            train_image_classifier(training, &weights, start, &config, execution)
        })?;
        self.run.finish(&outcome, Some(&held_out))
    }

    fn config(&self) -> Result<ImageClassifierTraining> {
        let mut config = match &self.config {
            Some(path) => read_config(path)?,
            // Without a backbone there are no statistics yet to keep.
            None if self.backbone.is_none() => {
                ImageClassifierTraining { norm: Norm::Batch, ..Default::default() }
            }
            None => ImageClassifierTraining::default(),
        };
        set(&mut config.variant, &self.variant);
        set(&mut config.side, &self.side);
        set(&mut config.learning_rate.peak, &self.learning_rate);
        set(&mut config.body_rate, &self.body_rate);
        set(&mut config.weight_decay, &self.weight_decay);
        set(&mut config.norm, &self.norm);
        set(&mut config.freeze, &self.freeze);
        set(&mut config.batch, &self.batch);
        set(&mut config.steps, &self.steps);
        if self.steps.is_some() {
            config.learning_rate.warmup = config.steps * 15 / 100;
        }
        config.probe = self.probe.or(config.probe);
        ensure!(config.probe.is_none_or(|decay| decay > 0.0), "--probe must be positive");
        set(&mut config.dropout, &self.dropout);
        set(&mut config.label_smoothing, &self.label_smoothing);
        set(&mut config.lone_source, &self.lone_source);
        set(&mut config.augmentation, &self.augment);
        set(&mut config.ema_decay, &self.ema_decay);
        set(&mut config.seed, &self.seed);
        not_negative(&[
            ("--learning-rate", config.learning_rate.peak),
            ("--body-rate", config.body_rate),
            ("--weight-decay", config.weight_decay),
        ])?;
        ensure!(config.batch > 0, "--batch must be at least 1");
        ensure!(
            (64..=1024).contains(&config.side) && config.side.is_multiple_of(32),
            "--side must be a multiple of 32 from 64 to 1024"
        );
        below_one(&[
            ("--dropout", config.dropout),
            ("--label-smoothing", config.label_smoothing),
            ("--ema-decay", config.ema_decay),
        ])?;
        ensure!(config.lone_source > 0.0, "--lone-source must be positive");
        Ok(config)
    }
}
