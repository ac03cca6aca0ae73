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
use crate::network::image_classifier::PREFIX;
use crate::network::pretrained::{BackboneError, Taken, load_backbone};
use crate::network::{ImageClassifier, ImageClassifierConfig, StateDict, WeightsError};
use crate::train::augmentation::Transform;
use crate::train::calibration::untested;
use crate::train::class_loss::{dropout, smoothed_cross_entropy};
use crate::train::class_sampling::draws;
use crate::train::config::ImageClassifierTraining;
use crate::train::freeze::train_body;
use crate::train::loader::read_ahead;
use crate::train::losses;
use crate::train::provenance::record;
use crate::train::run::{Execution, Objective, Outcome, Plan, TrainError, run};

/// Name of the one loss.
pub const LOSS_NAMES: [&str; 1] = ["class"];
/// Kept pictures are larger than the network's by this factor, so that a part of them can be magnified.
const ROOM: f32 = 1.375;

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

impl Objective for Classification<'_> {
    type Network = ImageClassifier;
    type Config = ImageClassifierTraining;
    const LOSS_NAMES: &'static [&'static str] = &LOSS_NAMES;

    fn config(&self) -> &ImageClassifierTraining {
        self.config
    }

    fn plan(&self) -> Plan {
        let ImageClassifierTraining { steps, learning_rate, average, .. } = *self.config;
        Plan { steps, learning_rate, optimizer: self.config.optimizer(), average }
    }

    fn start(&self) -> StateDict {
        self.start.clone()
    }

    fn init(&self, weights: &StateDict, device: &Device) -> Result<ImageClassifier, WeightsError> {
        network_of(self.config, weights, device)
    }

    fn state(&self, network: &ImageClassifier) -> StateDict {
        network.state()
    }

    fn begin(&mut self, step: u64) -> Result<(), TrainError> {
        let side = (self.config.side as f32 * ROOM).round() as usize;
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
