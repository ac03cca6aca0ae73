//! Training a network that judges slices as a whole ([`crate::network::image_classifier`]).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::optim::GradientsParams;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::classes::CLASSES;
use crate::dataset::classes::ClassDataset;
use crate::image::preprocess::letterbox;
use crate::image::{CtSlice, NetworkInput};
use crate::inference::model::{CALIBRATION, IMAGE_SIDE};
use crate::network::batch_norm::Statistics;
use crate::network::image_classifier::PREFIX;
use crate::network::pretrained::{BackboneError, Taken, load_backbone};
use crate::network::{ImageClassifier, ImageClassifierConfig, StateDict, WeightsError};
use crate::report::verdict::{Calibration, InputRange, intensities};
use crate::train::adam::Adam;
use crate::train::augmentation::Change;
use crate::train::average::WeightAverage;
use crate::train::checkpoint::{self, Saved, write_whole};
use crate::train::config::{ImageClassifierTraining, Norm};
use crate::train::curves::Curves;
use crate::train::freeze::train_only;
use crate::train::loader::{purpose, read_ahead, rng};
use crate::train::run::{
    Limits, MODEL, Outcome, Progress, TRAINING, TrainError, Validation, difference,
};
use crate::train::validation::{BEST, Look, Looks};

/// Name of the one loss.
pub const LOSS_NAMES: [&str; 1] = ["class"];
/// Kept pictures are larger than the network's by this factor, so that a part of them can be magnified.
const ROOM: f32 = 1.375;

/// How often each slice is drawn: every class equally; within a class, in inverse proportion to the roots of
/// the slices that its source and its patient have there; less from sources that know one class only, for
/// these teach the source.
pub fn draw_weights(dataset: &ClassDataset, lists: &[f64], lone_source: f64) -> Vec<f64> {
    let mut cells: BTreeMap<(&str, usize), f64> = BTreeMap::new();
    let mut patients: BTreeMap<(String, usize), f64> = BTreeMap::new();
    for file in &dataset.files {
        *cells.entry((&file.source, file.class)).or_default() += 1.0;
        *patients.entry((file.patient_key(), file.class)).or_default() += 1.0;
    }
    let classes_of = |source: &str| cells.keys().filter(|(of, _)| *of == source).count();
    let mut weights: Vec<f64> = dataset
        .files
        .iter()
        .zip(lists)
        .map(|(file, list)| {
            let cell = cells[&(file.source.as_str(), file.class)];
            let patient = patients[&(file.patient_key(), file.class)];
            let lone = if classes_of(&file.source) == 1 { lone_source } else { 1.0 };
            list * lone / (cell * patient).sqrt()
        })
        .collect();
    let mut totals = [0.0; CLASSES];
    for (file, weight) in dataset.files.iter().zip(&weights) {
        totals[file.class] += weight;
    }
    for (file, weight) in dataset.files.iter().zip(&mut weights) {
        *weight /= totals[file.class];
    }
    weights
}

/// Slice number `number` of a run, drawn by `weights`.
fn draw(cumulative: &[f64], seed: u64, number: u64) -> usize {
    let total = cumulative.last().copied().unwrap_or_default();
    let at = rng(seed, purpose::ORDER, number).random_range(0.0..total);
    cumulative.partition_point(|sum| *sum <= at).min(cumulative.len() - 1)
}

