//! `groundglass train segmentation`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::cli::model::{read_state, read_weights, training_device};
use crate::cli::train::{
    FoldArguments, RunArguments, at_most_one, below_one, from_scratch, given_again, not_negative,
    read_config, serde_value, set,
};
use crate::dataset::instances::LesionTargets;
use crate::dataset::lesions::{LesionDataset, LesionFile};
use crate::dataset::source::DataSource;
use crate::evaluate::lesion_measures::LesionMatches;
use crate::evaluate::segmentation;
use crate::image::preprocess::Resize;
use crate::inference::{CpuBackend, LoadedModel, ModelFile, Predictor, Settings};
use crate::network::pretrained::Taken;
use crate::network::{StateDict, Variant};
use crate::train::config::{Freeze, Norm, Sampling, Schedule};
use crate::train::folds::{FoldBy, Origin};
use crate::train::mask_rcnn_losses::LOSS_NAMES;
use crate::train::segmentation::{
    held_out_losses, state_with_backbone, state_with_detector, train_segmentation,
};
use crate::train::{Augmentation, SegmentationConfig};

/// Slices of a patient that validation looks at.
const VALIDATION_SLICES: usize = 6;

/// Values that options have unless they are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// The paper's.
    Paper,
    /// For few patients and a --backbone: --learning-rate 3e-4 --warmup 150 --schedule cosine --optimizer adamw
    /// --weight-decay 0.02 --body-rate 0.5 --clip 5 --norm running --freeze stem --steps 9000 --augment strong
    /// --sampling source --negatives 0.25 --resize long-side --crop 384 --ema-decay 0.998 --anchors 8,16,32,64,128
    /// --roi-foreground 0.5 --roi-background 0.5 --rpn-positives 0.5 --roi-positives 0.25 --minimum-area 60
    /// --ignore-small true
    SmallData,
}

/// Whether decay goes through the gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Optimizer {
    /// Decay as an L2 term of the gradient.
    Adam,
    /// Decoupled decay that spares biases and batch norm.
    Adamw,
}

