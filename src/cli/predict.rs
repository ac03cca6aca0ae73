//! `groundglass predict`.

use std::collections::BTreeSet;
use std::io::{Cursor, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::files;
use super::model::{DeviceArgument, ModelArguments, predictor};
use crate::export::overlay;
use crate::image::{CtSlice, Window, decode_slice};
use crate::predict::detections::ScoreFunction;
use crate::predict::report::{FileError, NOTICE, Report, SliceReport};
use crate::predict::{MaskThreshold, Predictor, Settings, Unattended};

/// Largest image file read.
const MAX_IMAGE_BYTES: u64 = 256 << 20;

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct Predict {
    /// Slices (PNG, JPEG, DICOM) or folders of slices
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArguments,
    /// What computes
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Leave out lesions with a lower score
    #[arg(long, default_value_t = Settings::default().score_threshold)]
    score_threshold: f32,
    /// Of two lesions that overlap more (IoU), leave out the weaker
    #[arg(long, default_value_t = Settings::default().nms_threshold)]
    nms_threshold: f32,
    /// Cut masks at probability 0.5, or at logit 0.5 as the reference code does
    #[arg(long, value_parser = parse_mask_threshold, default_value = "probability")]
    mask_threshold: MaskThreshold,
    /// Most lesions per slice
    #[arg(long, default_value_t = Settings::default().detections)]
    detections: usize,
    /// Seed of the random replication in the classifier's RoI batch
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    hacks: Hacks,
    /// Window for DICOM as CENTER/WIDTH. Default: the file's if it shows the lungs, else -600/1500
    #[arg(long, allow_hyphen_values = true)]
    window: Option<Window>,
    /// Write the report as JSON to a file, or to standard output with `-`
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Write a picture of each slice with its lesions to this folder
    #[arg(long, value_name = "FOLDER")]
    overlay: Option<PathBuf>,
}

/// Choices of the reference code that can be undone.
#[derive(Clone, Copy, Debug, Args)]
pub struct Hacks {
    /// Score each class by itself, as the paper tried, and not by softmax
    #[arg(long)]
    sigmoid_scores: bool,
    /// Keep boxes without area, which the paper removes (and replaces by copies of others in the
    /// RoI batch)
    #[arg(long)]
    pub keep_empty_boxes: bool,
}

impl Hacks {
    /// How logits become scores.
    pub fn scores(&self) -> ScoreFunction {
        if self.sigmoid_scores { ScoreFunction::Sigmoid } else { ScoreFunction::Softmax }
    }
}

pub(super) fn parse_mask_threshold(text: &str) -> Result<MaskThreshold, String> {
    match text {
        "probability" => Ok(MaskThreshold::Probability),
        "logit" => Ok(MaskThreshold::Logit),
        _ => Err("write `probability` or `logit`".into()),
    }
}

impl Predict {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let settings = Settings {
            score_threshold: self.score_threshold,
            nms_threshold: self.nms_threshold,
            mask_threshold: self.mask_threshold,
            detections: self.detections,
            seed: self.seed,
            scores: self.hacks.scores(),
            keep_empty: self.hacks.keep_empty_boxes,
        }
        .checked()?;
        let paths = files::slices(&self.paths)?;
        let predictor = predictor(&self.model.load()?, self.device)?;
        let mut report = predictor.report();
        let to_stdout = self.json.as_deref() == Some(Path::new("-"));
        let mut names = BTreeSet::new();

        let bar = progress_bar(paths.len());
        for path in &paths {
            bar.set_message(path.display().to_string());
            match self.predict_one(&predictor, path, &settings, &mut names) {
                Ok(slice) => {
                    if !to_stdout {
                        bar.suspend(|| print_slice(&slice));
                    }
                    report.slices.push(slice);
                }
                Err(error) => {
                    let message = format!("{error:#}");
                    bar.suspend(|| eprintln!("error: {}: {message}", path.display()));
                    report.errors.push(FileError { source: path.display().to_string(), message });
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.write_json(&report)?;
        if !to_stdout {
            println!("{NOTICE}");
        }
        Ok(if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn predict_one(
        &self,
        predictor: &Predictor,
        path: &Path,
        settings: &Settings,
        names: &mut BTreeSet<String>,
    ) -> Result<SliceReport> {
        // The path stands before every error already.
        let length = std::fs::metadata(path)?.len();
        anyhow::ensure!(length <= MAX_IMAGE_BYTES, "{length} bytes are too many for a slice");
        let bytes = std::fs::read(path)?;
        let slice = decode_slice(&path.display().to_string(), &bytes, self.window)?;
        let report = pollster::block_on(predictor.predict(&slice, settings, &mut Unattended))?;
        if let Some(folder) = &self.overlay {
            write_overlay(folder, path, &slice, &report, names)?;
        }
        Ok(report)
    }

    fn write_json(&self, report: &Report) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(report)?;
        text.push('\n');
        if path == Path::new("-") {
            std::io::stdout().write_all(text.as_bytes()).context("standard output")
        } else {
            files::write(path, text.as_bytes())
        }
    }
}

fn write_overlay(
    folder: &Path,
    source: &Path,
    slice: &CtSlice,
    report: &SliceReport,
    names: &mut BTreeSet<String>,
) -> Result<()> {
    let stem = files::stem(source);
    // Slices of the same name from different folders do not overwrite each other.
    let name = (1..)
        .map(|n| if n == 1 { stem.clone() } else { format!("{stem}_{n}") })
        .find(|name| names.insert(name.clone()))
        .unwrap_or(stem);
    let mut png = Cursor::new(Vec::new());
    overlay::draw(slice, report).write_to(&mut png, image::ImageFormat::Png)?;
    files::write(&folder.join(format!("{name}_overlay.png")), png.get_ref())
}

fn progress_bar(length: usize) -> ProgressBar {
    if length < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left  {msg}");
    ProgressBar::new(length as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print_slice(slice: &SliceReport) {
    println!("{} ({} x {})", slice.source, slice.width, slice.height);
    if let Some(classes) = &slice.classes {
        println!(
            "  Control {:.1} %, Common Pneumonia {:.1} %, COVID-19 {:.1} %",
            classes.control * 100.0,
            classes.common_pneumonia * 100.0,
            classes.covid19 * 100.0
        );
    }
    for lesion in &slice.lesions {
        let b = lesion.bbox;
        let area = match lesion.area_mm2 {
            Some(area) => format!("{} px, {area:.0} mm2", lesion.area_px),
            None => format!("{} px", lesion.area_px),
        };
        println!(
            "  {} {:.3}  [{:.1}, {:.1}, {:.1}, {:.1}]  {area}",
            lesion.label.replace('_', " "),
            lesion.score,
            b.x1,
            b.y1,
            b.x2,
            b.y2
        );
    }
    if slice.lesions.is_empty() {
        println!("  no lesion above the score threshold");
    }
    for warning in &slice.warnings {
        println!("  warning: {warning}");
    }
}
