//! `groundglass evaluate`.

mod classes;
mod lungs;
mod segmentation;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

pub use self::classes::classification_table;
use self::classes::{Compare, EvaluateClassifier, EvaluateControls};
use self::lungs::EvaluateLungs;
use self::segmentation::EvaluateSegmentation;
use crate::cli::model::DeviceArgument;
use crate::cli::outputs::{Output, Paths};
use crate::evaluate::bootstrap::Estimate;
use crate::evaluate::tables::{Evaluation, Provenance};
use crate::inference::ModelFile;
use crate::train::provenance::training_seconds;

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
    /// The same of a linear model on twelve trivial features, which a classifier has to beat.
    Controls(EvaluateControls),
    /// Differences between two classifiers on the same slices.
    Compare(Compare),
    /// Dice of the lungs, which thresholds find, against drawn ones.
    Lungs(EvaluateLungs),
}

#[derive(Debug, Args)]
struct OutputArguments {
    /// Device to compute on
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

impl Evaluate {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        match self.stage {
            Stage::Segmentation(command) => command.run(),
            Stage::Classifier(command) => command.run(),
            Stage::Controls(command) => command.run(),
            Stage::Compare(command) => command.run(),
            Stage::Lungs(command) => command.run(),
        }
    }
}

/// Where weights and data come from.
fn provenance(
    file: &ModelFile,
    label: &Option<String>,
    data: &Path,
    training: &str,
) -> Result<Provenance> {
    let minutes = training_seconds(&file.state, training).map(|seconds| seconds / 60.0);
    let data = label.clone().unwrap_or_else(|| data.display().to_string());
    let variant = file.variant().context("the file holds no network")?;
    Ok(Provenance::new(file.info.clone(), variant, data, minutes))
}

impl OutputArguments {
    /// Opens what is asked for, before anything is computed.
    fn open(&self, paths: &mut Paths) -> Result<Outputs> {
        Ok(Outputs { json: opened(&self.json, paths)?, markdown: opened(&self.markdown, paths)? })
    }
}

/// Opens an output that may be asked for.
fn opened(path: &Option<PathBuf>, paths: &mut Paths) -> Result<Option<Output>> {
    path.as_ref().map(|path| Output::open(path, paths)).transpose()
}

/// What an evaluation is written to.
struct Outputs {
    json: Option<Output>,
    markdown: Option<Output>,
}

impl Outputs {
    /// Says and writes it; what fails costs nothing else.
    fn write(self, evaluation: &Evaluation, markdown: &str) -> Result<()> {
        println!("{markdown}");
        let mut json = serde_json::to_vec_pretty(evaluation)?;
        json.push(b'\n');
        let written = self.json.map_or(Ok(()), |output| output.write(&json));
        self.markdown.map_or(Ok(()), |output| output.write(markdown.as_bytes()))?;
        written
    }
}

fn shown(estimate: &Option<Estimate>) -> String {
    estimate.as_ref().map_or("none".into(), Estimate::to_string)
}