/// A fresh network for `config`, its body from `backbone` if there is one.
///
/// # Errors
/// If that is no backbone of the variant.
pub fn starting_state(
    config: &ImageClassifierTraining,
    backbone: Option<&StateDict>,
) -> Result<(StateDict, Option<Taken>), BackboneError> {
    let device = Device::flex();
    device.seed(config.seed);
    let mut state = ImageClassifierConfig { variant: config.variant }.init(&device).state();
    let taken = backbone
        .map(|backbone| load_backbone(&mut state, PREFIX, config.variant, backbone))
        .transpose()?;
    Ok((state, taken))
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedProgress {
    step: u64,
    config: ImageClassifierTraining,
    seconds: f64,
    #[serde(default)]
    looks: Looks,
}

fn network_of(
    config: &ImageClassifierTraining,
    state: &StateDict,
    device: &Device,
) -> Result<ImageClassifier, WeightsError> {
    let statistics = match config.norm {
        Norm::Batch => Statistics::Batch,
        Norm::Running | Norm::Frozen => Statistics::Running,
    };
    let network = ImageClassifierConfig { variant: config.variant }
        .init_with(state, device)?
        .with_statistics(statistics);
    Ok(train_only(network, |name| {
        let body = name.strip_prefix("body.");
        !body.is_some_and(|name| config.freeze.holds(name) || config.norm.holds(name))
    }))
}

/// Trains until done, or until `limits` say stop; goes on where the folder's checkpoint ends.
///
/// `weights` says how often each slice is drawn beside others.
///
/// # Errors
/// If data, weights or folder fail, or the loss is no number any more.
#[allow(clippy::too_many_arguments)]
pub fn train_image_classifier(
    dataset: ClassDataset,
    weights: &[f64],
    start: StateDict,
    config: &ImageClassifierTraining,
    folder: &Path,
    device: &Device,
    limits: &Limits,
    mut validation: Option<Validation<'_>>,
    mut report: impl FnMut(&Progress),
) -> Result<Outcome, TrainError> {
    let started = Instant::now();
    let saved = checkpoint::load::<SavedProgress>(folder)?;
    if let Some(saved) = saved.as_ref().filter(|saved| saved.progress.config != *config) {
        let difference = difference(&saved.progress.config, config);
        return Err(TrainError::OtherRun { folder: folder.into(), difference });
    }
    let saved = saved.unwrap_or_else(|| {
        let average = if config.average > 0.0 { start.clone() } else { StateDict::default() };
        let looks = Looks::default();
        let progress = SavedProgress { step: 0, config: config.clone(), seconds: 0.0, looks };
        Saved { weights: start, average, optimizer: StateDict::default(), progress }
    });
    let SavedProgress { mut step, seconds: before, mut looks, .. } = saved.progress;
    let mut adam = Adam::resume(config.optimizer(), step, &saved.optimizer);
    let mut average =
        (config.average > 0.0).then(|| WeightAverage::new(config.average, saved.average));
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    write_whole(&folder.join("config.json"), text.as_bytes())?;
    let mut network = network_of(config, &saved.weights, device)?;
    let mut curves = Curves::open(folder, &LOSS_NAMES, step);

    let side = (config.side as f32 * ROOM).round() as usize;
    let read = dataset.files.par_iter().map(|file| {
        let slice = dataset.read(file)?;
        Ok((letterbox(&slice, side), intensities(&slice)))
    });
    let (pictures, looks_like): (Vec<CtSlice>, Vec<[f32; 2]>) =
        read.collect::<Result<Vec<_>, TrainError>>()?.into_iter().unzip();
    let pictures = Arc::new(pictures);
    // Until its verdicts are measured it says nothing.
    let calibration = Calibration {
        inputs: InputRange::of(looks_like),
        signs_from: 1.0,
        class_from: 1.0,
        ..Calibration::default()
    };
    let calibration = serde_json::to_string(&calibration).unwrap_or_default();
    let classes: Vec<usize> = dataset.files.iter().map(|file| file.class).collect();
    let cumulative: Vec<f64> = weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let batch = config.batch as u64;
    let (seed, augmentation, network_side) = (config.seed, config.augmentation, config.side);
    let order = {
        let cumulative = cumulative.clone();
        (step * batch..).map(move |number| (draw(&cumulative, seed, number), number))
    };
    let source = read_ahead(order, move |index, number| {
        let change = Change::draw_whole(augmentation, seed, number);
        let picture = change.apply_square(pictures[index].clone(), network_side);
        Ok((index, NetworkInput::unscaled(&picture).values))
    });

    let model = |network: &ImageClassifier, average: Option<&WeightAverage>, step, seconds: f64| {
        let mut model = average.map_or_else(|| network.state(), |average| average.state().clone());
        let training = serde_json::json!({ "config": config, "steps": step, "seconds": seconds });
        model.metadata.insert(format!("{TRAINING}_image_classifier"), training.to_string());
        model.metadata.insert(IMAGE_SIDE.into(), config.side.to_string());
        model.metadata.insert(CALIBRATION.into(), calibration.clone());
        model
    };
    let save = |network: &ImageClassifier,
                average: Option<&WeightAverage>,
                adam: &Adam,
                curves: &Curves,
                looks: &Looks,
                step: u64| {
        let seconds = before + started.elapsed().as_secs_f64();
        let progress =
            SavedProgress { step, config: config.clone(), seconds, looks: looks.clone() };
        curves.save()?;
        let model = model(network, average, step, seconds);
        let average = average.map(|average| average.state().clone()).unwrap_or_default();
        let (weights, optimizer) = (network.state(), adam.state());
        checkpoint::save(folder, Saved { weights, average, optimizer, progress })?;
        write_whole(&folder.join(MODEL), &model.to_pack()?)?;
        Ok::<_, TrainError>(seconds)
    };

    let patience = validation.as_ref().and_then(|validation| validation.patience);
    let mut stalled = patience.is_some_and(|patience| looks.stalled(patience));
    while step < config.steps && !stalled {
        let mut values = Vec::with_capacity(config.batch * 3 * config.side * config.side);
        let mut labels = Vec::with_capacity(config.batch);
        for _ in 0..config.batch {
            let drawn = source.recv().map_err(|_| TrainError::Reader)??;
            values.extend_from_slice(&drawn.1);
            labels.push(classes[drawn.0]);
        }
        let dims = [config.batch, 3, config.side, config.side];
        let features = network.features(Tensor::from_data(TensorData::new(values, dims), device));
        let logits = network.fc.forward(dropout(features, config, step, device));
        let loss = smoothed_cross_entropy(logits, &labels, config.label_smoothing, device);
        let value = loss.clone().into_data().iter::<f32>().next().unwrap_or(f32::NAN);
        if !value.is_finite() {
            return Err(TrainError::Diverged { name: LOSS_NAMES[0], value, step });
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        let rate = config.learning_rate.at(step, config.steps);
        network = adam.step(rate, network, gradients);
        step += 1;
        if let Some(average) = &mut average {
            average.update(step, || network.state());
        }
        curves.push(step, rate, &[value]);
        report(&Progress { step, steps: config.steps, losses: curves.latest_mean() });
        let mut due = step.is_multiple_of(limits.checkpoint_every);
        if let Some(validation) = &mut validation
            && (step.is_multiple_of(validation.every) || step == config.steps)
        {
            let seconds = before + started.elapsed().as_secs_f64();
            let model = model(&network, average.as_ref(), step, seconds);
            let measures = (validation.measure)(&model)
                .map_err(|what| TrainError::Validation { step, what })?;
            let score = measures.first().map_or(0.0, |(_, value)| *value);
            if looks.push(Look { step, score, measures }) {
                write_whole(&folder.join(BEST), &model.to_pack()?)?;
            }
            looks.save(folder)?;
            stalled = patience.is_some_and(|patience| looks.stalled(patience));
            due = true;
        }
        if limits.reached(started) {
            break;
        }
        if due {
            save(&network, average.as_ref(), &adam, &curves, &looks, step)?;
        }
    }
    let seconds = save(&network, average.as_ref(), &adam, &curves, &looks, step)?;
    Ok(Outcome { step, finished: stalled || step == config.steps, seconds })
}

/// Zeroes a share of the features `[batch, channels]`, drawn by step, so that a resumed run draws the same.
fn dropout(
    features: Tensor<2>,
    config: &ImageClassifierTraining,
    step: u64,
    device: &Device,
) -> Tensor<2> {
    if config.dropout == 0.0 {
        return features;
    }
    let dims = features.dims();
    let mut rng = rng(config.seed, purpose::DROPOUT, step);
    let kept = (1.0 / (1.0 - config.dropout)) as f32;
    let mask: Vec<f32> = (0..dims[0] * dims[1])
        .map(|_| if rng.random_bool(config.dropout) { 0.0 } else { kept })
        .collect();
    features * Tensor::from_data(TensorData::new(mask, dims), device)
}

/// Cross entropy of logits `[batch, 3]` against labels of which the share `smoothing` is spread over all
/// classes; mean over the batch.
fn smoothed_cross_entropy(
    logits: Tensor<2>,
    labels: &[usize],
    smoothing: f64,
    device: &Device,
) -> Tensor<1> {
    let spread = (smoothing / CLASSES as f64) as f32;
    let target = |label: usize| (0..CLASSES).map(move |class| (class == label, spread));
    let targets: Vec<f32> = labels
        .iter()
        .flat_map(|label| target(*label))
        .map(|(own, spread)| if own { 1.0 - smoothing as f32 + spread } else { spread })
        .collect();
    let targets = Tensor::from_data(TensorData::new(targets, [labels.len(), CLASSES]), device);
    (log_softmax(logits, 1) * targets).sum().neg() / labels.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::classes::ClassFile;

    #[test]
    fn classes_are_drawn_alike_and_lone_sources_less() {
        let file = |source: &str, patient: &str, class| ClassFile {
            name: String::new(),
            path: Default::default(),
            class,
            patient: patient.into(),
            source: source.into(),
        };
        let mut files = vec![file("a", "1", 0), file("a", "2", 1), file("b", "3", 2)];
        files.extend((0..16).map(|_| file("a", "4", 0)));
        files.push(file("a", "5", 2));
        let dataset = ClassDataset::of(files);
        let weights = draw_weights(&dataset, &[1.0; 20], 0.25);
        let of_class = |class: usize| -> f64 {
            let pairs = dataset.files.iter().zip(&weights);
            pairs.filter(|(file, _)| file.class == class).map(|(_, weight)| weight).sum()
        };
        (0..3).for_each(|class| assert!((of_class(class) - 1.0).abs() < 1e-9));
        // One slice of patient 1 weighs as much as four of the sixteen of patient 4.
        assert!((weights[0] - 4.0 * weights[3]).abs() < 1e-9);
        assert!((weights[2] - 0.25 * weights[19]).abs() < 1e-9);
    }

    #[test]
    fn slices_are_drawn_in_proportion_to_their_weights() {
        let drawn: Vec<usize> = (0..4000).map(|number| draw(&[1.0, 1.0, 4.0], 3, number)).collect();
        let count = |wanted| drawn.iter().filter(|index| **index == wanted).count();
        assert_eq!(count(1), 0);
        assert!((900..1100).contains(&count(0)));
    }

    #[test]
    fn smoothing_spreads_the_label() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_data([[2.0, 0.0, -1.0]], &device);
        let loss = |smoothing| {
            let loss = smoothed_cross_entropy(logits.clone(), &[0], smoothing, &device);
            loss.into_data().iter::<f64>().next().unwrap()
        };
        let total = (2f64.exp() + 1.0 + (-1f64).exp()).ln();
        assert!((loss(0.0) - (total - 2.0)).abs() < 1e-5);
        assert!((loss(0.3) - (0.7 * (total - 2.0) + 0.1 * (3.0 * total - 1.0))).abs() < 1e-5);
    }
}