/// Arguments of `train segmentation`. Defaults are the paper's.
#[derive(Debug, Args)]
pub struct TrainSegmentation {
    /// Where slices come from; several are joined, each with its weight (PATH:WEIGHT). A folder with `imgs` and
    /// `masks`; a COCO file (.json); a folder with `imagesTr` and `labelsTr` of NIfTI volumes; a COVIDx-CT list
    /// (.txt), of which the healthy slices are taken
    #[arg(long, required = true, num_args = 1..)]
    data: Vec<DataSource>,
    /// Weights to start from (.bpk, .pth, .safetensors), with their anchors. A detector on a ResNet18 may begin one on
    /// a ResNet34 that is cut alike: name its --variant. Default: fresh ones
    #[arg(long, conflicts_with = "backbone")]
    from: Option<PathBuf>,
    /// A ResNet18 or 34 to begin the body with (.safetensors or .pth, as torchvision and timm name it); batch
    /// norm's statistics come along. A ResNet18 may begin a ResNet34
    #[arg(long)]
    backbone: Option<PathBuf>,
    /// Values of all options that are not given
    #[arg(long, value_enum, default_value = "paper")]
    preset: Preset,
    /// The same from a run's config.json
    #[arg(long, conflicts_with = "preset")]
    pub(super) config: Option<PathBuf>,
    /// Network [paper: resnet18t1]
    #[arg(long)]
    variant: Option<Variant>,
    /// Which lesions: merge (all as one class), ggo (ground glass alone), both (two classes) [paper: merge]
    #[arg(long)]
    masks: Option<LesionTargets>,
    /// Passes over the slices with lesions [paper: 100]
    #[arg(long, conflicts_with = "steps")]
    epochs: Option<u64>,
    /// Steps, instead of epochs
    #[arg(long)]
    steps: Option<u64>,
    /// Highest learning rate [paper: 1e-5]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Steps of linear warm-up [paper: 0]
    #[arg(long)]
    warmup: Option<u64>,
    /// What the learning rate does after the warm-up: constant, cosine [paper: constant]
    #[arg(long, value_parser = serde_value::<Schedule>)]
    schedule: Option<Schedule>,
    /// How the decay is applied [paper: adam]
    #[arg(long, value_enum)]
    optimizer: Option<Optimizer>,
    /// Weight decay [paper: 1e-3]
    #[arg(long)]
    weight_decay: Option<f64>,
    /// Factor of the learning rate in the body [paper: 1]
    #[arg(long)]
    body_rate: Option<f64>,
    /// Largest norm of a step's gradient [paper: any]
    #[arg(long)]
    clip: Option<f64>,
    /// Batch norm: batch (each slice's own statistics), running (those of the start, scale and shift trained),
    /// frozen (nothing trained) [paper: batch]
    #[arg(long, value_parser = serde_value::<Norm>)]
    norm: Option<Norm>,
    /// What stays as it is: none, stem, layer1 (with the stem) [paper: none]
    #[arg(long, value_parser = serde_value::<Freeze>)]
    freeze: Option<Freeze>,
    /// Share of the slices without lesions (--negatives) that lesions of others are copied onto [paper: 0]
    #[arg(long)]
    copy_paste: Option<f64>,
    /// Weight of the mask loss [paper: 1]
    #[arg(long)]
    mask_weight: Option<f64>,
    /// Slices per step [paper: 1]
    #[arg(long)]
    batch: Option<usize>,
    /// Seed of weights, order, sampling and augmentation [paper: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Random changes of the slices: none, flip, jitter (flips, brightness, contrast, gamma), affine (jitter,
    /// rotation, zoom, shifts), strong (wider, and elastic deformation, equalisation, resolution, blur, noise) [paper: none]
    #[arg(long, value_parser = serde_value::<Augmentation>)]
    augment: Option<Augmentation>,
    /// Share that a moving average of the weights keeps at a step, such as 0.998; the average
    /// becomes the model. 0: none [paper: 0]
    #[arg(long, alias = "average")]
    ema_decay: Option<f64>,
    /// Order: slice (every slice once an epoch), patient (every patient equally often), source (sources by
    /// weight, then patients by the root of their slices) [paper: slice]
    #[arg(long, value_parser = serde_value::<Sampling>)]
    sampling: Option<Sampling>,
    /// Share of the draws that are slices without lesions [paper: 0, which leaves them out]
    #[arg(long, alias = "empty")]
    negatives: Option<f64>,
    /// Which side of a slice becomes 512 px: short-side, long-side; stored with the model [paper: short-side]
    #[arg(long)]
    resize: Option<Resize>,
    /// Side of the crop that is taken of a slice at random, in network pixels [paper: the whole slice]
    #[arg(long, alias = "cut")]
    crop: Option<usize>,
    /// Anchor sizes in pixels [paper: 2,4,8,16,32]
    #[arg(long, value_delimiter = ',')]
    anchors: Option<Vec<f32>>,
    /// Largest share of anchors in the loss that are lesions [paper: 0.75]
    #[arg(long)]
    rpn_positives: Option<f64>,
    /// Largest share of proposals in the loss that are lesions [paper: 0.75]
    #[arg(long)]
    roi_positives: Option<f64>,
    /// IoU from which a proposal is a lesion [paper: 0.75]
    #[arg(long)]
    roi_foreground: Option<f32>,
    /// IoU under which a proposal is background [paper: 0.5]
    #[arg(long)]
    roi_background: Option<f32>,
    /// Lesions of so many pixels or fewer do not count, where a slice's long side has 512 [paper: 100]
    #[arg(long)]
    minimum_area: Option<usize>,
    /// Keep lesions of any size: --minimum-area 0
    #[arg(long, conflicts_with = "minimum_area")]
    keep_small: bool,
    /// Whether lesions that are too small to count are ignored; else they are background [paper: false]
    #[arg(long)]
    ignore_small: Option<bool>,
    #[command(flatten)]
    pub(super) folds: FoldArguments,
    #[command(flatten)]
    pub(super) run: RunArguments,
}

