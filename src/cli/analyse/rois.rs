//! `groundglass analyse rois`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use indicatif::ProgressBar;
use rand::RngExt;

use crate::classes::SliceClass;
use crate::cli::analyse::write_figure;
use crate::cli::class_pictures::ClassPictures;
use crate::cli::files;
use crate::cli::model::{DeviceArgument, predictor, read_weights};
use crate::dataset::classes::ClassFile;
use crate::evaluate::roi_distribution::{SliceRegions, THRESHOLDS, analyse, counts};
use crate::evaluate::tables::roi_markdown;
use crate::figures::rois::{CountFigure, RankedRegions, ScoreFigure};
use crate::inference::{LoadedModel, Settings};
use crate::report::regions::RegionReference;
use crate::train::rng::{RngStream, rng};

/// Arguments of `analyse rois`.
#[derive(Debug, Args)]
pub struct AnalyseRois {
    /// Weights of a classifier (.bpk, .pth or .safetensors)
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    pictures: ClassPictures,
    /// Slices drawn at random from each class; the paper drew 475. Default: all
    #[arg(long)]
    sample: Option<usize>,
    /// Slices of Figure 4, by name. Default: the first of each class
    #[arg(long, num_args = 1..)]
    show: Vec<String>,
    /// Seed of the sample and of the replication
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder to write to
    #[arg(long)]
    out: PathBuf,
    /// Device to compute on
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
}

impl AnalyseRois {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let file = read_weights(&self.model)?;
        let model = LoadedModel::new(None, Some(file))
            .with_context(|| format!("{}", self.model.display()))?;
        let dataset = self.pictures.open()?;
        eprintln!("{}", dataset.report());
        let predictor = predictor(&model, self.device)?;
        let settings = Settings { seed: self.seed, ..Settings::reference() };
        let chosen = self.choose(&dataset.files);
        let bar = ProgressBar::new(chosen.len() as u64);
        let mut slices = Vec::new();
        for file in chosen {
            let slice = dataset.read(file)?;
            let batch = pollster::block_on(predictor.ranked_regions(&slice, &settings))
                .with_context(|| file.path.display().to_string())?;
            let region = |slot: usize| {
                let region = &batch.regions[slot];
                (f64::from(region.score), f64::from(region.bbox.area()))
            };
            slices.push(SliceRegions {
                name: file.name.clone(),
                class: file.class,
                regions: batch.slots().into_iter().map(region).collect(),
            });
            bar.inc(1);
        }
        bar.finish_and_clear();

        let found = analyse(&slices);
        let data = self.pictures.name().display().to_string();
        let text = roi_markdown(&found, &data);
        println!("{text}");
        files::write(&self.out.join("tables.md"), text.as_bytes())?;
        let json = serde_json::json!({ "distribution": found, "slices": slices });
        files::write(&self.out.join("rois.json"), json.to_string().as_bytes())?;
        let counts = counts(&slices);
        if let Some(reference) = RegionReference::new(&counts) {
            let json = serde_json::to_string_pretty(&reference)?;
            files::write(&self.out.join("reference.json"), json.as_bytes())?;
        }
        let figure = CountFigure { thresholds: THRESHOLDS.to_vec(), counts };
        write_figure(&self.out, "figure5", &figure)?;
        write_figure(&self.out, "figure4", &ScoreFigure { rows: self.shown(&slices)? })?;
        Ok(ExitCode::SUCCESS)
    }

    /// All slices, or a random sample of each class.
    fn choose<'a>(&self, files: &'a [ClassFile]) -> Vec<&'a ClassFile> {
        let Some(sample) = self.sample else { return files.iter().collect() };
        let mut chosen = Vec::new();
        for class in SliceClass::ALL {
            let mut rng = rng(self.seed, RngStream::Order, class.index() as u64);
            let mut own: Vec<_> = files.iter().filter(|file| file.class == class).collect();
            for _ in 0..sample.min(own.len()) {
                chosen.push(own.swap_remove(rng.random_range(0..own.len())));
            }
        }
        chosen
    }

    fn shown(&self, slices: &[SliceRegions]) -> Result<Vec<RankedRegions>> {
        let row = |slice: &SliceRegions| RankedRegions {
            title: format!("{}, {}", slice.class.name(), slice.name),
            class: slice.class,
            regions: slice.regions.clone(),
        };
        if self.show.is_empty() {
            let first = |class| slices.iter().find(|slice| slice.class == class);
            return Ok(SliceClass::ALL.into_iter().rev().filter_map(first).map(row).collect());
        }
        let find = |name: &String| {
            let found = slices.iter().find(|slice| slice.name == *name);
            found.map(row).with_context(|| format!("--show {name}: no such slice was analysed"))
        };
        self.show.iter().map(find).collect()
    }
}
