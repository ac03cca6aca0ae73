//! `groundglass predict`.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::console::Console;
use crate::cli::exports::{Exports, Overlays, Results, SliceHandle};
use crate::cli::files::{self, OnDisk};
use crate::cli::interrupt::stop_on_interrupt;
use crate::cli::model::{DeviceArgument, ModelArguments, predictor};
use crate::cli::outputs::{Output, Paths, say};
use crate::cli::reading;
use crate::detection::postprocess::ScoreFunction;
use crate::image::decode::panic_guard::catch_panic;
use crate::image::{CtSlice, Window};
use crate::inference::{EitherBackend, MaskThreshold, NoProgress, Predictor, Settings};
use crate::report::{FileError, NOTICE, SliceReport};

/// Arguments of `predict`.
#[derive(Debug, Args)]
pub struct Predict {
    /// Slices, volumes, archives (PNG, JPEG, DICOM, NIfTI, zip) or folders of them
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArguments,
    /// Device to compute on
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Leave out lesions with a lower score
    #[arg(long, default_value_t = Settings::default().score_threshold)]
    score_threshold: f32,
    /// Of two lesions that overlap more (IoU), leave out the weaker
    #[arg(long, default_value_t = Settings::default().nms_threshold)]
    nms_threshold: f32,
    /// Cut masks at probability 0.5, or at logit 0.5 as the reference code does
    #[arg(long, default_value = "probability")]
    mask_threshold: MaskThreshold,
    /// Most lesions per slice
    #[arg(long, default_value_t = Settings::default().detections)]
    detections: usize,
    /// Seed of the random replication in the classifier's RoI batch
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    reference: ReferenceOptions,
    /// Do not merge overlapping lesions, as the reference code does
    #[arg(long)]
    keep_duplicates: bool,
    /// Analyse slices even if they are plainly no axial chest CT
    #[arg(long)]
    force: bool,
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
pub struct ReferenceOptions {
    /// Score each class by itself, as the paper tried, and not by softmax
    #[arg(long)]
    sigmoid_scores: bool,
    /// Keep boxes without area, which the paper removes (and replaces by copies of others in the
    /// RoI batch)
    #[arg(long)]
    pub keep_empty_boxes: bool,
}

impl ReferenceOptions {
    /// How logits become scores.
    pub fn scores(&self) -> ScoreFunction {
        if self.sigmoid_scores { ScoreFunction::Sigmoid } else { ScoreFunction::Softmax }
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
            scores: self.reference.scores(),
            keep_empty: self.reference.keep_empty_boxes,
            merge: !self.keep_duplicates,
            force: self.force,
        }
        .checked()?;
        let found = files::slices(&self.paths);
        if let Some(note) = found.note() {
            say(&format!("note: {note}"));
        }
        let weights = self.model.files();
        let inputs = found.paths.iter().chain(&weights).map(PathBuf::as_path);
        let mut paths = Paths::of_inputs(inputs);
        let open = |path: &PathBuf, paths: &mut Paths| Output::open(path, paths);
        let json = self.json.as_ref().map(|path| open(path, &mut paths)).transpose()?;
        let mut overlays = self.overlay.as_deref().map(Overlays::open).transpose()?;
        let exports = self.exports.open(&mut paths)?;
        let streams =
            exports.on_stdout() + usize::from(json.as_ref().is_some_and(Output::is_stdout));
        ensure!(streams < 2, "two outputs go to standard output; give all but one of them a file");

        let model = self.model.load()?;
        say(&model.origin);
        let predictor = predictor(&model.model, self.device)?;
        let mut report = predictor.report();
        let mut console = Console::new(streams > 0);
        let mut failed = 0;
        let mut complain = |message: String| {
            failed += 1;
            say(&format!("error: {message}"));
        };
        for (source, message) in &found.unreadable {
            complain(format!("{source}: {message}"));
            report.errors.push(FileError { source: source.clone(), message: message.clone() });
        }
        let interrupted =
            stop_on_interrupt("stopping after this slice; what is there will be written")?;
        let files: Vec<_> = found.paths.iter().map(|path| OnDisk::named(path)).collect();
        let study = reading::open(&files, &interrupted)?;
        for (source, error) in &study.refused {
            complain(format!("{source}: {error}"));
            report.errors.push(FileError { source: source.clone(), message: error.to_string() });
        }

        // Slices of the report with their series and their place in it, to read them again.
        let mut handles: Vec<SliceHandle<'_>> = Vec::new();
        let bar = progress_bar(study.slices());
        for series in &study.series {
            let mut found_here = Vec::new();
            for slice in &series.slices {
                if interrupted.load(Ordering::Relaxed) {
                    break;
                }
                bar.set_message(slice.name.clone());
                let looked_at = catch_panic(
                    || self.look_at(&predictor, slice, &settings),
                    |panic| {
                        anyhow!("internal error while processing it ({panic}); please report it")
                    },
                );
                match looked_at {
                    Ok((picture, found)) => {
                        bar.suspend(|| console.slice(&found));
                        if let Some(overlays) = &mut overlays
                            && let Err(error) = overlays.write(&picture, &found, &mut paths)
                        {
                            bar.suspend(|| {
                                complain(format!("{}: no picture: {error:#}", slice.name))
                            });
                        }
                        found_here.push(found);
                        handles.push(slice);
                    }
                    Err(error) => {
                        let (source, message) = (slice.name.clone(), format!("{error:#}"));
                        bar.suspend(|| complain(format!("{source}: {message}")));
                        report.errors.push(FileError { source, message });
                    }
                }
                bar.inc(1);
            }
            let (name, warnings) = (series.name.clone(), series.warnings.clone());
            let length = series.slices.len();
            let sum = report.add_series(name, found_here, length, series.distance_mm, warnings);
            if length > 1 {
                bar.suspend(|| console.series(sum));
            }
        }
        bar.finish_and_clear();
        if interrupted.load(Ordering::Relaxed) {
            let (done, all) = (report.slices.len(), found.paths.len());
            let message = format!(
                "interrupted with {done} slices done, of {all} files; what is there is written"
            );
            complain(message.clone());
            report.errors.push(FileError { source: String::new(), message });
        }
        if let Some(json) = json {
            let mut text = serde_json::to_vec_pretty(&report)?;
            text.push(b'\n');
            if let Err(error) = json.write(&text) {
                complain(format!("{error:#}"));
            }
        }
        let card = model.card.as_deref();
        let results = Results { report: &report, handles: &handles, window: self.window, card };
        exports.write(&results, &mut paths, &mut complain);
        console.line(NOTICE);
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn look_at(
        &self,
        predictor: &Predictor<EitherBackend>,
        slice: SliceHandle<'_>,
        settings: &Settings,
    ) -> Result<(CtSlice, SliceReport)> {
        let raw = reading::read(slice, reading::timeout(0))?;
        let picture = raw.windowed(&slice.name, self.window);
        let report = pollster::block_on(predictor.predict(&picture, settings, &mut NoProgress))?;
        Ok((picture, report))
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
