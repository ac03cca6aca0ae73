//! `groundglass import`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use clap::Args;

use super::files;
use super::model::read_weights;
use crate::network::{Architecture, MaskRcnnConfig};

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct Import {
    /// A checkpoint (.pth or .bpk); or a segmentation network and a classifier with the same trunk,
    /// which become one file
    #[arg(required = true, num_args = 1..=2)]
    checkpoints: Vec<PathBuf>,
    /// The .bpk file to write
    #[arg(long)]
    out: PathBuf,
}

impl Import {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let mut files = self.checkpoints.iter().map(|path| read_weights(path));
        let mut merged = files.next().context("a checkpoint is needed")??.state;
        for other in files {
            let other = other?.state;
            ensure!(
                merged.shares_trunk_with(&other),
                "the checkpoints have different trunks (backbone, proposals, box head or anchors), so they cannot become one file; import each on its own"
            );
            merged.tensors.extend(other.tensors);
        }
        let architecture = Architecture::infer(&merged)?;
        // Loading checks every shape and value.
        let network =
            MaskRcnnConfig::new(architecture.clone()).init_with(&merged, &Device::flex())?;
        let bytes = merged.to_pack()?;
        files::write(&self.out, &bytes)?;
        println!(
            "{}: {}{}{}, {} parameters, {} bytes",
            self.out.display(),
            architecture.variant,
            if architecture.mask_branch { ", segmentation" } else { "" },
            if architecture.score_module.is_some() { ", classification" } else { "" },
            network.count().parameters,
            bytes.len()
        );
        Ok(ExitCode::SUCCESS)
    }
}
