//! Training a network that judges slices as a whole ([`crate::network::image_classifier`]).

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::dataset::DatasetError;
use crate::dataset::classes::ClassDataset;
use crate::image::preprocess::letterbox;
use crate::image::{CtSlice, NetworkInput};
use crate::inference::model::{CALIBRATION, IMAGE_SIDE, TRAINING_IMAGE_CLASSIFIER};
use crate::logistic_regression::LogisticRegression;
use crate::network::cpu_values::to_cpu_vec;
use crate::network::image_classifier::PREFIX;
use crate::network::pretrained::{BackboneError, Taken, load_backbone};
use crate::network::{ImageClassifier, ImageClassifierConfig, StateDict, WeightsError};
use crate::train::augmentation::Transform;
use crate::train::class_loss::{dropout, smoothed_cross_entropy};
use crate::train::class_sampling::draws;
use crate::train::config::ImageClassifierTraining;
use crate::train::freeze::train_body;
use crate::train::loader::read_ahead;
use crate::train::losses;
use crate::train::provenance::{record, untested};
use crate::train::run::{Execution, Objective, Outcome, Plan, TrainError, run};

/// Name of the one loss.
pub const LOSS_NAMES: [&str; 1] = ["class"];
/// Kept pictures are larger than the network's by this factor, so that a part of them can be magnified.
const KEPT: f32 = 1.375;

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

fn network_of(
    config: &ImageClassifierTraining,
    state: &StateDict,
    device: &Device,
) -> Result<ImageClassifier, WeightsError> {
    let network = ImageClassifierConfig { variant: config.variant }
        .init_with(state, device)?
        .with_statistics(config.norm.statistics());
    Ok(train_body(network, "body.", config.freeze, config.norm))
}

/// A picture of a run: which slice, and the values of the network's input.
type Drawn = Result<Arc<(usize, Vec<f32>)>, DatasetError>;

/// Logits by features: what begins as the linear layer.
fn set_linear_layer(state: &mut StateDict, model: &LogisticRegression) {
    let (slopes, constants): (Vec<Vec<f64>>, Vec<f64>) = model.coefficients().into_iter().unzip();
    let numbers = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
    for (name, values) in
        [("fc.weight", numbers(&slopes.concat())), ("fc.bias", numbers(&constants))]
    {
        if let Some(parameter) = state.tensors.get_mut(&format!("{PREFIX}{name}")) {
            parameter.values = values;
        }
    }
}

/// A run.
struct Classification<'a> {
    dataset: ClassDataset,
    weights: &'a [f64],
    start: StateDict,
    config: &'a ImageClassifierTraining,
    device: &'a Device,
    classes: Vec<usize>,
    calibration: String,
    source: Option<Receiver<Drawn>>,
}

impl Classification<'_> {
    /// The start with the linear layer that fits the features of the body (Kumar 2022): it learns first what the body
    /// sees already, and the body then moves less.
    fn probed(&self, decay: f64) -> Result<StateDict, TrainError> {
        let (config, dataset) = (self.config, &self.dataset);
        let network = network_of(config, &self.start, self.device)?;
        let mut rows = Vec::with_capacity(dataset.files.len());
        for files in dataset.files.chunks(config.batch) {
            let input = |file| {
                let picture = letterbox(&dataset.read(file)?, kept_side(config.side));
                let picture = Transform::NONE.apply_square(picture, config.side);
                Ok(NetworkInput::unscaled(&picture).normalised())
            };
            let inputs: Vec<Vec<f32>> =
                files.par_iter().map(input).collect::<Result<_, TrainError>>()?;
            let dims = [files.len(), 3, config.side, config.side];
            let images = Tensor::from_data(TensorData::new(inputs.concat(), dims), self.device);
            let features = to_cpu_vec(network.features(images));
            let width = features.len() / files.len();
            let row = |row: &[f32]| row.iter().map(|value| f64::from(*value)).collect();
            rows.extend(features.chunks_exact(width).map(row));
        }
        let mut state = self.start.clone();
        let model = LogisticRegression::fit(&rows, &self.classes, self.weights, decay);
        set_linear_layer(&mut state, &model);
        Ok(state)
    }
}

