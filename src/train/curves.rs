//! Losses over a run: a table that grows with it, and its picture.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::figures::{self, LineChart, Series};
use crate::train::checkpoint::{CheckpointError, write_whole};
use crate::train::tensorboard;

/// Weight of the past in the smoothed curves.
pub const SMOOTHING: f64 = 0.98;

/// A table `step,learning_rate,<loss>...` with one row per step.
#[derive(Debug)]
pub struct LossHistory {
    folder: PathBuf,
    names: Vec<String>,
    rows: Vec<(u64, f64, Vec<f32>)>,
    means: Vec<f64>,
}

/// Moves exponential means on by one step; the first values start them.
fn blend(means: &mut Vec<f64>, losses: &[f32]) {
    if means.is_empty() {
        means.extend(losses.iter().map(|loss| f64::from(*loss)));
    }
    for (mean, loss) in means.iter_mut().zip(losses) {
        *mean = SMOOTHING * *mean + (1.0 - SMOOTHING) * f64::from(*loss);
    }
}

impl LossHistory {
    /// The curves in `folder` up to step `steps` (later rows were not saved with a checkpoint); none
    /// at the start of a run.
    pub fn open(folder: &Path, names: &[&str], steps: u64) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut curves = Self { folder: folder.into(), names, rows: Vec::new(), means: Vec::new() };
        if steps > 0
            && let Ok(text) = std::fs::read_to_string(curves.table())
        {
            let parse = |line: &str| {
                let mut words = line.split(',');
                let step = words.next()?.parse().ok()?;
                let rate = words.next()?.parse().ok()?;
                Some((step, rate, words.filter_map(|word| word.parse().ok()).collect()))
            };
            curves.rows = text.lines().skip(1).filter_map(parse).collect();
            curves.rows.retain(|row| row.0 <= steps);
            for (_, _, losses) in &curves.rows {
                blend(&mut curves.means, losses);
            }
        }
        curves
    }

    fn table(&self) -> PathBuf {
        self.folder.join("losses.csv")
    }

    /// Adds the losses of step `step` (from 1).
    pub fn push(&mut self, step: u64, rate: f64, losses: &[f32]) {
        blend(&mut self.means, losses);
        self.rows.push((step, rate, losses.to_vec()));
    }

    /// Exponential means of every loss after each step.
    pub fn smoothed(&self) -> Vec<(u64, Vec<f64>)> {
        let mut means: Vec<f64> = Vec::new();
        self.rows
            .iter()
            .map(|(step, _, losses)| {
                blend(&mut means, losses);
                (*step, means.clone())
            })
            .collect()
    }

    /// The means after the latest step.
    pub fn latest_mean(&self) -> Vec<f64> {
        self.means.clone()
    }

    /// Writes `losses.csv`, `losses.svg` and TensorBoard's event file.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save(&self) -> Result<(), CheckpointError> {
        let mut text = format!("step,learning_rate,{}\n", self.names.join(","));
        for (step, rate, losses) in &self.rows {
            let losses: Vec<String> = losses.iter().map(f32::to_string).collect();
            // Writing to a string cannot fail.
            writeln!(text, "{step},{rate:e},{}", losses.join(",")).ok();
        }
        write_whole(&self.table(), text.as_bytes())?;
        let tags: Vec<String> = self.names.iter().map(|name| format!("loss/{name}")).collect();
        let steps = self.rows.iter().map(|(step, _, losses)| (*step, losses.clone()));
        tensorboard::write(&self.folder, "losses", &tags, steps)?;
        let smoothed = self.smoothed();
        let thinned: Vec<_> = smoothed.iter().step_by(smoothed.len() / 500 + 1).collect();
        let series: Vec<Series> = self
            .names
            .iter()
            .enumerate()
            .map(|(index, name)| Series {
                name: name.clone(),
                points: thinned.iter().map(|(step, means)| (*step as f64, means[index])).collect(),
            })
            .collect();
        let chart = LineChart {
            title: "Losses (exponential mean)".into(),
            labels: ["step".into(), "loss".into()],
            series,
            logarithmic: true,
        };
        // A chart that cannot be drawn is no reason to lose the run; the table has the numbers.
        match figures::svg(&chart) {
            Ok(svg) => write_whole(&self.folder.join("losses.svg"), svg.as_bytes()),
            Err(error) => {
                log::warn!("{error}");
                Ok(())
            }
        }
    }
}
