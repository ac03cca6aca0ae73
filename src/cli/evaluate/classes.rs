//! `groundglass evaluate classifier`, `controls` and `compare`.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use indicatif::ProgressBar;

use crate::classes::SliceClass;
use crate::cli::class_pictures::ClassPictures;
use crate::cli::evaluate::{OutputArguments, opened, provenance, shown};
use crate::cli::files;
use crate::cli::model::{predictor, read_weights};
use crate::cli::outputs::{Output, Paths};
use crate::cli::predict::ReferenceOptions;
use crate::dataset::classes::{ClassDataset, ClassFile};
use crate::evaluate::bootstrap::Estimate;
use crate::evaluate::calibration::measure;
use crate::evaluate::class_tables;
use crate::evaluate::classification::{self, ClassificationResult, Classified};
use crate::evaluate::comparison::{differences, paired};
use crate::evaluate::controls::{FEATURES, features, fit};
use crate::evaluate::coverage as accuracy;
use crate::evaluate::tables::Evaluation;
use crate::figures::{
    self,
    lines::{LineChart, Series},
};
use crate::inference::model::{CALIBRATION, TRAINING_CLASSIFIER, TRAINING_IMAGE_CLASSIFIER};
use crate::inference::{LoadedModel, NoProgress, Settings};
use crate::report::NOTICE;
use crate::report::verdict::Calibration;

/// Arguments of `evaluate classifier`.
#[derive(Debug, Args)]
pub struct EvaluateClassifier {
    /// Weights (.bpk, .pth or .safetensors)
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    pictures: ClassPictures,
    /// Seed of the replication in the RoI batch
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Write the model as .bpk with what is measured here of its verdicts, for page and reports to show instead of what
    /// its calibration was measured with
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    #[command(flatten)]
    reference: ReferenceOptions,
    #[command(flatten)]
    classes: ClassOutput,
    #[command(flatten)]
    output: OutputArguments,
}

/// What is written of classes beside the measures.
#[derive(Debug, Args)]
struct ClassOutput {
    /// Write every slice's probabilities as CSV, for `evaluate compare`
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Draw accuracy against coverage as SVG
    #[arg(long, value_name = "FILE")]
    coverage: Option<PathBuf>,
}

/// Arguments of `evaluate controls`.
#[derive(Debug, Args)]
pub struct EvaluateControls {
    /// Folder of the pictures, or the folder above their `images`
    #[arg(long)]
    data: PathBuf,
    /// COVIDx-CT list to fit the linear model on
    #[arg(long)]
    train: PathBuf,
    /// COVIDx-CT list to measure it on
    #[arg(long)]
    list: PathBuf,
    #[command(flatten)]
    classes: ClassOutput,
}

/// Arguments of `evaluate compare`.
#[derive(Debug, Args)]
pub struct Compare {
    /// Probabilities that one classifier gives (`evaluate classifier --predictions`), or logits of the slices that a
    /// run held out (held_out.csv), uncalibrated
    first: PathBuf,
    /// Those of another
    second: PathBuf,
}

