//! `groundglass calibrate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::classes::SliceClass;
use crate::cli::files;
use crate::cli::model::read_state;
use crate::evaluate::calibration::{self, Prior};
use crate::evaluate::class_tables::read_logits;
use crate::evaluate::classification::{Classified, brier_score, calibration_error};
use crate::inference::model::CALIBRATION;
use crate::report::NOTICE;
use crate::report::verdict::Calibration;

/// Groups of patients, each measured with what the others say.
const CROSS_FIT: usize = 5;

/// Arguments of `calibrate`.
#[derive(Debug, Args)]
pub struct Calibrate {
    /// Logits of slices that the network has not learnt from: held_out.csv of the folds' runs, all of one
    /// recipe
    #[arg(long, required = true, num_args = 1..)]
    predictions: Vec<PathBuf>,
    /// Use only the slices that this COVIDx-CT list names
    #[arg(long)]
    only: Option<PathBuf>,
    /// Shares of the classes that probabilities are made for
    #[arg(long, value_enum, default_value = "given")]
    prior: PriorArgument,
    /// The classifier of that recipe (.bpk)
    #[arg(long, requires = "out")]
    model: Option<PathBuf>,
    /// The classifier with its calibration (.bpk)
    #[arg(long, requires = "model")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PriorArgument {
    /// Those of the slices.
    Given,
    /// A third each.
    Equal,
    /// In between: in proportion to the square roots of their slices.
    Root,
}

impl Calibrate {
    /// Runs the command.
    pub fn run(self) -> Result<ExitCode> {
        let only = self.only.as_ref().map(std::fs::read_to_string).transpose();
        let only = only.with_context(|| format!("{:?}", self.only))?;
        let names: Option<std::collections::BTreeSet<&str>> = only
            .as_ref()
            .map(|text| text.lines().filter_map(|line| line.split_whitespace().next()).collect());
        let mut folds = Vec::new();
        for path in &self.predictions {
            let mut slices = read(path)?;
            if let Some(names) = &names {
                slices.retain(|slice| names.contains(slice.name.as_str()));
            }
            ensure!(!slices.is_empty(), "{}: no slice of the list", path.display());
            folds.push(slices);
        }
        let mut owners = std::collections::BTreeMap::new();
        for (number, slice) in
            folds.iter().enumerate().flat_map(|(n, f)| f.iter().map(move |s| (n, s)))
        {
            let owner = *owners.entry(slice.patient.clone()).or_insert(number);
            ensure!(
                owner == number,
                "the patient {} is in two tables, so one of the networks has learnt from it",
                slice.patient
            );
        }
        let all: Vec<Classified> = folds.into_iter().flatten().collect();
        for class in SliceClass::ALL {
            let occurs = all.iter().any(|slice| slice.class == class);
            ensure!(occurs, "no slice has class {} ({})", class.index(), class.name());
        }
        let prior = match self.prior {
            PriorArgument::Given => Prior::Given,
            PriorArgument::Equal => Prior::Equal,
            PriorArgument::Root => Prior::Root,
        };
        let calibrated = |slices: &[Classified]| {
            calibration::with_thresholds(calibration::fit(slices, prior), slices)
        };
        let mut found = calibrated(&all);
        // Measured on patients that had no part in the calibration that they are measured with.
        let groups = calibration::patient_groups(&all, CROSS_FIT);
        let (mut judged, mut known) = (Vec::new(), Vec::new());
        for group in 0..CROSS_FIT {
            let of = |wanted: bool| -> Vec<Classified> {
                let pairs = all.iter().zip(&groups).filter(|(_, own)| (**own == group) == wanted);
                pairs.map(|(slice, _)| slice.clone()).collect()
            };
            let calibration = calibrated(&of(false));
            judged.extend(of(true).into_iter().map(|slice| applied(slice, &calibration)));
            known.resize(judged.len(), calibration);
        }
        let measured = calibration::measure_pairs(known.iter().zip(&judged));
        found.measured = Some(measured);
        let result = crate::evaluate::classification::evaluate(&judged);
        println!("{}", crate::cli::evaluate::classification_table(&result));
        println!("{}", serde_json::to_string_pretty(&found)?);
        println!(
            "expected calibration error {:.3}, Brier score {:.3}",
            calibration_error(judged.iter()).unwrap_or(f64::NAN),
            brier_score(judged.iter()).unwrap_or(f64::NAN)
        );
        if let (Some(model), Some(out)) = (&self.model, &self.out) {
            let (mut state, _) = read_state(model)?;
            let before = state.metadata.get(CALIBRATION);
            let before = before.and_then(|text| serde_json::from_str::<Calibration>(text).ok());
            found.inputs = before.and_then(|known| known.inputs);
            state.metadata.insert(CALIBRATION.into(), serde_json::to_string(&found)?);
            files::write(out, &state.to_pack()?)?;
            println!("{}", out.display());
        }
        println!("{NOTICE}");
        Ok(ExitCode::SUCCESS)
    }
}

fn applied(mut slice: Classified, calibration: &Calibration) -> Classified {
    slice.probabilities = calibration.probabilities(&slice.logits);
    slice
}

fn read(path: &Path) -> Result<Vec<Classified>> {
    read_logits(&files::read(path, files::MAX_TABLE)?)
        .with_context(|| format!("{}", path.display()))
}
