//! `groundglass tables`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::cli::files;
use crate::evaluate::tables::{Evaluation, markdown};

/// Largest evaluation file read.
const MAX_BYTES: u64 = 16 << 20;

/// Arguments of `tables`.
#[derive(Debug, Args)]
pub struct Tables {
    /// Files that `evaluate --json` wrote; their rows stand beside the paper's
    evaluations: Vec<PathBuf>,
    /// Write to a file instead of standard output
    #[arg(long)]
    out: Option<PathBuf>,
}

impl Tables {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let read = |path: &PathBuf| -> Result<Evaluation> {
            let bytes = files::read(path, MAX_BYTES)?;
            serde_json::from_slice(&bytes).with_context(|| {
                format!("{}: not a file that `groundglass evaluate --json` wrote", path.display())
            })
        };
        let evaluations = self.evaluations.iter().map(read).collect::<Result<Vec<_>>>()?;
        let text = markdown(&evaluations);
        match &self.out {
            Some(path) => files::write(path, text.as_bytes())?,
            None => print!("{text}"),
        }
        Ok(ExitCode::SUCCESS)
    }
}
