//! Slices with a class: those that a run learns from, and those that it does not.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::classes::SliceClass;
use crate::cli::files;
use crate::cli::train::FoldArguments;
use crate::dataset;
use crate::dataset::classes::{ClassDataset, ClassFile};
use crate::dataset::lesions::DataRecord;
use crate::dataset::source::DataSource;
use crate::evaluate::class_tables::logits_csv;
use crate::evaluate::classification::{Classified, balanced_accuracy};
use crate::inference::{CpuBackend, LoadedModel, ModelFile, NoProgress, Predictor, Settings};
use crate::network::StateDict;
use crate::sha256::hex;
use crate::train::class_sampling::draw_weights;
use crate::train::folds::Origin;

/// File with the logits of held-out slices in the run's folder.
pub const FILE: &str = "held_out.csv";

/// Slices of a run.
pub struct ClassSlices {
    /// Those that it learns from.
    pub training: ClassDataset,
    /// Those that it does not.
    pub held_out: ClassDataset,
    /// How often each of the first is drawn.
    pub weights: Vec<f64>,
    /// What the run remembers of them.
    pub records: Vec<DataRecord>,
}

/// The slices of `lists` in `data`, divided into what is learnt from and what is held out; from a source that knows one
/// class only, slices are drawn `lone_source` times as often.
pub fn prepare(
    data: &Path,
    lists: &[DataSource],
    folds: &FoldArguments,
    lone_source: f64,
) -> Result<ClassSlices> {
    let (dataset, weights) = open(data, lists)?;
    let held = held_out(&dataset, folds)?;
    let (learnt, _) = dataset::divided(&weights, &held);
    let (training, held_out) = divided(dataset, folds, &held)?;
    let records = records(data, lists, &training);
    let weights = draw_weights(&training, &learnt, lone_source);
    Ok(ClassSlices { training, held_out, weights, records })
}

/// All slices of `lists` in `data`, and the weight of each one's list; every picture named by class without lists.
fn open(data: &Path, lists: &[DataSource]) -> Result<(ClassDataset, Vec<f64>)> {
    let (mut all, mut weights): (Option<ClassDataset>, _) = (None, Vec::new());
    let everything = [None];
    let lists: Vec<Option<&DataSource>> = match lists.is_empty() {
        true => everything.into(),
        false => lists.iter().map(Some).collect(),
    };
    for list in lists {
        let dataset = ClassDataset::open(data, list.map(|list| list.path.as_path()))?;
        println!("{}", dataset.report());
        weights.resize(weights.len() + dataset.files.len(), list.map_or(1.0, |list| list.weight));
        all = Some(match all {
            None => dataset,
            Some(all) => all.extended(dataset)?,
        });
    }
    Ok((all.context("--list names no list")?, weights))
}

/// What a run remembers of the slices that it learns from: of all files, and which of them these are.
pub fn records(data: &Path, lists: &[DataSource], training: &ClassDataset) -> Vec<DataRecord> {
    let name = |path: &Path| DataSource { path: path.into(), weight: 1.0 }.name();
    let names = lists.iter().map(|list| match list.weight {
        1.0 => name(&list.path),
        weight => format!("{}:{weight}", name(&list.path)),
    });
    let names: Vec<String> = names.collect();
    let mut digest = Sha256::new();
    digest.update(&training.sha256);
    for file in &training.files {
        digest.update(format!("\n{}", file.name));
    }
    vec![DataRecord {
        name: if names.is_empty() { name(data) } else { names.join(" + ") },
        weight: 1.0,
        slices: training.files.len(),
        patients: training.patients(),
        sha256: hex(&digest.finalize()),
    }]
}

/// Whether each slice is held out.
pub fn held_out(dataset: &ClassDataset, folds: &FoldArguments) -> Result<Vec<bool>> {
    let Some(fold) = folds.fold() else { return Ok(vec![false; dataset.files.len()]) };
    let names = folds.names()?;
    let origin = |file: &ClassFile| Origin {
        source: file.source.clone(),
        stratum: file.class.index(),
        patient: names.of(&file.patient, file.patient_key()),
    };
    Ok(fold.held_out(&dataset.files.iter().map(origin).collect::<Vec<_>>()))
}

/// The slices to learn from, and those that are held out.
pub fn divided(
    dataset: ClassDataset,
    folds: &FoldArguments,
    held: &[bool],
) -> Result<(ClassDataset, ClassDataset)> {
    let (training, held_out) = dataset.divided(held);
    for (class, count) in SliceClass::ALL.into_iter().zip(training.counts()) {
        ensure!(count > 0, "there is no slice of {} to learn from", class.name());
    }
    ensure!(
        folds.fold().is_none() || !held_out.files.is_empty(),
        "no patient is held out; take fewer --folds"
    );
    println!("{} slices to learn from, {} held out", training.files.len(), held_out.files.len());
    Ok((training, held_out))
}

/// What a model with these weights says of every slice.
pub fn classify(state: &StateDict, dataset: &ClassDataset) -> Result<Vec<Classified>> {
    let file = ModelFile::read("held out", &state.to_pack()?)?;
    let model = LoadedModel::new(None, Some(file))?;
    let predictor: Predictor<CpuBackend> = Predictor::on_cpu(&model, "cpu")?;
    let settings = Settings::reference();
    let classified = |file: &ClassFile| {
        let slice = dataset.read(file)?;
        let report = pollster::block_on(predictor.predict(&slice, &settings, &mut NoProgress))?;
        Classified::of(file, &report).context("no class came out")
    };
    dataset.files.iter().map(classified).collect()
}

/// Balanced accuracy and cross-entropy on held-out slices; the first decides which weights are best.
pub fn measure(state: &StateDict, held_out: &ClassDataset) -> Result<Vec<(String, f64)>> {
    let slices = classify(state, held_out)?;
    let log_likelihood = |slice: &Classified| {
        let logits = slice.logits.map(f64::from);
        let highest = logits.into_iter().fold(f64::MIN, f64::max);
        let sum: f64 = logits.iter().map(|logit| (logit - highest).exp()).sum();
        logits[slice.class.index()] - highest - sum.ln()
    };
    let sum: f64 = slices.iter().map(log_likelihood).sum();
    let measured = [
        ("balanced_accuracy", balanced_accuracy(&slices).unwrap_or(0.0)),
        ("loss_class", -sum / slices.len().max(1) as f64),
    ];
    Ok(measured.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// Writes to `folder` what the model says of every slice, and prints how often it is right.
pub fn write(folder: &Path, model: &StateDict, dataset: &ClassDataset) -> Result<()> {
    let slices = classify(model, dataset)?;
    let path = folder.join(FILE);
    files::write(&path, &logits_csv(&slices)?)?;
    let accuracy = balanced_accuracy(&slices).unwrap_or(f64::NAN);
    println!("balanced accuracy of held-out slices {accuracy:.3}; logits in {}", path.display());
    Ok(())
}
