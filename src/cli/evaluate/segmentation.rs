//! `groundglass evaluate segmentation`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::ProgressBar;

use crate::cli::evaluate::{OutputArguments, opened, provenance, shown};
use crate::cli::files;
use crate::cli::model::{predictor, read_weights};
use crate::cli::outputs::Paths;
use crate::cli::predict::ReferenceOptions;
use crate::dataset::instances::{LesionRules, LesionTargets, MINIMUM_AREA};
use crate::dataset::lesions::LesionDataset;
use crate::evaluate::bootstrap::Estimate;
use crate::evaluate::coco::{self, CocoSlice, Overlap};
use crate::evaluate::froc::FALSE_POSITIVES;
use crate::evaluate::lesion_measures::{self, LesionMatches};
use crate::evaluate::segmentation::{self, SegmentationResult};
use crate::evaluate::tables::{Against, Difference, Evaluation};
use crate::evaluate::union;
use crate::figures;
use crate::figures::lines::{LineChart, Series};
use crate::inference::{LoadedModel, MaskThreshold, ModelFile, Settings};
use crate::report::NOTICE;
use crate::train::provenance::TRAINING;

/// Arguments of `evaluate segmentation`.
#[derive(Debug, Args)]
pub struct EvaluateSegmentation {
    /// Weights (.bpk, .pth or .safetensors)
    #[arg(long)]
    model: PathBuf,
    /// Weights of another model, measured on the same slices: how much `--model` is ahead of it
    #[arg(long, value_name = "MODEL")]
    against: Option<PathBuf>,
    /// Folder with `imgs` and `masks`, or with `imagesTr` and `labelsTr` of NIfTI volumes; or a COCO file (.json)
    #[arg(long)]
    data: PathBuf,
    /// Which lesions of the masks count: merge, ggo, both
    #[arg(long, default_value = "merge")]
    masks: LesionTargets,
    /// Score and NMS thresholds, SCORE,NMS; several are evaluated in turn. Default: the paper's
    /// strict and loose pair
    #[arg(long, num_args = 1.., default_values = ["0.75,0.75", "0.05,0.5"], value_parser = parse_pair)]
    thresholds: Vec<(f32, f32)>,
    /// Cut masks at logit 0.5 as the reference's evaluation does, or at probability 0.5
    #[arg(long, default_value = "logit")]
    mask_threshold: MaskThreshold,
    /// Keep true lesions of any size; the default removes those of 100 pixels or fewer
    #[arg(long)]
    keep_small: bool,
    /// Write truth and predictions as COCO files to a folder, for pycocotools
    #[arg(long, value_name = "FOLDER")]
    coco: Option<PathBuf>,
    /// Draw how many lesions are found against false positives a slice (FROC) as SVG
    #[arg(long, value_name = "FILE")]
    froc: Option<PathBuf>,
    #[command(flatten)]
    reference: ReferenceOptions,
    #[command(flatten)]
    output: OutputArguments,
}

fn parse_pair(text: &str) -> Result<(f32, f32)> {
    let pair = text.split_once(',').and_then(|(a, b)| a.parse().ok().zip(b.parse().ok()));
    pair.with_context(|| format!("`{text}` is not SCORE,NMS, such as 0.75,0.75"))
}

impl EvaluateSegmentation {
    /// What must not be written over.
    fn dataset_paths(&self) -> Vec<PathBuf> {
        let models = self.against.iter().chain([&self.model, &self.data]).cloned().collect();
        [models, files::below(&self.data)].concat()
    }

