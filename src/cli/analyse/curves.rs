//! `groundglass analyse curves`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::cli::files;
use crate::figures::{self, LineChart, Series};

/// Arguments of `analyse curves`.
#[derive(Debug, Args)]
pub struct AnalyseCurves {
    /// Folders of runs with --validate
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Column of their validation.csv. Default: what decides which weights are best
    #[arg(long, default_value = "score")]
    measure: String,
    /// The picture (.svg)
    #[arg(long)]
    out: PathBuf,
}

impl AnalyseCurves {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let series = self.runs.iter().map(|run| self.curve(run)).collect::<Result<_>>()?;
        let chart = LineChart {
            title: "On held-out slices".into(),
            labels: ["step".into(), self.measure.replace('_', " ")],
            series,
            logarithmic: false,
        };
        files::write(&self.out, figures::svg(&chart)?.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }

    fn curve(&self, run: &Path) -> Result<Series> {
        let path = run.join("validation.csv");
        let bytes = files::read(&path, files::MAX_TABLE)?;
        let mut table = csv::Reader::from_reader(bytes.as_slice());
        let headers = table.headers()?.clone();
        let column = |name: &str| {
            headers.iter().position(|header| header == name).with_context(|| {
                let known: Vec<&str> = headers.iter().collect();
                format!("{}: no column {name}; there are {}", path.display(), known.join(", "))
            })
        };
        let (step, value) = (column("step")?, column(&self.measure)?);
        let point = |row: csv::Result<csv::StringRecord>| -> Result<(f64, f64)> {
            let row = row?;
            Ok((row[step].parse()?, row[value].parse()?))
        };
        let points = table.records().map(point).collect::<Result<_>>();
        let points = points.with_context(|| format!("{}", path.display()))?;
        Ok(Series { name: files::stem(run), points })
    }
}
