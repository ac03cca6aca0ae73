//! `groundglass train joint`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cli::model::read_state;
use crate::cli::train::segmentation::{self, TrainSegmentation};
use crate::cli::train::{Display, class_slices, read_config, serde_value, set};
use crate::dataset::source::DataSource;
use crate::evaluate::classification::balanced_accuracy;
use crate::network::StateDict;
use crate::report::NOTICE;
use crate::train::Augmentation;
use crate::train::class_sampling::draw_weights;
use crate::train::config::Norm;
use crate::train::folds::FoldBy;
use crate::train::joint::{JointClasses, JointConfig, JointData, LOSS_NAMES, train_joint};
use crate::train::run::{MODEL, Validation};

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
    /// Share of its gradient that reaches the trunk [default: 0.3]
    #[arg(long)]
    trunk_gradient: Option<f64>,
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
        let (classes, lists) = class_slices::open(&self.class_data, &self.class_list)?;
        config.classes.fold = folds.fold();
        let held = class_slices::held_out(&classes, folds)?;
        let lists = class_slices::learnt(lists, &held);
        let (classes, held_out) = class_slices::divided(classes, folds, &held)?;
        config.classes.data = class_slices::records(&self.class_data, &self.class_list, &classes);
        let weights = draw_weights(&classes, &lists, config.classes.lone_source);
        let (device, limits) = (run.device()?, run.stop_conditions()?);
        let mut measure = |state: &StateDict| {
            let measured = || {
                let slices = class_slices::classify(state, &held_out)?;
                let classes = balanced_accuracy(&slices).unwrap_or(0.0);
                let mut all = match &held_out_lesions {
                    Some(lesions) => segmentation::measure(state, lesions)?,
                    None => Vec::new(),
                };
                let lesions = all.first().map_or(0.0, |(_, value)| *value);
                all.insert(0, ("mean_of_both".to_owned(), (classes + lesions) / 2.0));
                all.push(("balanced_accuracy".to_owned(), classes));
                Ok::<_, anyhow::Error>(all)
            };
            measured().map_err(Into::into)
        };
        let validation = folds.validate.map(|every| Validation {
            every,
            patience: folds.patience,
            measure: &mut measure,
        });
        let mut display = Display::new(&LOSS_NAMES);
        let outcome = train_joint(
            JointData { lesions, classes, weights },
            start.as_ref(),
            &config,
            &run.out,
            &device,
            &limits,
            validation,
            |progress| display.show(progress),
        );
        display.finish();
        let outcome = outcome.with_context(|| format!("training into {}", run.out.display()))?;
        println!("{outcome}");
        let model = run.out.join(MODEL);
        if outcome.finished && !held_out.files.is_empty() {
            class_slices::write(&run.out, &read_state(&model)?.0, &held_out)?;
        }
        println!("{}\n{NOTICE}", model.display());
        Ok(ExitCode::SUCCESS)
    }

    fn config(&self) -> Result<JointConfig> {
        let stored: Option<JointConfig> =
            self.detector.config.as_deref().map(read_config).transpose()?;
        let (detector, classes) = stored.map(|stored| (stored.detector, stored.classes)).unzip();
        let mut classes: JointClasses = classes.unwrap_or_default();
        set(&mut classes.batch, &self.class_batch);
        set(&mut classes.weight, &self.class_weight);
        set(&mut classes.trunk_gradient, &self.trunk_gradient);
        set(&mut classes.dropout, &self.class_dropout);
        set(&mut classes.label_smoothing, &self.label_smoothing);
        set(&mut classes.lone_source, &self.lone_source);
        set(&mut classes.augmentation, &self.class_augment);
        ensure!(classes.batch > 0, "--class-batch must be at least 1");
        ensure!(
            classes.weight.is_finite() && classes.weight > 0.0,
            "--class-weight must be positive"
        );
        ensure!(
            (0.0..=1.0).contains(&classes.trunk_gradient),
            "--trunk-gradient must lie between 0 and 1"
        );
        for (name, share) in
            [("--class-dropout", classes.dropout), ("--label-smoothing", classes.label_smoothing)]
        {
            ensure!((0.0..1.0).contains(&share), "{name} must be at least 0 and below 1");
        }
        ensure!(classes.lone_source > 0.0, "--lone-source must be positive");
        Ok(JointConfig { detector: self.detector.config(detector)?, classes })
    }
}