    pub fn run(self) -> Result<ExitCode> {
        let file = read_weights(&self.model)?;
        let inputs = self.dataset_paths();
        let mut paths = Paths::of_inputs(inputs.iter().map(PathBuf::as_path));
        let outputs = self.output.open(&mut paths)?;
        let froc = opened(&self.froc, &mut paths)?;
        let lowest = self.thresholds.iter().map(|(score, _)| *score).fold(1.0, f32::min);
        ensure!(
            froc.is_none() || lowest <= union::SCORE,
            "--froc needs low scores: --thresholds 0.05,0.5"
        );
        let provenance = provenance(&file, &self.output.label, &self.data, TRAINING)?;
        let model = detector(file, &self.model)?;
        let other = self.against.as_ref().map(|path| {
            let file = read_weights(path)?;
            Ok::<_, anyhow::Error>((file.info.clone(), detector(file, path)?))
        });
        let other = other.transpose()?;
        let minimum_area = if self.keep_small { 0 } else { MINIMUM_AREA };
        let rules = LesionRules { classes: self.masks, minimum_area, ignore_small: true };
        let dataset = LesionDataset::open_one(&self.data, rules)?;
        eprintln!("{}", dataset.report());
        let of_other = other.as_ref().map(|(_, other)| predictor(other, self.output.device));
        let of_other = of_other.transpose()?;
        let predictor = predictor(&model, self.output.device)?;
        let models = 1 + usize::from(of_other.is_some());
        let bar = ProgressBar::new((dataset.files.len() * self.thresholds.len() * models) as u64);
        let patients = segmentation::patients(&dataset);
        let (mut results, mut differences) = (Vec::new(), Vec::new());
        for (score_threshold, nms_threshold) in &self.thresholds {
            let settings = Settings {
                score_threshold: *score_threshold,
                nms_threshold: *nms_threshold,
                mask_threshold: self.mask_threshold,
                scores: self.reference.scores(),
                keep_empty: self.reference.keep_empty_boxes,
                ..Settings::reference()
            }
            .checked()?;
            let slices = segmentation::predict(&predictor, &dataset, &settings, || bar.inc(1))?;
            if let Some(folder) = &self.coco {
                let name = format!("{score_threshold}-{nms_threshold}");
                write_coco(folder, &name, &slices)?;
            }
            let matches = LesionMatches::new(&slices)?;
            results.push(segmentation::evaluate(&slices, &matches, &dataset, &settings));
            if let Some(predictor) = &of_other {
                let slices = segmentation::predict(predictor, &dataset, &settings, || bar.inc(1))?;
                let other = LesionMatches::new(&slices)?;
                differences.push(ahead(&other, &matches, &patients, is_complete(&settings)));
            }
        }
        bar.finish_and_clear();
        let against = other.map(|(model, _)| Against { model, differences });
        let evaluation = Evaluation::Segmentation { provenance, results, against };
        let text = segmentation_markdown(&evaluation);
        let drawn = froc.map(|file| file.write(froc_svg(&evaluation)?.as_bytes()));
        outputs.write(&evaluation, &text)?;
        drawn.transpose()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The detector of a file.
fn detector(file: ModelFile, path: &Path) -> Result<LoadedModel> {
    LoadedModel::new(Some(file), None).with_context(|| format!("{}", path.display()))
}

/// By how much the second is ahead of the first.
fn ahead(
    first: &LesionMatches,
    second: &LesionMatches,
    patients: &[String],
    complete: bool,
) -> Vec<Difference> {
    lesion_measures::differences(first, second, patients, complete)
        .into_iter()
        .map(|(measure, difference)| Difference { measure: measure.into(), difference })
        .collect()
}

/// Whether measures of low scores mean something, as none were left out.
fn is_complete(settings: &Settings) -> bool {
    settings.score_threshold <= union::SCORE
}

/// Sensitivities against false positives a slice, a curve for each setting that goes down to low scores.
fn froc_svg(evaluation: &Evaluation) -> Result<String> {
    let Evaluation::Segmentation { results, .. } = evaluation else { return Ok(String::new()) };
    let curve = |result: &SegmentationResult| {
        let Settings { score_threshold, nms_threshold, .. } = result.settings;
        let points = result
            .froc
            .iter()
            .flat_map(|froc| FALSE_POSITIVES.into_iter().map(f64::log2).zip(froc.sensitivities));
        Series {
            name: format!("score over {score_threshold}, NMS {nms_threshold}"),
            points: points.collect(),
        }
    };
    let chart = LineChart {
        title: "Lesions found (FROC)".into(),
        labels: [
            "false positives a slice, as a power of 2".into(),
            "share of the lesions that is found".into(),
        ],
        series: results.iter().filter(|result| is_complete(&result.settings)).map(curve).collect(),
        logarithmic: false,
    };
    Ok(figures::svg(&chart)?)
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

/// What is measured at one setting; what needs low scores only if none were left out.
fn rows(result: &SegmentationResult) -> Vec<(String, &Option<Estimate>)> {
    let mut rows = vec![
        (
            "per-image AP at IoU 0.5 (the reference's rule: 1 for silence on a slice without lesions)".into(),
            &result.ap50,
        ),
        ("per-image AP at IoU 0.75".into(), &result.ap75),
        ("per-image AP, mean of 0.5 to 0.95".into(), &result.mean_ap),
        ("per-image AP, mean, slices with lesions only".into(), &result.mean_ap_with_lesions),
        (
            "detections a slice on slices without lesions".into(),
            &result.false_positives_without_lesions,
        ),
    ];
    for (name, coco) in
        [("masks", &result.coco_masks_estimates), ("boxes", &result.coco_boxes_estimates)]
    {
        rows.push((format!("COCO AP of {name}, 0.5 to 0.95"), &coco.ap));
        rows.push((format!("COCO AP of {name} at 0.5"), &coco.ap50));
        rows.push((format!("COCO AP of {name} at 0.75"), &coco.ap75));
    }
    let sizes = ["small", "medium", "large"].iter().zip(&result.coco_masks_estimates.ap_by_size);
    rows.extend(sizes.map(|(size, ap)| (format!("COCO AP of masks, {size} lesions"), ap)));
    if is_complete(&result.settings) {
        rows.push(("FROC, mean sensitivity".into(), &result.froc_mean));
        let rates = FALSE_POSITIVES.iter().zip(&result.froc_estimates);
        rows.extend(rates.map(|(rate, sensitivity)| {
            (format!("FROC, sensitivity at {rate} false positives a slice"), sensitivity)
        }));
        rows.push(("Dice of all lesions together (score > 0.4)".into(), &result.union_dice));
        rows.push(("recall of all lesions' pixels".into(), &result.union_recall));
        rows.push(("precision of all lesions' pixels".into(), &result.union_precision));
    }
    rows
}

fn segmentation_markdown(evaluation: &Evaluation) -> String {
    let Evaluation::Segmentation { provenance, results, against } = evaluation else {
        return String::new();
    };
    let mut text = format!("## {} on {}\n\n{NOTICE}\n\n", provenance.model.name, provenance.data);
    for (index, result) in results.iter().enumerate() {
        let Settings { score_threshold, nms_threshold, .. } = result.settings;
        writeln!(
            text,
            "{} slices ({} with lesions) of {} scans, {} lesions; {} found at score > {score_threshold}, NMS {nms_threshold}\n\n\
             | measure | value (95 % interval over scans) |\n|---|---|",
            result.slices,
            result.slices_with_lesions,
            result.scans,
            result.lesions,
            result.predictions,
        )
        .ok();
        for (name, value) in rows(result) {
            writeln!(text, "| {name} | {} |", shown(value)).ok();
        }
        text.push('\n');
        let of_setting = against.as_ref().and_then(|against| against.differences.get(index));
        if let Some((against, differences)) = against.as_ref().zip(of_setting) {
            writeln!(text, "| measure | less {} (95 % interval over scans) |", against.model.name)
                .ok();
            text.push_str("|---|---|\n");
            for Difference { measure, difference } in differences {
                writeln!(text, "| {measure} | {} |", shown(difference)).ok();
            }
            text.push('\n');
        }
    }
    text
}