impl EvaluateClassifier {
    pub fn run(self) -> Result<ExitCode> {
        let file = read_weights(&self.model)?;
        let data = self.pictures.name();
        let training = match file.image_classifier {
            Some(_) => TRAINING_IMAGE_CLASSIFIER,
            None => TRAINING_CLASSIFIER,
        };
        let lists = self.pictures.list.iter().cloned();
        let pictures = files::below(&self.pictures.data);
        let inputs = [vec![self.model.clone()], lists.collect(), pictures].concat();
        let mut paths = Paths::of_inputs(inputs.iter().map(PathBuf::as_path));
        let (outputs, classes) = (self.output.open(&mut paths)?, self.classes.open(&mut paths)?);
        let store = opened(&self.store, &mut paths)?;
        ensure!(
            store.is_none() || file.state.metadata.contains_key(CALIBRATION),
            "{}: the model is not calibrated, so it gives no verdicts that could be measured; see groundglass calibrate",
            self.model.display()
        );
        let state = store.is_some().then(|| file.state.clone());
        let provenance = provenance(&file, &self.output.label, data, training)?;
        let model = LoadedModel::new(None, Some(file))
            .with_context(|| format!("{}", self.model.display()))?;
        let dataset = self.pictures.open()?;
        eprintln!("{}", dataset.report());
        let predictor = predictor(&model, self.output.device)?;
        let settings = Settings {
            seed: self.seed,
            scores: self.reference.scores(),
            keep_empty: self.reference.keep_empty_boxes,
            force: false,
            ..Settings::reference()
        };
        let bar = ProgressBar::new(dataset.files.len() as u64);
        let (mut slices, mut refused) = (Vec::new(), Vec::new());
        for file in &dataset.files {
            let slice = dataset.read(file)?;
            let report = pollster::block_on(predictor.predict(&slice, &settings, &mut NoProgress))
                .with_context(|| file.path.display().to_string())?;
            if let Some(refusal) = &report.refusal {
                refused.push(format!("{}: {refusal}", file.name));
                bar.inc(1);
                continue;
            }
            slices.push(Classified::of(file, &report).context("no classifier")?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let calibration = predictor.calibration().cloned();
        let verdicts = calibration.as_ref().map(|known| measure(known, &slices));
        let result = Box::new(classification::ClassificationResult {
            refused: refused.len(),
            verdicts,
            ..classification::evaluate(&slices)
        });
        for refusal in &refused {
            eprintln!("no class: {refusal}");
        }
        let evaluation = Evaluation::Classification { provenance, result };
        let text = classification_markdown(&evaluation);
        let written = outputs.write(&evaluation, &text);
        classes.write(&slices)?;
        if let (Some(store), Some(mut state), Some(known)) = (store, state, calibration) {
            let known = Calibration { measured: verdicts, ..known };
            state.metadata.insert(CALIBRATION.into(), serde_json::to_string(&known)?);
            store.write(&state.to_pack()?)?;
        }
        written?;
        Ok(ExitCode::SUCCESS)
    }
}

impl ClassOutput {
    fn open(&self, paths: &mut Paths) -> Result<ClassOutputs> {
        let (predictions, coverage) =
            (opened(&self.predictions, paths)?, opened(&self.coverage, paths)?);
        Ok(ClassOutputs { predictions, coverage })
    }
}

/// What is written of classes, opened.
struct ClassOutputs {
    predictions: Option<Output>,
    coverage: Option<Output>,
}

impl ClassOutputs {
    fn write(self, slices: &[Classified]) -> Result<()> {
        if let Some(predictions) = self.predictions {
            predictions.write(&class_tables::probabilities_csv(slices)?)?;
        }
        if let Some(coverage) = self.coverage {
            let curve = |name: &str, answers| Series {
                name: name.into(),
                points: accuracy::curve(answers),
            };
            let chart = LineChart {
                title: "Right among the surest answers".into(),
                labels: [
                    "share of the slices that is answered".into(),
                    "share that is right".into(),
                ],
                series: vec![
                    curve("which class", accuracy::classes(slices)),
                    curve("pneumonia or not", accuracy::pneumonia(slices)),
                ],
                logarithmic: false,
            };
            coverage.write(figures::svg(&chart)?.as_bytes())?;
        }
        Ok(())
    }
}

impl EvaluateControls {
    pub fn run(self) -> Result<ExitCode> {
        let read = |list: &Path| -> Result<Vec<(ClassFile, [f64; FEATURES])>> {
            let dataset = ClassDataset::open(&self.data, Some(list))?;
            eprintln!("{}", dataset.report());
            let of = |file: &ClassFile| Ok((file.clone(), features(&dataset.read(file)?)));
            dataset.files.iter().map(of).collect()
        };
        let lists = vec![self.train.clone(), self.list.clone()];
        let inputs = [lists, files::below(&self.data)].concat();
        let classes =
            self.classes.open(&mut Paths::of_inputs(inputs.iter().map(PathBuf::as_path)))?;
        let (training, test) = (read(&self.train)?, read(&self.list)?);
        let known: BTreeSet<String> = training.iter().map(|(file, _)| file.patient_key()).collect();
        if let Some((file, _)) = test.iter().find(|(file, _)| known.contains(&file.patient_key())) {
            bail!("{}: its patient is in --train, too; such slices measure nothing", file.name);
        }
        let pairs: Vec<_> = training.iter().map(|(file, x)| (*x, file.class.index())).collect();
        let model = fit(&pairs);
        let slices: Vec<Classified> = test
            .into_iter()
            .map(|(file, x)| {
                let probabilities = model.probabilities(&x).map(|p| p as f32);
                Classified {
                    patient: file.patient_key(),
                    name: file.name,
                    source: file.source,
                    class: file.class,
                    logits: probabilities.map(f32::ln),
                    probabilities,
                }
            })
            .collect();
        println!("{}\n\n{NOTICE}", classification_table(&classification::evaluate(&slices)));
        classes.write(&slices)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Compare {
    pub fn run(self) -> Result<ExitCode> {
        let read = |path: &Path| {
            let bytes = files::read(path, files::MAX_TABLE)?;
            class_tables::read_either(&bytes).with_context(|| {
                let path = path.display();
                format!("{path}: neither from `--predictions` nor a run's held_out.csv")
            })
        };
        let (pairs, unpaired) = paired(read(&self.first)?, read(&self.second)?);
        ensure!(!pairs.is_empty(), "the two tables have no slice in common");
        let mut text = format!("{} slices that both were asked about", pairs.len());
        if unpaired > 0 {
            write!(text, "; {unpaired} rows of only one, or with another class, are left out").ok();
        }
        text.push_str(
            "\n\n| measure | second less first (95 % interval over patients) |\n|---|---|\n",
        );
        for (name, difference) in differences(&pairs) {
            writeln!(text, "| {name} | {} |", shown(&difference)).ok();
        }
        println!("{text}\n{NOTICE}");
        Ok(ExitCode::SUCCESS)
    }
}

fn classification_markdown(evaluation: &Evaluation) -> String {
    let Evaluation::Classification { provenance, result } = evaluation else {
        return String::new();
    };
    let mut text = format!(
        "## {} on {}\n\n{NOTICE}\n\n{} slices; patients: {} control, {} common pneumonia, {} COVID-19\n\n",
        provenance.model.name,
        provenance.data,
        result.slices,
        result.patients[0],
        result.patients[1],
        result.patients[2]
    );
    if result.refused > 0 {
        writeln!(text, "{} more slices were given no class.\n", result.refused).ok();
    }
    text.push_str(&classification_table(result));
    text
}

/// Everything that is measured of classes, as Markdown.
pub fn classification_table(result: &ClassificationResult) -> String {
    let mut text = String::from(
        "| true \\ predicted | control | common pneumonia | COVID-19 | sensitivity (95 % interval over patients) |\n|---|---|---|---|---|\n",
    );
    for (class, [a, b, c]) in result.confusion.0.iter().enumerate() {
        let sensitivity = shown(&result.sensitivities[class]);
        writeln!(text, "| {} | {a} | {b} | {c} | {sensitivity} |", SliceClass::ALL[class].name())
            .ok();
    }
    text.push_str("\n| measure | value (95 % interval over patients) |\n|---|---|\n");
    let [control, common, covid] = &result.auc;
    for (name, value) in [
        ("balanced accuracy (by chance .333)", &result.balanced_accuracy),
        ("pneumonia or not, balanced (by chance .5)", &result.pneumonia_balanced_accuracy),
        ("pneumonia or not, area under the curve", &result.pneumonia_auc),
        ("area under the curve, control", control),
        ("area under the curve, common pneumonia", common),
        ("area under the curve, COVID-19", covid),
        ("accuracy", &result.accuracy),
        ("class-adjusted F1 (weights 0.45, 0.35, 0.20)", &result.adjusted_f1),
        ("expected calibration error", &result.calibration_error),
        ("Brier score", &result.brier),
    ] {
        writeln!(text, "| {name} | {} |", shown(value)).ok();
    }
    if !result.sources.is_empty() {
        text.push_str(
            "\n| source | slices | patients | balanced accuracy within it |\n|---|---|---|---|\n",
        );
        for (name, source) in &result.sources {
            let balanced = source.balanced_accuracy.as_ref();
            let balanced = balanced.map_or("one class only".into(), Estimate::to_string);
            writeln!(text, "| {name} | {} | {} | {balanced} |", source.slices, source.patients)
                .ok();
        }
    }
    if let Some(said) = &result.verdicts {
        let percent = |share: f32| format!("{:.1} %", 100.0 * share);
        text.push_str(
            "\n| said, at the model's thresholds | of the slices | right |\n|---|---|---|\n",
        );
        for (name, share, right) in [
            ("signs of pneumonia or none", said.signs, said.signs_accuracy),
            ("no pneumonia, or which one", said.named, said.named_accuracy),
            ("which pneumonia", said.kind, said.kind_accuracy),
        ] {
            let right = if share > 0.0 { percent(right) } else { "-".into() };
            writeln!(text, "| {name} | {} | {right} |", percent(share)).ok();
        }
        let [control, ..] = result.confusion.0.map(|row| row.iter().sum::<usize>());
        let of = |slices: usize, share: f32| {
            if slices > 0 { format!("{share:.3}") } else { "none".into() }
        };
        let sensitivity = of(result.slices - control, said.sensitivity);
        let specificity = of(control, said.specificity);
        writeln!(
            text,
            "\nA probability of pneumonia over a half: sensitivity {sensitivity}, specificity {specificity}"
        )
        .ok();
    }
    text
}
