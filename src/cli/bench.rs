//! `groundglass bench`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::classes::SliceClass;
use crate::cli::files;
use crate::cli::model::{DeviceArgument, ModelArguments, predictor, training_device};
use crate::dataset::instances::{LesionSlice, LesionTargets, MINIMUM_AREA, instances};
use crate::image::decode::limits::MAX_FILE;
use crate::image::decode_slice;
use crate::image::phantom::{Phantom, draw};
use crate::inference::{NoProgress, Settings, Stage};
use crate::statistics::median;
use crate::train::mask_rcnn_losses::TrainingSlice;
use crate::train::segmentation::step_times;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    #[command(flatten)]
    model: ModelArguments,
    /// Device to compute on
    #[arg(long, value_enum, default_value_t)]
    device: DeviceArgument,
    /// Predictions measured, after one that is not
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// A slice to predict, instead of a phantom
    #[arg(long)]
    slice: Option<PathBuf>,
    /// The built site, whose download sizes are listed if it is there
    #[arg(long, default_value = "dist")]
    site: PathBuf,
    /// Measure steps of stage I training (ResNet18-T1, one phantom, all losses) instead
    #[arg(long)]
    training: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Measurement {
    device: String,
    runs: usize,
    median_milliseconds: BTreeMap<String, f64>,
    peak_memory_mib: Option<f64>,
    download: Vec<Download>,
}

#[derive(Debug, Serialize)]
struct Download {
    file: String,
    bytes: usize,
    brotli: usize,
}

impl Bench {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.runs > 0, "--runs must be at least 1");
        if self.training {
            return self.measure_training();
        }
        let predictor = predictor(&self.model.load()?.model, self.device)?;
        let slice = match &self.slice {
            Some(path) => decode_slice("slice", &files::read(path, MAX_FILE)?, None)
                .with_context(|| format!("{}", path.display()))?,
            None => draw(SliceClass::Covid19, 1).slice,
        };
        let mut laps: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for run in 0..=self.runs {
            let settings = Settings::default();
            let report = pollster::block_on(predictor.predict(&slice, &settings, &mut NoProgress))?;
            if run > 0 {
                for (stage, milliseconds) in report.milliseconds {
                    laps.entry(stage).or_default().push(milliseconds);
                }
            }
        }
        let measurement = Measurement {
            device: predictor.report().device,
            runs: self.runs,
            median_milliseconds: laps
                .into_iter()
                .map(|(s, mut laps)| (s, median(&mut laps)))
                .collect(),
            peak_memory_mib: peak_memory_mib(),
            download: downloads(&self.site)?,
        };
        if self.json {
            println!("{}", serde_json::to_string_pretty(&measurement)?);
        } else {
            print(&measurement, &self.site);
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Bench {
    fn measure_training(&self) -> Result<ExitCode> {
        let device = training_device(self.device)?;
        let Phantom { slice, mask, .. } = draw(SliceClass::Covid19, 1);
        let size = (slice.width, slice.height);
        let lesions = instances(&mask, size, LesionTargets::Merge, MINIMUM_AREA);
        let slice =
            TrainingSlice::new(LesionSlice { slice, instances: lesions, ignored: Vec::new() });
        let mut times = step_times(slice, self.runs, &device)?;
        let milliseconds = median(&mut times);
        let memory = peak_memory_mib();
        if self.json {
            let found = serde_json::json!({
                "training_step_milliseconds": milliseconds, "runs": self.runs, "peak_memory_mib": memory,
            });
            println!("{found:#}");
        } else {
            println!("stage I step, ResNet18-T1, 512 x 512 phantom, median of {}", self.runs);
            println!(
                "  {milliseconds:.1} ms with forward and backward pass, all losses and the optimizer"
            );
            if let Some(memory) = memory {
                println!("peak memory {memory:.0} MiB");
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print(measurement: &Measurement, site: &Path) {
    println!("512 x 512 phantom, {}, median of {}", measurement.device, measurement.runs);
    let stages = Stage::ALL.iter().map(|stage| stage.name()).chain(["total"]);
    for stage in stages {
        if let Some(milliseconds) = measurement.median_milliseconds.get(stage) {
            println!("  {stage:<15} {milliseconds:8.1} ms");
        }
    }
    match measurement.peak_memory_mib {
        Some(mib) => println!("peak memory       {mib:8.0} MiB"),
        None => println!("peak memory: not available on this system"),
    }
    if measurement.download.is_empty() {
        println!("download sizes: no site at {}; `make dist` builds it", site.display());
    }
    for download in &measurement.download {
        println!(
            "  {:<40} {:>10} bytes, {:>9} with brotli",
            download.file, download.bytes, download.brotli
        );
    }
    for (visit, programs) in VISITS {
        let size: usize = programs.iter().map(|program| sent(&measurement.download, program)).sum();
        println!("{visit}: {size} bytes with brotli, weights apart");
    }
}

/// What users download besides weights: page and style, and programs by the beginning of their names.
const VISITS: [(&str, &[&str]); 4] = [
    (
        "pictures on the CPU",
        &["index", "app", "start", "style", "reader_pictures", "worker_cpu_fma"],
    ),
    ("pictures on a GPU", &["index", "app", "start", "style", "reader_pictures", "worker_gpu"]),
    ("other formats, in addition", &["reader.", "reader_bg"]),
    ("the package for other pages", &["groundglass"]),
];

/// Bytes of the files whose names begin so, as a host that compresses sends them.
fn sent(downloads: &[Download], beginning: &str) -> usize {
    let is_of = |download: &&Download| {
        let name = Path::new(&download.file).file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(beginning) && !download.file.ends_with(".d.ts")
    };
    downloads.iter().filter(is_of).map(|download| download.brotli).sum()
}

/// Largest resident memory so far, where `/proc` tells.
fn peak_memory_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

/// Program, style and weights of the built site; samples and cards are not part of a first visit.
fn downloads(site: &Path) -> Result<Vec<Download>> {
    let mut found = Vec::new();
    let programs = std::fs::read_dir(site).into_iter().flatten().flatten();
    let programs = programs.filter(|entry| entry.file_name().to_string_lossy().starts_with("app-"));
    let folders = programs.map(|entry| entry.path()).chain([
        site.to_path_buf(),
        site.join("models"),
        site.join("package"),
    ]);
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let wanted = ["wasm", "js", "css", "html", "bpk", "json"];
            if !path.extension().is_some_and(|e| wanted.contains(&&*e.to_string_lossy())) {
                continue;
            }
            let bytes = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
            let file = path.strip_prefix(site).unwrap_or(&path).display().to_string();
            found.push(Download { file, bytes: bytes.len(), brotli: brotli_size(&bytes)? });
        }
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

fn brotli_size(bytes: &[u8]) -> Result<usize> {
    let mut compressed = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams { quality: 11, ..Default::default() };
    brotli::BrotliCompress(&mut &bytes[..], &mut compressed, &parameters)?;
    Ok(compressed.len())
}
