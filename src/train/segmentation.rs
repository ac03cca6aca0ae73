//! Stage I: from slices with drawn lesions to a detector that outlines them (docs/method.md, 1.4 to 1.6, 4).

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Instant;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Device;

use crate::dataset::DatasetError;
use crate::dataset::lesions::LesionDataset;
use crate::inference::model::RESIZE;
use crate::network::pretrained::{BODY, BackboneError, Taken, load_backbone, load_detector};
use crate::network::{Architecture, MaskRcnn, MaskRcnnConfig, StateDict, Task, WeightsError};
use crate::train::adam::Adam;
use crate::train::config::{Augmentation, SegmentationConfig};
use crate::train::freeze::train_body;
use crate::train::mask_rcnn_losses::{LOSS_NAMES, TrainingSlice, accumulate, losses, slices};
use crate::train::provenance::{provenance, record};
use crate::train::run::{Execution, Objective, Outcome, Plan, TrainError, advance, run};

pub(super) fn architecture(config: &SegmentationConfig) -> Architecture {
    let masks = config.classes.lesion_classes();
    let paper = Architecture::paper(config.variant, Task::Segmentation, masks);
    Architecture { anchors: config.anchors.clone(), ..paper }
}

/// A fresh network whose weights depend on the seed alone.
pub fn fresh_state(architecture: &Architecture, seed: u64) -> StateDict {
    let device = Device::flex();
    device.seed(seed);
    let mut state = MaskRcnnConfig::new(architecture.clone()).init(&device).state();
    state.anchors = Some(architecture.anchors.clone());
    state
}

/// A fresh network for `config` whose body is the one in `backbone`.
///
/// # Errors
/// If that is no backbone of the variant.
pub fn state_with_backbone(
    config: &SegmentationConfig,
    backbone: &StateDict,
) -> Result<(StateDict, Taken), BackboneError> {
    let mut state = fresh_state(&architecture(config), config.seed);
    let taken = load_backbone(&mut state, BODY, config.variant, backbone)?;
    Ok((state, taken))
}

/// The detector for `config` that computes what `shallower` does, whose backbone has fewer blocks.
///
/// # Errors
/// If its parameters do not fit those of the variant.
pub fn state_with_detector(
    config: &SegmentationConfig,
    shallower: &StateDict,
) -> Result<(StateDict, Taken), BackboneError> {
    let mut state = fresh_state(&architecture(config), config.seed);
    let taken = load_detector(&mut state, config.variant, shallower)?;
    state.metadata = shallower.metadata.clone();
    Ok((state, taken))
}

/// The network of a run, its gradients recorded where it learns.
pub(super) fn network_of(
    config: &SegmentationConfig,
    architecture: &Architecture,
    state: &StateDict,
    device: &Device,
) -> Result<MaskRcnn, WeightsError> {
    let network = MaskRcnnConfig::new(architecture.clone())
        .init_with(state, device)?
        .with_statistics(config.norm.statistics());
    Ok(train_body(network, BODY, config.freeze, config.norm))
}

/// Slices as they come, ready to learn from.
type Slices = Receiver<Result<Arc<TrainingSlice>, DatasetError>>;

/// Stage I of a run.
struct Detection<'a> {
    /// The slices from a number on.
    open: Box<dyn Fn(u64) -> Slices + 'a>,
    from: Option<&'a StateDict>,
    config: &'a SegmentationConfig,
    architecture: Architecture,
    device: &'a Device,
    slices: Option<Slices>,
}

