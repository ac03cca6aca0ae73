//! `groundglass predict`.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::exports::{Exports, Place, unique_name};
use super::files::{self, OnDisk};
use super::model::{DeviceArgument, ModelArguments, predictor};
use crate::export::overlay;
use crate::image::{Examination, Window};
use crate::predict::detections::ScoreFunction;
use crate::predict::report::{FileError, NOTICE, Report};
use crate::predict::{
    AnyEngine, MaskThreshold, Predictor, SeriesReport, Settings, SliceReport, Unattended,
};

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct Predict {
    /// Slices, volumes, archives (PNG, JPEG, DICOM, NIfTI, zip) or folders of them
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
    #[command(flatten)]
    exports: Exports,
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
        let files = paths.into_iter().map(|path| (path.display().to_string(), OnDisk(path)));
        let examination = Examination::open(files);
        for (source, error) in &examination.refused {
            eprintln!("error: {source}: {error}");
            report.errors.push(FileError { source: source.clone(), message: error.to_string() });
        }

        let mut names = BTreeSet::new();
        // Slices of the report with their series and their place in it, to read them again.
        let mut places: Vec<Place<'_>> = Vec::new();
        let bar = progress_bar(examination.slices());
        for series in &examination.series {
            let first = report.slices.len();
            for slice in &series.slices {
                bar.set_message(slice.name.clone());
                match self.predict_one(&predictor, slice, &settings, &mut names) {
                    Ok(found) => {
                        if !to_stdout {
                            bar.suspend(|| print_slice(&found));
                        }
                        report.slices.push(found);
                        places.push(slice);
                    }
                    Err(error) => {
                        let (source, message) = (slice.name.clone(), format!("{error:#}"));
                        bar.suspend(|| eprintln!("error: {source}: {message}"));
                        report.errors.push(FileError { source, message });
                    }
                }
                bar.inc(1);
            }
            let found = &report.slices[first..];
            // With a slice missing, distances are no longer what they were.
            let distance = series.distance_mm.filter(|_| found.len() == series.slices.len());
            let (name, warnings) = (series.name.clone(), series.warnings.clone());
            let summary = SeriesReport::new(name, first, found, distance, warnings);
            if !to_stdout && series.slices.len() > 1 {
                bar.suspend(|| print_series(&summary));
            }
            report.series.push(summary);
        }
        bar.finish_and_clear();
        self.write_json(&report)?;
        let card = self.model.card();
        self.exports.write(&report, &places, self.window, card.as_deref())?;
        if !to_stdout {
            println!("{NOTICE}");
        }
        Ok(if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn predict_one(
        &self,
        predictor: &Predictor<AnyEngine>,
        slice: Place<'_>,
        settings: &Settings,
        names: &mut BTreeSet<String>,
    ) -> Result<SliceReport> {
        let picture = slice.read()?.windowed(&slice.name, self.window);
        let report = pollster::block_on(predictor.predict(&picture, settings, &mut Unattended))?;
        if let Some(folder) = &self.overlay {
            let name = unique_name(&slice.name, names);
            let png = overlay::png(&picture, &report)?;
            files::write(&folder.join(format!("{name}_overlay.png")), &png)?;
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

fn progress_bar(length: usize) -> ProgressBar {
    if length < 2 || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {eta} left  {msg}");
    ProgressBar::new(length as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print_series(series: &SeriesReport) {
    println!("{}: {}", series.name, series.in_words());
    for warning in &series.warnings {
        println!("  warning: {warning}");
    }
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
