//! `groundglass analyse`.

mod curves;
mod rois;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use self::curves::AnalyseCurves;
use self::rois::AnalyseRois;
use crate::cli::files;
use crate::figures::{self, Drawing};

/// Arguments of `analyse`.
#[derive(Debug, Args)]
pub struct Analyse {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Scores and areas of the RoI batch by class: Figures 4 and 5, Tables 4 and 5.
    Rois(AnalyseRois),
    /// What runs measured on their held-out slices, in one picture.
    Curves(AnalyseCurves),
}

impl Analyse {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        match self.what {
            What::Rois(command) => command.run(),
            What::Curves(command) => command.run(),
        }
    }
}

/// Writes a figure as SVG and PNG.
fn write_figure(folder: &Path, name: &str, figure: &impl Drawing) -> Result<()> {
    files::write(&folder.join(format!("{name}.svg")), figures::svg(figure)?.as_bytes())?;
    files::write(&folder.join(format!("{name}.png")), &figures::png(figure)?)
}
