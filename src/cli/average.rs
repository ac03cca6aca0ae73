//! `groundglass average`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::cli::files;
use crate::cli::model::read_state;
use crate::cli::outputs::Paths;
use crate::inference::ModelFile;
use crate::network::StateDict;
use crate::report::NOTICE;
use crate::train::model_soup::average;

/// Arguments of `average`.
#[derive(Debug, Args)]
pub struct Average {
    /// Models of one network (.bpk, .pth or .safetensors) that began with the same weights
    #[arg(required = true, num_args = 2..)]
    models: Vec<PathBuf>,
    /// The averaged model (.bpk)
    #[arg(long)]
    out: PathBuf,
}

impl Average {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        Paths::of_inputs(self.models.iter().map(PathBuf::as_path)).claim(&self.out)?;
        let read = |path: &PathBuf| Ok(read_state(path)?.0);
        let models: Vec<StateDict> = self.models.iter().map(read).collect::<Result<_>>()?;
        let mean = average(&models)?;
        let bytes = mean.to_pack()?;
        ModelFile::read(&files::stem(&self.out), &bytes)?;
        files::write(&self.out, &bytes)?;
        println!("{}: {} models\n{NOTICE}", self.out.display(), models.len());
        Ok(ExitCode::SUCCESS)
    }
}
