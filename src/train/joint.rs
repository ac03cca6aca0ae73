//! One network for both tasks: every step learns from a slice with drawn lesions and from slices with a class, on one
//! backbone. Not the paper's, which trains the class on a backbone that never saw one.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Device;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::dataset::DatasetError;
use crate::dataset::classes::ClassDataset;
use crate::dataset::lesions::{DataRecord, LesionDataset};
use crate::image::{CtSlice, NetworkInput};
use crate::inference::model::{CALIBRATION, RESIZE, TRAINING_CLASSIFIER};
use crate::network::{Architecture, MaskRcnn, StateDict, WeightsError};
use crate::train::augmentation::Transform;
use crate::train::class_heads::{ClassHeads, Dropout};
use crate::train::class_loss::smoothed_cross_entropy;
use crate::train::class_sampling::draws;
use crate::train::config::{Augmentation, SegmentationConfig};
use crate::train::folds::Fold;
use crate::train::loader::read_ahead;
use crate::train::losses;
use crate::train::mask_rcnn_losses::{self, TrainingSlice, accumulate};
use crate::train::provenance::{provenance, record, untested};
use crate::train::rng::{RngStream, rng};
use crate::train::run::{Execution, Objective, Outcome, Plan, TrainError, run};
use crate::train::segmentation::{architecture, fresh_state, network_of};

/// Names of the losses.
pub const LOSS_NAMES: [&str; 6] =
    ["roi_class", "roi_box", "mask", "objectness", "rpn_box", "class"];
/// Draws of the class are not those of the detector: its random streams have another seed.
const CLASS_SEED: u64 = 1 << 63;

/// The class's part of a joint run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointClasses {
    /// Slices with a class in a step. Default: 2
    pub batch: usize,
    /// Weight of the class loss. Default: 1
    pub weight: f64,
    /// Share of its gradient that reaches the backbone. Default: 0.3
    #[serde(alias = "trunk_gradient")]
    pub backbone_gradient: f64,
    /// Share of the hidden features that are zeroed. Default: 0.3
    pub dropout: f64,
    /// Share of the label that is spread over all classes. Default: 0.1
    pub label_smoothing: f64,
    /// Factor of the draws from sources that know one class only. Default: 0.5
    pub lone_source: f64,
    /// Random changes. Default: strong
    pub augmentation: Augmentation,
    /// Regions that module S reads. Default: 128
    pub roi_batch: usize,
    /// Features of module S. Default: 512
    pub features: usize,
    /// The held-out part. Default: none
    pub fold: Option<Fold>,
    /// What the run learns from.
    pub data: Vec<DataRecord>,
}

impl Default for JointClasses {
    fn default() -> Self {
        Self {
            batch: 2,
            weight: 1.0,
            backbone_gradient: 0.3,
            dropout: 0.3,
            label_smoothing: 0.1,
            lone_source: 0.5,
            augmentation: Augmentation::Strong,
            roi_batch: 128,
            features: 512,
            fold: None,
            data: Vec::new(),
        }
    }
}

/// A joint run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JointConfig {
    /// The detector's part; it also says steps, learning rate and optimizer.
    pub detector: SegmentationConfig,
    /// The class's part.
    pub classes: JointClasses,
}

/// What a joint run learns from.
pub struct JointData {
    /// Slices with drawn lesions.
    pub lesions: LesionDataset,
    /// Slices with a class.
    pub classes: ClassDataset,
    /// How often each of these is drawn beside others.
    pub weights: Vec<f64>,
}

/// Where slices with drawn lesions come from.
type Lesions = Receiver<Result<Arc<TrainingSlice>, DatasetError>>;
/// Where slices with a class come from: the slice as it was changed, and which it is.
type Classes = Receiver<Result<Arc<(CtSlice, usize)>, DatasetError>>;

struct Joint<'a> {
    lesions: Arc<LesionDataset>,
    classes: Arc<ClassDataset>,
    weights: Vec<f64>,
    from: Option<&'a StateDict>,
    config: &'a JointConfig,
    architecture: Architecture,
    device: &'a Device,
    sources: Option<(Lesions, Classes)>,
    calibration: String,
}

