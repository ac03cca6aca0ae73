//! `groundglass calibrate`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::classes::SliceClass;
use crate::cli::files;
use crate::cli::model::read_weights;
use crate::cli::outputs::Paths;
use crate::evaluate::calibration::{self, Prior};
use crate::evaluate::class_tables::{are_probabilities, read_logits};
use crate::evaluate::classification::{Classified, brier_score, calibration_error};
use crate::inference::model::CALIBRATION;
use crate::network::StateDict;
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
        let inputs = self.predictions.iter().chain(&self.only).chain(&self.model);
        let mut paths = Paths::of_inputs(inputs.map(PathBuf::as_path));
        self.out.as_ref().map(|out| paths.claim(out)).transpose()?;
        let model = self.model.as_ref().map(|path| classifier(path)).transpose()?;
        let only =
            self.only.as_ref().map(|path| files::read(path, files::MAX_TABLE)).transpose()?;
        let only = only.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let names: Option<BTreeSet<&str>> = only
            .as_ref()
            .map(|text| text.lines().filter_map(|line| line.split_whitespace().next()).collect());
        let mut folds = Vec::new();
        for path in &self.predictions {
            let mut slices = read(path)?;
            if let Some(names) = &names {
                slices.retain(|slice| names.contains(slice.name.as_str()));
            }
            let of_list = if self.only.is_some() { " of the list" } else { "" };
            ensure!(!slices.is_empty(), "{}: no slice{of_list}", path.display());
            folds.push(slices);
        }
        let mut owners = BTreeMap::new();
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
        let mut known = BTreeSet::new();
        if let Some(slice) = all.iter().find(|slice| !known.insert((&slice.source, &slice.name))) {
            bail!("{}: the slice is in the tables twice", slice.name);
        }
        for class in SliceClass::ALL {
            let own = all.iter().filter(|slice| slice.class == class);
            let patients = own.map(|slice| &slice.patient).collect::<BTreeSet<_>>().len();
            let (index, name) = (class.index(), class.name());
            ensure!(patients > 0, "no slice has class {index} ({name})");
            ensure!(
                patients > 1,
                "only one patient has class {index} ({name}); at least two are needed, as what is measured must not be what was fitted"
            );
        }
        ensure!(
            owners.len() >= CROSS_FIT,
            "{} patients: the calibration is measured in {CROSS_FIT} groups of them, so it takes at least as many",
            owners.len()
        );
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
        if let Some((mut state, out)) = model.zip(self.out.as_ref()) {
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
    let table = read_logits(&files::read(path, files::MAX_TABLE)?);
    let table = table.with_context(|| format!("{}", path.display()))?;
    ensure!(
        !are_probabilities(&table),
        "{}: these are probabilities; take the logits that a run with --folds writes (held_out.csv)",
        path.display()
    );
    Ok(table)
}

/// The weights of a model that judges slices.
fn classifier(path: &Path) -> Result<StateDict> {
    let file = read_weights(path)?;
    ensure!(file.classifies(), "{}: the model has no classifier to calibrate", path.display());
    Ok(file.state)
}
