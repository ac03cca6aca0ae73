//! `groundglass recalibrate`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use indicatif::ProgressBar;

use crate::cli::files;
use crate::cli::model::read_weights;
use crate::cli::outputs::Paths;
use crate::dataset::instances::{LesionRules, LesionTargets};
use crate::dataset::lesions::LesionDataset;
use crate::dataset::source::DataSource;
use crate::inference::model::{CALIBRATION, TEMPERATURE};
use crate::network::Architecture;
use crate::report::NOTICE;
use crate::train::config::{Augmentation, Sampling, SegmentationConfig};
use crate::train::recalibration::recalibrate;

/// Arguments of `recalibrate`.
#[derive(Debug, Args)]
pub struct Recalibrate {
    /// Weights of a segmentation network (.bpk, .pth or .safetensors)
    #[arg(long)]
    model: PathBuf,
    /// Training slices, with `imgs` and `masks`
    #[arg(long, required = true, num_args = 1..)]
    data: Vec<DataSource>,
    /// Slices to average over, every patient equally often
    #[arg(long, default_value_t = 300)]
    slices: usize,
    /// Seed of their choice
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The recalibrated weights (.bpk)
    #[arg(long)]
    out: PathBuf,
}

impl Recalibrate {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.slices > 0, "--slices must be at least 1");
        Paths::of_inputs([self.model.as_path()]).claim(&self.out)?;
        let model = read_weights(&self.model)?;
        let rules = LesionRules::paper(LesionTargets::Merge);
        let dataset = LesionDataset::open(&self.data, rules)?.with_lesions()?;
        let config = SegmentationConfig {
            sampling: Sampling::Patient,
            augmentation: Augmentation::Flip,
            resize: model.resize(),
            seed: self.seed,
            ..SegmentationConfig::paper(0)
        };
        let bar = ProgressBar::new(self.slices as u64);
        let mut state = recalibrate(&model, &dataset, &config, self.slices, || bar.inc(1))?;
        bar.finish_and_clear();
        // Module S reads what has changed: what its probabilities were worth is not known any more.
        let by_regions = |detector: &Architecture| detector.score_module.is_some();
        if model.detector.as_ref().is_some_and(by_regions) && model.image_classifier.is_none() {
            for name in [CALIBRATION, TEMPERATURE] {
                if state.metadata.remove(name).is_some() {
                    println!("the classifier's {name} is left out: fit it again");
                }
            }
        }
        let about = serde_json::json!({ "slices": self.slices, "seed": self.seed });
        state.metadata.insert("recalibration".into(), about.to_string());
        files::write(&self.out, &state.to_pack()?)?;
        println!("{}\n{NOTICE}", self.out.display());
        Ok(ExitCode::SUCCESS)
    }
}