/// Side of the pictures that are kept for a network that sees squares of `side`.
fn kept_side(side: usize) -> usize {
    (side as f32 * KEPT).round() as usize
}

impl Objective for Classification<'_> {
    type Network = ImageClassifier;
    type Config = ImageClassifierTraining;
    const LOSS_NAMES: &'static [&'static str] = &LOSS_NAMES;

    fn config(&self) -> &ImageClassifierTraining {
        self.config
    }

    fn plan(&self) -> Plan {
        let ImageClassifierTraining { steps, learning_rate, ema_decay, .. } = *self.config;
        Plan { steps, learning_rate, optimizer: self.config.optimizer(), ema_decay }
    }

    fn start(&mut self) -> Result<StateDict, TrainError> {
        match self.config.probe {
            Some(decay) => self.probed(decay),
            None => Ok(self.start.clone()),
        }
    }

    fn init(&self, weights: &StateDict, device: &Device) -> Result<ImageClassifier, WeightsError> {
        network_of(self.config, weights, device)
    }

    fn state(&self, network: &ImageClassifier) -> StateDict {
        network.state()
    }

    fn begin(&mut self, step: u64) -> Result<(), TrainError> {
        let side = kept_side(self.config.side);
        self.calibration = untested(&self.dataset)?;
        let read = |file| Ok(letterbox(&self.dataset.read(file)?, side));
        let pictures: Vec<CtSlice> =
            self.dataset.files.par_iter().map(read).collect::<Result<_, TrainError>>()?;
        let ImageClassifierTraining { seed, augmentation, side: network_side, .. } = *self.config;
        let pictures = Arc::new(pictures);
        let order = draws(self.weights, seed, step * self.config.batch as u64);
        self.source = Some(read_ahead(order, move |index, number| {
            let change = Transform::draw_whole(augmentation, seed, number);
            let picture = change.apply_square(pictures[index].clone(), network_side);
            Ok((index, NetworkInput::unscaled(&picture).normalised()))
        }));
        Ok(())
    }

    fn gradients(
        &mut self,
        network: &ImageClassifier,
        step: u64,
    ) -> Result<(GradientsParams, Vec<f32>), TrainError> {
        let (config, device) = (self.config, self.device);
        let source = self.source.as_ref().ok_or(TrainError::Reader)?;
        let mut values = Vec::with_capacity(config.batch * 3 * config.side * config.side);
        let mut labels = Vec::with_capacity(config.batch);
        for _ in 0..config.batch {
            let drawn = source.recv().map_err(|_| TrainError::Reader)??;
            values.extend_from_slice(&drawn.1);
            labels.push(self.classes[drawn.0]);
        }
        let dims = [config.batch, 3, config.side, config.side];
        let features = network.features(Tensor::from_data(TensorData::new(values, dims), device));
        let features = dropout(features, config.dropout, config.seed, step, device);
        let logits = network.fc.forward(features);
        let loss = smoothed_cross_entropy(logits, &labels, config.label_smoothing, device);
        let value = losses::value(&loss);
        Ok((GradientsParams::from_grads(loss.backward(), network), vec![value]))
    }

    fn model(&self, weights: StateDict, step: u64, seconds: f64) -> StateDict {
        let mut model = weights;
        let config = self.config;
        let training = record(config, step, seconds);
        model.metadata.insert(TRAINING_IMAGE_CLASSIFIER.into(), training.to_string());
        model.metadata.insert(IMAGE_SIDE.into(), config.side.to_string());
        model.metadata.insert(CALIBRATION.into(), self.calibration.clone());
        model
    }
}

/// Trains until done, or until the limits say stop; resumes from the folder's checkpoint.
///
/// `weights` says how often each slice is drawn beside others.
///
/// # Errors
/// If data, weights or folder fail, or the loss is no number any more.
pub fn train_image_classifier(
    dataset: ClassDataset,
    weights: &[f64],
    start: StateDict,
    config: &ImageClassifierTraining,
    execution: Execution<'_, '_>,
) -> Result<Outcome, TrainError> {
    let device = execution.device;
    let classes = dataset.files.iter().map(|file| file.class.index()).collect();
    let (calibration, source) = (String::new(), None);
    let mut classification =
        Classification { dataset, weights, start, config, device, classes, calibration, source };
    run(&mut classification, execution)
}
