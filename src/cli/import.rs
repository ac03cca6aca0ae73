//! `groundglass import`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::cli::files;
use crate::cli::model::read_weights;
use crate::cli::outputs::Paths;
use crate::inference::cpu::CpuMaskRcnn;
use crate::inference::model::CLASSIFIER_METADATA;
use crate::inference::{LoadedModel, ModelFile, Predictor};
use crate::network::StateDict;
use crate::network::image_classifier::PREFIX;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// A checkpoint (.pth, .safetensors or .bpk); or two that become one file: a detector and a classifier
    /// by regions with the same detector, or a detector and a network that judges slices as a whole
    #[arg(required = true, num_args = 1..=2)]
    checkpoints: Vec<PathBuf>,
    /// The .bpk file to write
    #[arg(long)]
    out: PathBuf,
}

impl Import {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        Paths::of_inputs(self.checkpoints.iter().map(PathBuf::as_path)).claim(&self.out)?;
        let mut files = self.checkpoints.iter().map(|path| read_weights(path));
        let mut merged = files.next().context("a checkpoint is needed")??.state;
        for other in files {
            merged = join(merged, other?)?;
        }
        let bytes = merged.to_pack()?;
        let name = crate::cli::files::stem(&self.out);
        let file = ModelFile::read(&name, &bytes)?;
        // Loading checks every shape and value.
        if let Some(detector) = &file.detector {
            CpuMaskRcnn::new(detector, &file.state)?;
        }
        if file.classifies() {
            Predictor::on_cpu(&LoadedModel::new(None, Some(file.clone()))?, "cpu")?;
        }
        files::write(&self.out, &bytes)?;
        let variant = file.variant().map(|variant| variant.to_string()).unwrap_or_default();
        println!(
            "{}: {variant}{}{}, {} values, {} bytes",
            self.out.display(),
            if file.segments() { ", segmentation" } else { "" },
            if file.classifies() { ", classification" } else { "" },
            merged.tensors.values().map(|parameter| parameter.values.len()).sum::<usize>(),
            bytes.len()
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// One file from two whose parameters do not contradict each other.
fn join(mut first: StateDict, second: ModelFile) -> Result<StateDict> {
    let only_whole_slices = second.detector.is_none();
    ensure!(
        only_whole_slices || first.shares_detector_with(&second.state),
        "the checkpoints have different detectors (backbone, proposals, box head or anchors), so they cannot become one file; import each on its own"
    );
    let has_class = only_whole_slices || second.classifies();
    if has_class {
        // What an earlier one was is not mixed with what this one is.
        first = first.filtered(|name| {
            !name.starts_with(PREFIX) && (only_whole_slices || !name.starts_with("s2new"))
        });
        first.metadata.retain(|name, _| !CLASSIFIER_METADATA.contains(&name.as_str()));
    }
    first.tensors.extend(second.state.tensors);
    for (name, text) in second.state.metadata {
        first.metadata.entry(name).or_insert(text);
    }
    Ok(first)
}