impl TrainSegmentation {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        self.run.check()?;
        self.folds.check()?;
        let mut config = self.config(self.config.as_deref().map(read_config).transpose()?)?;
        let (dataset, held_out) = self.slices(&mut config)?;
        let start = self.starting_state(&mut config)?;
        let mut measure = |state: &StateDict| match &held_out {
            Some(held_out) => self.measure(state, held_out, &config).map_err(Into::into),
            None => Ok(Vec::new()),
        };
        let validation = self.folds.validation(&mut measure);
        let outcome = self.run.execute(&LOSS_NAMES, validation, |execution| {
            train_segmentation(dataset, start.as_ref(), &config, execution)
        })?;
        self.run.finish(&outcome, None)
    }

    /// Average precision and losses on held-out slices; the first value decides which weights are best.
    pub(super) fn measure(
        &self,
        state: &StateDict,
        held_out: &LesionDataset,
        config: &SegmentationConfig,
    ) -> Result<Vec<(String, f64)>> {
        let bytes = state.to_pack()?;
        let file = ModelFile::read("validation", &bytes)?;
        let model = LoadedModel::new(Some(file), None)?;
        let predictor: Predictor<CpuBackend> = Predictor::on_cpu(&model, "cpu")?;
        let settings =
            Settings { score_threshold: 0.05, nms_threshold: 0.5, ..Settings::reference() };
        let slices = segmentation::predict(&predictor, held_out, &settings, || {})?;
        let matches = LesionMatches::new(&slices)?;
        let all: Vec<usize> = (0..slices.len()).collect();
        let coco = matches.coco_masks(&all).unwrap_or_default();
        let measured = [
            ("coco_masks_ap50", coco.at_50),
            ("coco_masks_ap", coco.mean),
            ("per_image_ap", matches.mean_ap(&all)),
            ("froc_mean", matches.froc(&all).map_or(0.0, |froc| froc.mean)),
            ("union_dice", matches.union(&all).dice().unwrap_or(0.0)),
        ];
        let device = training_device(self.run.device)?;
        let losses = held_out_losses(state, held_out, config, &device)?;
        let losses =
            LOSS_NAMES.iter().zip(losses).map(|(name, loss)| (format!("loss_{name}"), loss));
        Ok(measured
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .chain(losses)
            .collect())
    }

    /// The slices to learn from and those that are held out; their record goes into `config`.
    pub(super) fn slices(
        &self,
        config: &mut SegmentationConfig,
    ) -> Result<(LesionDataset, Option<LesionDataset>)> {
        config.fold = self.folds.instead_of(config.fold)?;
        let dataset = LesionDataset::open(&self.data, config.rules())?;
        println!("{}", dataset.report());
        let (dataset, held_out) = self.split(dataset)?;
        let with_lesions = dataset.files.iter().filter(|file| file.lesions > 0).count();
        let without = dataset.files.len() - with_lesions;
        if config.negatives > 0.0 && without == 0 {
            println!("no slice is without lesions: --negatives {} does nothing", config.negatives);
        }
        if config.negatives == 0.0 && without > 0 {
            println!("{without} slices without lesions are not used; --negatives 0.25 uses them");
        }
        ensure!(
            config.copy_paste == 0.0 || (config.negatives > 0.0 && without > 0),
            "--copy-paste copies lesions into slices without any: it takes such slices, and --negatives"
        );
        let dataset = if config.negatives > 0.0 { dataset } else { dataset.with_lesions()? };
        ensure!(with_lesions > 0, "no slice has a lesion that counts");
        println!("training on {} slices, {with_lesions} of them with lesions", dataset.files.len());
        if self.steps.is_none() && (self.epochs.is_some() || config.steps == 0) {
            let steps_per_epoch = (with_lesions as u64).div_ceil(config.batch as u64);
            config.steps = self.epochs.unwrap_or(100) * steps_per_epoch;
        }
        config.data = dataset.records();
        Ok((dataset, held_out))
    }

    /// The training slices, and those that are held out.
    fn split(&self, dataset: LesionDataset) -> Result<(LesionDataset, Option<LesionDataset>)> {
        let Some(fold) = self.folds.fold() else { return Ok((dataset, None)) };
        let names = self.folds.names()?;
        let origin = |file: &LesionFile| Origin {
            source: file.source.to_string(),
            stratum: 0,
            patient: names.of(&file.patient, file.patient_key()),
        };
        let origins: Vec<Origin> = dataset.files.iter().map(origin).collect();
        let (training, mut validation) = dataset.divided(&fold.held_out(&origins))?;
        // Slices without lesions may be alike, such as black ones.
        let with_lesions = training.files.iter().filter(|file| file.lesions > 0);
        let known: BTreeMap<[u8; 32], &LesionFile> =
            with_lesions.map(|file| (file.sha256, file)).collect();
        if let Some((learnt, held)) =
            validation.files.iter().find_map(|file| Some((known.get(&file.sha256)?, file)))
        {
            let advice = match fold.by {
                FoldBy::Name => "name both as one patient in --same-patients",
                FoldBy::Patient | FoldBy::Source => {
                    "--fold-by name keeps patients of one name together, with --same-patients also those of different names"
                }
            };
            bail!(
                "{} is {} to the byte, and only one of them would be held out: {advice}",
                held.stem,
                learnt.stem
            );
        }
        // Neighbouring slices tell the same: a few of every patient are enough.
        validation.thin_out(VALIDATION_SLICES);
        println!("{} slices are held out for validation", validation.files.len());
        Ok((training, Some(validation)))
    }

    /// The weights that a run starts from, unless it starts from fresh ones; their hash goes into `config`.
    pub(super) fn starting_state(
        &self,
        config: &mut SegmentationConfig,
    ) -> Result<Option<StateDict>> {
        for (option, named, given) in [
            ("--backbone", config.backbone.take().is_some(), self.backbone.is_some()),
            ("--from", config.from.take().is_some(), self.from.is_some()),
        ] {
            given_again(option, named, given)?;
        }
        if self.backbone.is_none() && self.from.is_none() {
            from_scratch(config.norm, config.freeze, "a --backbone or --from")?;
        }
        if let Some(path) = &self.backbone {
            let (state, hash) = read_state(path)?;
            let (state, taken) = state_with_backbone(config, &state)
                .with_context(|| format!("{}", path.display()))?;
            announce(path, taken, config)?;
            config.backbone = Some(hash);
            return Ok(Some(state));
        }
        let Some(path) = &self.from else { return Ok(None) };
        let from = read_weights(path)?;
        let detector = from.detector().with_context(|| format!("{}", path.display()))?;
        let chosen = self.variant.is_some() || self.config.is_some();
        if !chosen {
            config.variant = detector.variant;
        }
        config.anchors = detector.anchors.clone();
        config.from = Some(from.info.sha256.clone());
        let (masks, wanted) = (detector.masks, config.classes.lesion_classes());
        ensure!(masks == wanted, "--from has other classes ({masks}) than --masks");
        if config.variant == detector.variant {
            return Ok(Some(from.state));
        }
        let (state, taken) = state_with_detector(config, &from.state)
            .with_context(|| format!("{} cannot begin a {}", path.display(), config.variant))?;
        announce(path, taken, config)?;
        Ok(Some(state))
    }

    /// The preset, or what a run has `stored`, with the options that are given on top.
    pub(super) fn config(&self, stored: Option<SegmentationConfig>) -> Result<SegmentationConfig> {
        let mut config = match (stored, self.preset) {
            (Some(stored), _) => stored,
            (None, Preset::Paper) => SegmentationConfig::paper(0),
            (None, Preset::SmallData) => {
                SegmentationConfig { seed: 0, ..SegmentationConfig::small_data() }
            }
        };
        set(&mut config.variant, &self.variant);
        set(&mut config.classes, &self.masks);
        set(&mut config.steps, &self.steps);
        set(&mut config.learning_rate.peak, &self.learning_rate);
        set(&mut config.learning_rate.warmup, &self.warmup);
        set(&mut config.learning_rate.schedule, &self.schedule);
        let decoupled = self.optimizer.map(|optimizer| optimizer == Optimizer::Adamw);
        set(&mut config.decoupled_decay, &decoupled);
        set(&mut config.weight_decay, &self.weight_decay);
        set(&mut config.body_rate, &self.body_rate);
        config.clip = self.clip.or(config.clip);
        set(&mut config.norm, &self.norm);
        set(&mut config.freeze, &self.freeze);
        set(&mut config.copy_paste, &self.copy_paste);
        set(&mut config.mask_weight, &self.mask_weight);
        set(&mut config.batch, &self.batch);
        set(&mut config.seed, &self.seed);
        set(&mut config.augmentation, &self.augment);
        set(&mut config.ema_decay, &self.ema_decay);
        set(&mut config.sampling, &self.sampling);
        set(&mut config.negatives, &self.negatives);
        set(&mut config.resize, &self.resize);
        config.crop = self.crop.or(config.crop);
        set(&mut config.anchors.sizes, &self.anchors);
        set(&mut config.positive_fraction, &self.rpn_positives);
        set(&mut config.roi_positive_fraction, &self.roi_positives);
        set(&mut config.roi.foreground, &self.roi_foreground);
        set(&mut config.roi.background, &self.roi_background);
        set(&mut config.minimum_area, &self.minimum_area);
        if self.keep_small {
            config.minimum_area = 0;
        }
        set(&mut config.ignore_small, &self.ignore_small);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        not_negative(&[
            ("--learning-rate", config.learning_rate.peak),
            ("--body-rate", config.body_rate),
            ("--weight-decay", config.weight_decay),
            ("--mask-weight", config.mask_weight),
        ])?;
        ensure!(config.batch > 0, "--batch must be at least 1");
        ensure!(
            config.roi.background <= config.roi.foreground,
            "--roi-background is above --roi-foreground"
        );
        below_one(&[("--ema-decay", config.ema_decay), ("--negatives", config.negatives)])?;
        ensure!(config.crop.is_none_or(|side| side >= 64), "--crop must be at least 64");
        ensure!(config.clip.is_none_or(positive), "--clip must be positive");
        let anchors = &config.anchors.sizes;
        ensure!(anchors.iter().all(|size| *size > 0.0), "--anchors must be positive");
        at_most_one(&[
            ("--rpn-positives", config.positive_fraction),
            ("--roi-positives", config.roi_positive_fraction),
            ("--copy-paste", config.copy_paste),
            ("--roi-foreground", f64::from(config.roi.foreground)),
            ("--roi-background", f64::from(config.roi.background)),
        ])?;
        Ok(config)
    }
}

/// Says what was taken from `path`.
///
/// # Errors
/// If it lacks blocks that `config` would not let learn.
fn announce(path: &Path, taken: Taken, config: &SegmentationConfig) -> Result<()> {
    println!(
        "{}: {} parameters; {} blocks that it does not have start as the identity",
        path.display(),
        taken.parameters,
        taken.identity_blocks
    );
    ensure!(
        taken.identity_blocks == 0
            || (config.norm != Norm::Frozen && config.freeze != Freeze::Layer1),
        "{}: blocks that start as the identity must be able to learn; use --norm running and --freeze stem or none",
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        arguments: TrainSegmentation,
    }

    #[test]
    fn the_help_says_what_the_preset_for_small_data_holds() {
        let config = |options: &[&str]| {
            let fixed = ["program", "--data", "data", "--out", "out"];
            let words = fixed.iter().chain(options);
            Program::try_parse_from(words).unwrap().arguments.config(None).unwrap()
        };
        let preset = Preset::SmallData.to_possible_value().unwrap();
        let help = preset.get_help().unwrap().to_string();
        let options: Vec<&str> = help.split_once(": ").unwrap().1.split_whitespace().collect();
        assert_eq!(config(&options), config(&["--preset", "small-data"]));
    }
}