impl Objective for Joint<'_> {
    type Network = MaskRcnn;
    type Config = JointConfig;
    const LOSS_NAMES: &'static [&'static str] = &LOSS_NAMES;

    fn config(&self) -> &JointConfig {
        self.config
    }

    fn plan(&self) -> Plan {
        let SegmentationConfig { steps, learning_rate, ema_decay, .. } = self.config.detector;
        Plan { steps, learning_rate, optimizer: self.config.detector.optimizer(), ema_decay }
    }

    /// The detector's weights; the heads of the class are fresh unless they are there, too.
    fn start(&mut self) -> Result<StateDict, TrainError> {
        let mut weights = fresh_state(&self.architecture, self.config.detector.seed);
        let fits = |name: &str| {
            self.from.is_some_and(|from| {
                weights.shape(name).is_some_and(|shape| from.shape(name) == Some(shape))
            })
        };
        // A head is taken over whole or not at all.
        let heads = ["s2new.", "s2new_features."].map(|head| {
            let mut own = weights.tensors.keys().filter(|name| name.starts_with(head));
            (head, own.all(|name| fits(name)))
        });
        let taken: Vec<String> = weights
            .tensors
            .keys()
            .filter(|name| {
                let head = heads.iter().find(|(head, _)| name.starts_with(head));
                fits(name) && head.is_none_or(|(_, whole)| *whole)
            })
            .cloned()
            .collect();
        for name in taken {
            if let Some(parameter) = self.from.and_then(|from| from.tensors.get(&name)) {
                weights.tensors.insert(name, parameter.clone());
            }
        }
        Ok(weights)
    }

    fn init(&self, weights: &StateDict, device: &Device) -> Result<MaskRcnn, WeightsError> {
        network_of(&self.config.detector, &self.architecture, weights, device)
    }

    fn state(&self, network: &MaskRcnn) -> StateDict {
        network.state_with(&self.architecture.anchors)
    }

    fn begin(&mut self, step: u64) -> Result<(), TrainError> {
        self.calibration = untested(&self.classes)?;
        let detector = &self.config.detector;
        let first = step * detector.batch as u64;
        let lesions = mask_rcnn_losses::slices(self.lesions.clone(), detector, first);
        let JointClasses { batch, augmentation, .. } = self.config.classes;
        let (seed, classes) = (detector.seed ^ CLASS_SEED, self.classes.clone());
        let order = draws(&self.weights, seed, step * batch as u64);
        let read = move |index: usize, number| {
            let change = Transform::draw(augmentation, seed, number);
            Ok((change.apply(classes.read(&classes.files[index])?), index))
        };
        self.sources = Some((lesions, read_ahead(order, read)));
        Ok(())
    }

    fn gradients(
        &mut self,
        network: &MaskRcnn,
        step: u64,
    ) -> Result<(GradientsParams, Vec<f32>), TrainError> {
        let (lesions, classes) = self.sources.as_ref().ok_or(TrainError::Reader)?;
        let JointConfig { detector, classes: config } = self.config;
        let mut accumulator = GradientsAccumulator::new();
        let found = accumulate(network, detector, lesions, step, self.device, &mut accumulator)?;
        let heads = ClassHeads {
            network,
            architecture: &self.architecture,
            roi_batch: config.roi_batch,
            device: self.device,
        };
        let mut sum = 0.0;
        for number in step * config.batch as u64..(step + 1) * config.batch as u64 {
            let drawn = classes.recv().map_err(|_| TrainError::Reader)??;
            let (slice, index) = &*drawn;
            let input = NetworkInput::resized(slice, detector.resize);
            let spread: u64 = rng(detector.seed, RngStream::Replication, number).random();
            let zeroed = Dropout { share: config.dropout, seed: detector.seed, number };
            let share = config.backbone_gradient;
            let logits = heads.logits_with_backbone(slice, &input, spread, share, zeroed);
            let label = [self.classes.files[*index].class.index()];
            let loss = smoothed_cross_entropy(logits, &label, config.label_smoothing, self.device);
            let loss = loss / config.batch as f64;
            sum += losses::value(&loss);
            let gradients = (loss * config.weight).backward();
            accumulator.accumulate(network, GradientsParams::from_grads(gradients, network));
        }
        Ok((accumulator.grads(), found.into_iter().chain([sum]).collect()))
    }

    fn model(&self, mut weights: StateDict, step: u64, seconds: f64) -> StateDict {
        weights.anchors = Some(self.architecture.anchors.clone());
        let training = record(self.config, step, seconds);
        weights.metadata = provenance(&training, self.from);
        weights.metadata.insert(TRAINING_CLASSIFIER.into(), training.to_string());
        weights.metadata.insert(CALIBRATION.into(), self.calibration.clone());
        weights.metadata.insert(RESIZE.into(), self.config.detector.resize.name().into());
        weights
    }
}

/// Trains until done, or until the limits say stop; resumes from the folder's checkpoint. A new run starts from
/// the weights `from`, as far as they fit, or from fresh ones.
///
/// # Errors
/// If data or folder fail, or a loss is no number any more. The last checkpoint then still stands.
pub fn train_joint(
    data: JointData,
    from: Option<&StateDict>,
    config: &JointConfig,
    execution: Execution<'_, '_>,
) -> Result<Outcome, TrainError> {
    let JointClasses { roi_batch, features, .. } = config.classes;
    let architecture = Architecture {
        score_module: Some((roi_batch, features)),
        feature_module: true,
        ..architecture(&config.detector)
    };
    let mut joint = Joint {
        lesions: Arc::new(data.lesions),
        classes: Arc::new(data.classes),
        weights: data.weights,
        from,
        config,
        architecture,
        device: execution.device,
        sources: None,
        calibration: String::new(),
    };
    run(&mut joint, execution)
}