impl Objective for Detection<'_> {
    type Network = MaskRcnn;
    type Config = SegmentationConfig;
    const LOSS_NAMES: &'static [&'static str] = &LOSS_NAMES;

    fn config(&self) -> &SegmentationConfig {
        self.config
    }

    fn plan(&self) -> Plan {
        let SegmentationConfig { steps, learning_rate, ema_decay, .. } = *self.config;
        Plan { steps, learning_rate, optimizer: self.config.optimizer(), ema_decay }
    }

    fn start(&mut self) -> Result<StateDict, TrainError> {
        let fresh = || fresh_state(&self.architecture, self.config.seed);
        let weights = self.from.cloned().unwrap_or_else(fresh);
        // Other networks of the file that a run starts from are no part of it.
        let own = ["backbone.", "rpn.", "roi_heads."];
        Ok(weights.filtered(|name| own.iter().any(|part| name.starts_with(part))))
    }

    fn init(&self, weights: &StateDict, device: &Device) -> Result<MaskRcnn, WeightsError> {
        network_of(self.config, &self.architecture, weights, device)
    }

    fn state(&self, network: &MaskRcnn) -> StateDict {
        network.state_with(&self.architecture.anchors)
    }

    fn begin(&mut self, step: u64) -> Result<(), TrainError> {
        let first = step * self.config.batch as u64;
        self.slices = Some((self.open)(first));
        Ok(())
    }

    fn gradients(
        &mut self,
        network: &MaskRcnn,
        step: u64,
    ) -> Result<(GradientsParams, Vec<f32>), TrainError> {
        let source = self.slices.as_ref().ok_or(TrainError::Reader)?;
        let mut accumulator = GradientsAccumulator::new();
        let losses = accumulate(network, self.config, source, step, self.device, &mut accumulator)?;
        Ok((accumulator.grads(), losses.to_vec()))
    }

    fn model(&self, weights: StateDict, step: u64, seconds: f64) -> StateDict {
        let mut model = weights;
        model.anchors = Some(self.architecture.anchors.clone());
        model.metadata = provenance(&record(self.config, step, seconds), self.from);
        model.metadata.insert(RESIZE.into(), self.config.resize.name().into());
        model
    }
}

/// Trains until done, or until the limits say stop; resumes from the folder's checkpoint. A new
/// run starts from the weights `from`, or from fresh ones.
///
/// # Errors
/// If data or folder fail, or a loss is no number any more. The last checkpoint then still stands.
pub fn train_segmentation(
    dataset: LesionDataset,
    from: Option<&StateDict>,
    config: &SegmentationConfig,
    execution: Execution<'_, '_>,
) -> Result<Outcome, TrainError> {
    let (dataset, architecture) = (Arc::new(dataset), architecture(config));
    let open = Box::new(move |first| slices(dataset.clone(), config, first));
    let device = execution.device;
    let mut detection = Detection { open, from, config, architecture, device, slices: None };
    run(&mut detection, execution)
}

/// The losses of weights on slices that are not learnt from, as they are: without random changes, each slice once. Means, in
/// the order of [`LOSS_NAMES`]; zeros without a slice.
///
/// # Errors
/// If a file fails, or the weights do not fit the configuration.
pub fn held_out_losses(
    state: &StateDict,
    dataset: &LesionDataset,
    config: &SegmentationConfig,
    device: &Device,
) -> Result<[f64; LOSS_NAMES.len()], TrainError> {
    let config = SegmentationConfig {
        augmentation: Augmentation::None,
        copy_paste: 0.0,
        crop: None,
        ..config.clone()
    };
    let network = network_of(&config, &architecture(&config), state, device)?;
    let mut sums = [0.0; LOSS_NAMES.len()];
    for index in 0..dataset.files.len() {
        // The number of a slice decides what is sampled of it: the same at every validation.
        let slice = TrainingSlice::read(dataset, &config, index, index as u64)?;
        let of_slice = losses(&network, &config, &slice, index as u64, device).values();
        sums.iter_mut().zip(of_slice).for_each(|(sum, value)| *sum += f64::from(value));
    }
    Ok(sums.map(|sum| sum / dataset.files.len().max(1) as f64))
}

/// Milliseconds of `runs` steps on one slice by [`SegmentationConfig::fast`], after two that are not
/// counted: what [`train_segmentation`] does at a step, without its files.
///
/// # Errors
/// If the weights cannot be placed on the device.
pub fn step_times(
    slice: TrainingSlice,
    runs: usize,
    device: &Device,
) -> Result<Vec<f64>, TrainError> {
    let config = &SegmentationConfig::fast();
    let slice = Arc::new(slice);
    let all = runs + 2;
    let open = Box::new(move |_| {
        let (sender, receiver) = sync_channel(all);
        (0..all).for_each(|_| drop(sender.try_send(Ok(slice.clone()))));
        receiver
    });
    let architecture = architecture(config);
    let mut detection = Detection { open, from: None, config, architecture, device, slices: None };
    let weights = detection.start()?;
    let mut network = detection.init(&weights, device)?;
    let mut adam = Adam::new(config.optimizer());
    detection.begin(0)?;
    let mut times = Vec::with_capacity(all);
    for step in 0..all as u64 {
        let started = Instant::now();
        let rate = config.learning_rate.peak;
        (network, _) = advance(&mut detection, network, &mut adam, step, rate)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times.split_off(2))
}
