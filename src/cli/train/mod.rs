//! `groundglass train`.

mod classifier;
mod segmentation;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::train::run::Progress;

/// Arguments of `train`.
#[derive(Debug, Args)]
pub struct Train {
    #[command(subcommand)]
    stage: Stage,
}

#[derive(Debug, Subcommand)]
enum Stage {
    /// Stage I: find and outline lesions.
    Segmentation(segmentation::TrainSegmentation),
    /// Stage II: classify slices by their regions.
    Classifier(classifier::TrainClassifier),
}

impl Train {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        match self.stage {
            Stage::Segmentation(command) => command.run(),
            Stage::Classifier(command) => command.run(),
        }
    }
}

/// Reads a word as serde does.
fn serde_value<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(word.into())).map_err(|e| e.to_string())
}

/// Shows how a run goes: a bar on a terminal, a line every half minute elsewhere.
struct Display {
    bar: ProgressBar,
    names: &'static [&'static str],
    first: Option<u64>,
    started: Instant,
    told: Instant,
}

impl Display {
    fn new(names: &'static [&'static str]) -> Self {
        let now = Instant::now();
        Self { bar: progress_bar(0), names, first: None, started: now, told: now }
    }

    fn show(&mut self, progress: &Progress) {
        let first = *self.first.get_or_insert_with(|| {
            self.bar.set_length(progress.steps);
            self.bar.reset_eta();
            progress.step - 1
        });
        let losses: Vec<String> =
            self.names.iter().zip(&progress.losses).map(|(n, l)| format!("{n} {l:.4}")).collect();
        let losses = losses.join(" ");
        self.bar.set_position(progress.step);
        if self.bar.is_hidden() && self.told.elapsed() > Duration::from_secs(30) {
            self.told = Instant::now();
            let done = (progress.step - first).max(1) as f64;
            let pace = self.started.elapsed().as_secs_f64() / done;
            let left = pace * (progress.steps - progress.step) as f64 / 60.0;
            let (step, steps) = (progress.step, progress.steps);
            println!("{step}/{steps} {pace:.3} s/step, {left:.0} min left, {losses}");
        }
        self.bar.set_message(losses);
    }

    fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// Turns true at Ctrl-C (or a polite kill); a second one ends the program at once.
fn stop_on_interrupt() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping after this step, with a checkpoint; once more to stop at once");
    })
    .context("Ctrl-C cannot be caught")?;
    Ok(stop)
}

fn progress_bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    let template = "{bar:30} {pos}/{len} {per_sec} left {eta} {msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
