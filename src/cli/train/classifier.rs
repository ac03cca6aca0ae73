//! `groundglass train classifier`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cli::class_pictures::ClassPictures;
use crate::cli::model::read_weights;
use crate::cli::train::{
    FoldArguments, RunArguments, below_one, class_slices, not_negative, read_config, serde_value,
    set,
};
use crate::dataset::source::DataSource;
use crate::network::StateDict;
use crate::train::Augmentation;
use crate::train::classifier::{LOSS_NAMES, train_classifier};
use crate::train::config::{ClassifierConfig, Schedule, Trainable};

/// Arguments of `train classifier`. Defaults are the paper's.
#[derive(Debug, Args)]
pub struct TrainClassifier {
    /// Weights of the segmentation network to start from (.bpk, .pth or .safetensors)
    #[arg(long)]
    from: PathBuf,
    #[command(flatten)]
    pictures: ClassPictures,
    /// Values of all options that are not given, from a run's config.json
    #[arg(long)]
    config: Option<PathBuf>,
    /// Draw classes equally often, and sources and patients within a class in proportion to the square root of their
    /// slices. Without it every slice comes once an epoch
    #[arg(long)]
    balanced: bool,
    /// Share of the features that are zeroed in the head of s+f [default: 0.3]
    #[arg(long)]
    dropout: Option<f64>,
    /// What is trained: s+bn (module S and the affine batch norm), s (module S alone, so that
    /// segmentation and classifier share one backbone), or s+f (module S and a head beside it that sees the
    /// backbone's features; not the paper's) [default: s+bn]
    #[arg(long, value_parser = serde_value::<Trainable>)]
    trainable: Option<Trainable>,
    /// Passes over the slices [default: 50]
    #[arg(long)]
    epochs: Option<u64>,
    /// Highest learning rate [default: 1e-5]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Steps of linear warm-up [default: 0]
    #[arg(long)]
    warmup: Option<u64>,
    /// What the learning rate does after the warm-up: constant, cosine [default: constant]
    #[arg(long, value_parser = serde_value::<Schedule>)]
    schedule: Option<Schedule>,
    /// L2 term of Adam [default: 1e-3]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// Slices per step [default: 8]
    #[arg(long)]
    batch: Option<usize>,
    /// Seed of module S, order and replication [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Random changes of the slices: none, flip, jitter (flips, brightness, contrast,
    /// gamma), affine (jitter, turns, zoom, shifts), strong [default: none]
    #[arg(long, value_parser = serde_value::<Augmentation>)]
    augment: Option<Augmentation>,
    /// Regions that module S reads [default: 128]
    #[arg(long)]
    roi_batch: Option<usize>,
    /// Features of module S [default: 512]
    #[arg(long)]
    features: Option<usize>,
    /// Share of the patients held out to fit the softmax temperature; 0 fits none [default: 0.2]
    #[arg(long)]
    holdout: Option<f64>,
    #[command(flatten)]
    folds: FoldArguments,
    #[command(flatten)]
    run: RunArguments,
}

impl TrainClassifier {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        self.run.check()?;
        self.folds.check()?;
        let mut config = self.config()?;
        config.fold = self.folds.instead_of(config.fold)?;
        let base = read_weights(&self.from)?;
        let dataset = self.pictures.open()?;
        println!("{}", dataset.report());
        let held = class_slices::held_out(&dataset, &self.folds)?;
        let (dataset, held_out) = match config.balanced || config.fold.is_some() {
            true => class_slices::divided(dataset, &self.folds, &held)?,
            false => dataset.divided(&held),
        };
        let list =
            self.pictures.list.iter().map(|path| DataSource { path: path.clone(), weight: 1.0 });
        let lists: Vec<DataSource> = list.collect();
        config.data = class_slices::records(&self.pictures.data, &lists, &dataset);
        let mut measure =
            |state: &StateDict| class_slices::measure(state, &held_out).map_err(Into::into);
        let validation = self.folds.validation(&mut measure);
        let found = self.run.execute(&LOSS_NAMES, validation, |execution| {
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

    fn config(&self) -> Result<ClassifierConfig> {
        let mut config = match &self.config {
            Some(path) => read_config(path)?,
            None => ClassifierConfig::default(),
        };
        if let Some(trainable) = self.trainable
            && trainable != config.trainable
        {
            config.dropout = ClassifierConfig::default_dropout(trainable);
            config.trainable = trainable;
        }
        ensure!(
            self.dropout.is_none() || config.trainable == Trainable::ScoreAndFeatures,
            "--dropout is for --trainable s+f, whose head it zeroes features of"
        );
        set(&mut config.dropout, &self.dropout);
        set(&mut config.learning_rate.peak, &self.learning_rate);
        set(&mut config.learning_rate.warmup, &self.warmup);
        set(&mut config.learning_rate.schedule, &self.schedule);
        set(&mut config.weight_decay, &self.weight_decay);
        set(&mut config.batch, &self.batch);
        set(&mut config.epochs, &self.epochs);
        set(&mut config.seed, &self.seed);
        set(&mut config.roi_batch, &self.roi_batch);
        set(&mut config.features, &self.features);
        set(&mut config.augmentation, &self.augment);
        set(&mut config.holdout, &self.holdout);
        config.balanced |= self.balanced;
        ensure!(config.batch > 0, "--batch must be at least 1");
        ensure!(config.epochs > 0, "--epochs must be at least 1");
        ensure!(config.features > 0, "--features must be at least 1");
        not_negative(&[
            ("--learning-rate", config.learning_rate.peak),
            ("--weight-decay", config.weight_decay),
        ])?;
        below_one(&[("--dropout", config.dropout)])?;
        ensure!((2..=1000).contains(&config.roi_batch), "--roi-batch must lie between 2 and 1000");
        ensure!((0.0..0.9).contains(&config.holdout), "--holdout must lie between 0 and 0.9");
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: TrainClassifier,
    }

    fn config(options: &[&str]) -> Result<ClassifierConfig> {
        let fixed = ["program", "--from", "detector.bpk", "--data", "data", "--out", "out"];
        Program::try_parse_from(fixed.iter().chain(options))?.arguments.config()
    }

    #[test]
    fn without_options_it_is_the_papers() {
        assert_eq!(config(&[]).unwrap(), ClassifierConfig::default());
    }

    #[test]
    fn a_head_with_features_has_a_dropout_of_its_own_and_no_other_takes_one() {
        assert_eq!(config(&["--trainable", "s+f"]).unwrap().dropout, 0.3);
        assert_eq!(config(&["--trainable", "s+f", "--dropout", "0.1"]).unwrap().dropout, 0.1);
        assert!(config(&["--trainable", "s", "--dropout", "0.1"]).is_err());
    }

    #[test]
    fn a_runs_configuration_stands_for_the_options_that_are_not_given() {
        let options =
            ["--trainable", "s+f", "--epochs", "7", "--learning-rate", "1e-3", "--balanced"];
        let first = config(&options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, serde_json::to_vec(&first).unwrap()).unwrap();
        let path = path.to_str().unwrap();
        assert_eq!(config(&["--config", path]).unwrap(), first);
        let again = config(&["--config", path, "--epochs", "3"]).unwrap();
        assert_eq!(again, ClassifierConfig { epochs: 3, ..first });
    }
}
