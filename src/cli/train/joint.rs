//! `groundglass train joint`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cli::train::class_slices::{self, ClassSlices};
use crate::cli::train::segmentation::TrainSegmentation;
use crate::cli::train::{at_most_one, below_one, read_config, serde_value, set};
use crate::dataset::source::DataSource;
use crate::network::StateDict;
use crate::train::Augmentation;
use crate::train::config::Norm;
use crate::train::folds::FoldBy;
use crate::train::joint::{JointClasses, JointConfig, JointData, LOSS_NAMES, train_joint};

/// Arguments of `train joint`: those of `train segmentation`, and the class's.
#[derive(Debug, Args)]
pub struct TrainJoint {
    #[command(flatten)]
    detector: TrainSegmentation,
    /// Folder of the slices with a class, or the folder above their `images`
    #[arg(long)]
    class_data: PathBuf,
    /// COVIDx-CT lists of these; several are joined, each with its weight (LIST:WEIGHT). Default: every picture
    /// named by class
    #[arg(long, num_args = 1..)]
    class_list: Vec<DataSource>,
    /// Slices with a class in a step [default: 2]
    #[arg(long)]
    class_batch: Option<usize>,
    /// Weight of the class loss [default: 1]
    #[arg(long)]
    class_weight: Option<f64>,
    /// Share of its gradient that reaches the backbone [default: 0.3]
    #[arg(long, alias = "trunk-gradient")]
    backbone_gradient: Option<f64>,
    /// Share of the class head's features that are zeroed [default: 0.3]
    #[arg(long)]
    class_dropout: Option<f64>,
    /// Share of the label that is spread over all classes [default: 0.1]
    #[arg(long)]
    label_smoothing: Option<f64>,
    /// Factor of the draws from sources that know one class only [default: 0.5]
    #[arg(long)]
    lone_source: Option<f64>,
    /// Random changes of the slices with a class: none, flip, jitter, affine, strong [default: strong]
    #[arg(long, value_parser = serde_value::<Augmentation>)]
    class_augment: Option<Augmentation>,
}

impl TrainJoint {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let TrainSegmentation { folds, run, .. } = &self.detector;
        run.check()?;
        folds.check()?;
        ensure!(
            folds.fold().is_none_or(|fold| fold.by == FoldBy::Name),
            "lesions and classes are held out alike by --fold-by name only: a patient who is in both would be learnt from"
        );
        let mut config = self.config()?;
        ensure!(
            config.detector.norm != Norm::Batch,
            "--norm batch learns from statistics of single slices, which hide what the class's head is to see; take --norm running or frozen, with a --backbone or --from"
        );
        let (lesions, held_out_lesions) = self.detector.slices(&mut config.detector)?;
        let start = self.detector.starting_state(&mut config.detector)?;
        config.classes.fold = folds.instead_of(config.classes.fold)?;
        let (data, lists) = (&self.class_data, &self.class_list);
        let slices = class_slices::prepare(data, lists, folds, config.classes.lone_source)?;
        let ClassSlices { training: classes, held_out, weights, records } = slices;
        config.classes.data = records;
        let mut measure = |state: &StateDict| {
            let measured = || {
                let classes = class_slices::measure(state, &held_out)?;
                let mut all = match &held_out_lesions {
                    Some(lesions) => self.detector.measure(state, lesions, &config.detector)?,
                    None => Vec::new(),
                };
                let first = |measures: &[(String, f64)]| measures.first().map_or(0.0, |(_, v)| *v);
                let mean = (first(&classes) + first(&all)) / 2.0;
                all.insert(0, ("mean_of_both".to_owned(), mean));
                all.extend(classes);
                Ok::<_, anyhow::Error>(all)
            };
            measured().map_err(Into::into)
        };
        let validation = folds.validation(&mut measure);
        let data = JointData { lesions, classes, weights };
        let outcome = run.execute(&LOSS_NAMES, validation, |execution| {
            train_joint(data, start.as_ref(), &config, execution)
        })?;
        run.finish(&outcome, Some(&held_out))
    }

    fn config(&self) -> Result<JointConfig> {
        let stored: Option<JointConfig> =
            self.detector.config.as_deref().map(read_config).transpose()?;
        let (detector, classes) = stored.map(|stored| (stored.detector, stored.classes)).unzip();
        let mut classes: JointClasses = classes.unwrap_or_default();
        set(&mut classes.batch, &self.class_batch);
        set(&mut classes.weight, &self.class_weight);
        set(&mut classes.backbone_gradient, &self.backbone_gradient);
        set(&mut classes.dropout, &self.class_dropout);
        set(&mut classes.label_smoothing, &self.label_smoothing);
        set(&mut classes.lone_source, &self.lone_source);
        set(&mut classes.augmentation, &self.class_augment);
        ensure!(classes.batch > 0, "--class-batch must be at least 1");
        ensure!(
            classes.weight.is_finite() && classes.weight > 0.0,
            "--class-weight must be positive"
        );
        at_most_one(&[("--backbone-gradient", classes.backbone_gradient)])?;
        below_one(&[
            ("--class-dropout", classes.dropout),
            ("--label-smoothing", classes.label_smoothing),
        ])?;
        ensure!(classes.lone_source > 0.0, "--lone-source must be positive");
        Ok(JointConfig { detector: self.detector.config(detector)?, classes })
    }
}
