//! `groundglass evaluate`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;

use super::files;
use super::model::{DeviceArgument, predictor, read_weights};
use super::predict::Hacks;
use crate::evaluate::bootstrap::Estimate;
use crate::evaluate::classification::{self, Classified};
use crate::evaluate::coco::{self, CocoSlice, Overlap};
use crate::evaluate::segmentation;
use crate::evaluate::tables::{Evaluation, Provenance};
use crate::predict::report::NOTICE;
use crate::predict::{LoadedModel, MaskThreshold, ModelFile, Settings, Unattended};
use crate::train::dataset::classes::{CLASS_NAMES, ClassDataset};
use crate::train::dataset::lesions::{LesionClasses, LesionDataset};
use crate::train::run::TRAINING;

/// Arguments of `evaluate`.
#[derive(Debug, Args)]
pub struct Evaluate {
    #[command(subcommand)]
    stage: Stage,
}

#[derive(Debug, Subcommand)]
enum Stage {
    /// Average precision of lesions against drawn masks.
    Segmentation(EvaluateSegmentation),
    /// Confusion matrix, sensitivities and calibration of the slice's class.
    Classifier(EvaluateClassifier),
}

#[derive(Debug, Args)]
struct EvaluateSegmentation {
    /// Weights (.bpk or .pth)
    #[arg(long)]
    model: PathBuf,
    /// Folder with `imgs` and `masks`
    #[arg(long)]
    data: PathBuf,
    /// Which lesions of the masks count: merge, ggo, both
    #[arg(long, default_value = "merge")]
    masks: LesionClasses,
    /// Score and NMS thresholds, SCORE,NMS; several are evaluated in turn. Default: the paper's
    /// strict and loose pair
    #[arg(long, num_args = 1.., default_values = ["0.75,0.75", "0.05,0.5"], value_parser = parse_pair)]
    thresholds: Vec<(f32, f32)>,
    /// Cut masks at logit 0.5 as the reference's evaluation does, or at probability 0.5
    #[arg(long, default_value = "logit", value_parser = super::predict::parse_mask_threshold)]
    mask_threshold: MaskThreshold,
    /// Keep true lesions of any size; the default removes those of 100 pixels or fewer
    #[arg(long)]
    keep_small: bool,
    /// Write truth and predictions as COCO files to a folder, for pycocotools
    #[arg(long, value_name = "FOLDER")]
    coco: Option<PathBuf>,
    #[command(flatten)]
    hacks: Hacks,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct EvaluateClassifier {
    /// Weights (.bpk or .pth)
    #[arg(long)]
    model: PathBuf,
    /// Folder of the pictures, or the folder above their `images`
    #[arg(long)]
    data: PathBuf,
    /// COVIDx-CT list or names, one a line. Default: every picture named by class
    #[arg(long)]
    list: Option<PathBuf>,
    /// Seed of the replication in the RoI batch
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    hacks: Hacks,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct Output {
    /// What computes
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// How tables name the data. Default: its path
    #[arg(long)]
    label: Option<String>,
    /// Write the result as JSON, for `groundglass tables`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the result as Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

fn parse_pair(text: &str) -> Result<(f32, f32), String> {
    let pair = text.split_once(',').and_then(|(a, b)| a.parse().ok().zip(b.parse().ok()));
    pair.ok_or_else(|| format!("`{text}` is not SCORE,NMS, such as 0.75,0.75"))
}

impl Evaluate {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        match self.stage {
            Stage::Segmentation(command) => command.run(),
            Stage::Classifier(command) => command.run(),
        }
    }
}

/// Where weights and data come from.
fn provenance(file: &ModelFile, label: &Option<String>, data: &Path, training: &str) -> Provenance {
    let minutes = file
        .state
        .metadata
        .get(training)
        .and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok())
        .and_then(|value| value["seconds"].as_f64())
        .map(|seconds| seconds / 60.0);
    let data = label.clone().unwrap_or_else(|| data.display().to_string());
    Provenance::new(file.info.clone(), file.architecture.variant, data, minutes)
}

impl Output {
    fn write(&self, evaluation: &Evaluation, markdown: &str) -> Result<()> {
        println!("{markdown}");
        if let Some(path) = &self.json {
            let mut text = serde_json::to_string_pretty(evaluation)?;
            text.push('\n');
            files::write(path, text.as_bytes())?;
        }
        if let Some(path) = &self.markdown {
            files::write(path, markdown.as_bytes())?;
        }
        Ok(())
    }
}

impl EvaluateSegmentation {
    fn run(self) -> Result<ExitCode> {
        let file = read_weights(&self.model)?;
        let provenance = provenance(&file, &self.output.label, &self.data, TRAINING);
        let model = LoadedModel::new(Some(file), None)
            .with_context(|| format!("{}", self.model.display()))?;
        let dataset =
            LesionDataset::open(&self.data, self.masks, if self.keep_small { 1 } else { 100 })?;
        eprintln!("{}", dataset.report());
        let predictor = predictor(&model, self.output.device)?;
        let bar = ProgressBar::new((dataset.files.len() * self.thresholds.len()) as u64);
        let mut results = Vec::new();
        for (score_threshold, nms_threshold) in &self.thresholds {
            let settings = Settings {
                score_threshold: *score_threshold,
                nms_threshold: *nms_threshold,
                mask_threshold: self.mask_threshold,
                scores: self.hacks.scores(),
                keep_empty: self.hacks.keep_empty_boxes,
                ..Settings::default()
            }
            .checked()?;
            let slices = segmentation::predict(&predictor, &dataset, &settings, || bar.inc(1))?;
            if let Some(folder) = &self.coco {
                let name = format!("{score_threshold}-{nms_threshold}");
                write_coco(folder, &name, &slices)?;
            }
            results.push(segmentation::evaluate(&slices, &dataset, &settings)?);
        }
        bar.finish_and_clear();
        let evaluation = Evaluation::Segmentation { provenance, results };
        let text = segmentation_markdown(&evaluation);
        self.output.write(&evaluation, &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Truth, mask results and box results at one setting.
fn write_coco(folder: &Path, name: &str, slices: &[CocoSlice]) -> Result<()> {
    let contents = [
        ("truth.json".to_owned(), coco::ground_truth(slices)),
        (format!("masks-{name}.json"), coco::results(slices, Overlap::Masks)),
        (format!("boxes-{name}.json"), coco::results(slices, Overlap::Boxes)),
    ];
    for (file, value) in contents {
        files::write(&folder.join(file), value.to_string().as_bytes())?;
    }
    Ok(())
}

fn shown(estimate: &Option<Estimate>) -> String {
    estimate.map_or("none".into(), |estimate| estimate.to_string())
}

fn segmentation_markdown(evaluation: &Evaluation) -> String {
    let Evaluation::Segmentation { provenance, results } = evaluation else {
        return String::new();
    };
    let mut text = format!("## {} on {}\n\n{NOTICE}\n\n", provenance.model.name, provenance.data);
    for result in results {
        let Settings { score_threshold, nms_threshold, .. } = result.settings;
        let shown_ap =
            |value: Option<f64>| value.map_or("none".into(), |value| format!("{value:.4}"));
        let _ = write!(
            text,
            "{} slices ({} with lesions) of {} scans, {} lesions; {} found at score > {score_threshold}, NMS {nms_threshold}\n\n\
             | measure | value (95 % interval over scans) |\n|---|---|\n\
             | per-image AP at IoU 0.5 | {} |\n| per-image AP at IoU 0.75 | {} |\n| per-image AP, mean of 0.5 to 0.95 | {} |\n\
             | COCO AP of masks (0.5 to 0.95 / 0.5 / 0.75) | {} / {} / {} |\n| COCO AP of boxes (0.5 to 0.95 / 0.5 / 0.75) | {} / {} / {} |\n\n",
            result.slices,
            result.slices_with_lesions,
            result.scans,
            result.lesions,
            result.predictions,
            shown(&result.ap50),
            shown(&result.ap75),
            shown(&result.mean_ap),
            shown_ap(result.coco_masks.ap),
            shown_ap(result.coco_masks.ap50),
            shown_ap(result.coco_masks.ap75),
            shown_ap(result.coco_boxes.ap),
            shown_ap(result.coco_boxes.ap50),
            shown_ap(result.coco_boxes.ap75),
        );
    }
    text
}

impl EvaluateClassifier {
    fn run(self) -> Result<ExitCode> {
        let file = read_weights(&self.model)?;
        let data = self.list.as_ref().unwrap_or(&self.data);
        let training = format!("{TRAINING}_classifier");
        let provenance = provenance(&file, &self.output.label, data, &training);
        let model = LoadedModel::new(None, Some(file))
            .with_context(|| format!("{}", self.model.display()))?;
        let dataset = ClassDataset::open(&self.data, self.list.as_deref())?;
        eprintln!("{}", dataset.report());
        let predictor = predictor(&model, self.output.device)?;
        let settings = Settings {
            seed: self.seed,
            scores: self.hacks.scores(),
            keep_empty: self.hacks.keep_empty_boxes,
            ..Settings::default()
        };
        let bar = ProgressBar::new(dataset.files.len() as u64);
        let mut slices = Vec::new();
        for file in &dataset.files {
            let slice = dataset.read(file)?;
            let report = pollster::block_on(predictor.predict(&slice, &settings, &mut Unattended))
                .with_context(|| file.path.display().to_string())?;
            let (logits, classes) = report.logits.zip(report.classes).context("no classifier")?;
            slices.push(Classified {
                name: file.name.clone(),
                patient: file.patient(),
                class: file.class,
                logits,
                probabilities: [classes.control, classes.common_pneumonia, classes.covid19],
            });
            bar.inc(1);
        }
        bar.finish_and_clear();
        let result = Box::new(classification::evaluate(&slices));
        let evaluation = Evaluation::Classification { provenance, result };
        let text = classification_markdown(&evaluation);
        self.output.write(&evaluation, &text)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn classification_markdown(evaluation: &Evaluation) -> String {
    let Evaluation::Classification { provenance, result } = evaluation else {
        return String::new();
    };
    let mut text = format!(
        "## {} on {}\n\n{NOTICE}\n\n{} slices; patients: {} control, {} common pneumonia, {} COVID-19\n\n",
        provenance.model.name,
        provenance.data,
        result.slices,
        result.patients[0],
        result.patients[1],
        result.patients[2]
    );
    text.push_str("| true \\ predicted | control | common pneumonia | COVID-19 | sensitivity (95 % interval over patients) |\n|---|---|---|---|---|\n");
    for (class, row) in result.confusion.0.iter().enumerate() {
        let [a, b, c] = row;
        let sensitivity = shown(&result.sensitivities[class]);
        let _ = writeln!(text, "| {} | {a} | {b} | {c} | {sensitivity} |", CLASS_NAMES[class]);
    }
    let _ = write!(
        text,
        "\n| measure | value (95 % interval over patients) |\n|---|---|\n| accuracy | {} |\n| class-adjusted F1 (weights 0.45, 0.35, 0.20) | {} |\n| expected calibration error | {} |\n",
        shown(&result.accuracy),
        shown(&result.adjusted_f1),
        shown(&result.calibration_error)
    );
    text
}
