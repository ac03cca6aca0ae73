//! Stage II: from the ranked regions of a slice to its class (docs/method.md, 2).

use std::path::Path;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;

use crate::classes::{CLASSES, SliceClass};
use crate::dataset::classes::ClassDataset;
use crate::image::{CtSlice, NetworkInput};
use crate::inference::model::{
    CALIBRATION, CLASSIFIER_METADATA, ModelFile, TEMPERATURE, TRAINING_CLASSIFIER,
};
use crate::network::cpu_values::to_cpu_vec;
use crate::network::weights::StateDict;
use crate::network::{Architecture, MaskRcnn, MaskRcnnConfig, WeightsError};
use crate::report::verdict::Calibration;
use crate::train::adam::AdamConfig;
use crate::train::augmentation::Transform;
use crate::train::checkpoint::{CheckpointError, write_whole};
use crate::train::class_heads::{ClassHeads, Dropout, FixedRegions};
use crate::train::class_sampling::{draw_weights, draws};
use crate::train::config::{Augmentation, ClassifierConfig, Trainable};
use crate::train::freeze::train_only;
use crate::train::losses;
use crate::train::provenance::{record, untested};
use crate::train::rng::{RngStream, rng, shuffled};
use crate::train::run::{Execution, MODEL, Objective, Outcome, Plan, TrainError, run};
use crate::train::segmentation::fresh_state;
use crate::train::temperature::fit_temperature;
use crate::train::validation::BEST;

/// Name of the one loss.
pub const LOSS_NAMES: [&str; 1] = ["class"];

/// Whether stage II trains a parameter of this name (docs/method.md, 2.3).
fn is_trainable(name: &str, trainable: Trainable) -> bool {
    name.contains("new") || (trainable == Trainable::ScoreAndNorm && name.contains("bn"))
}

/// Which slices are held out to fit the temperature, and a warning if they are not of patients of
/// their own.
pub fn hold_out(dataset: &ClassDataset, share: f64, seed: u64) -> (Vec<bool>, Option<String>) {
    let mut held = vec![false; dataset.files.len()];
    let mut warning = None;
    for class in SliceClass::ALL {
        let members: Vec<usize> =
            (0..held.len()).filter(|index| dataset.files[*index].class == class).collect();
        let mut patients: Vec<String> =
            members.iter().map(|index| dataset.files[*index].patient_key()).collect();
        patients.sort_unstable();
        patients.dedup();
        if share <= 0.0 || members.len() < 2 {
            continue;
        }
        if patients.len() < 2 {
            // The last slices of the only patient: neighbours stay together.
            let count = ((members.len() as f64 * share).round() as usize).max(1);
            for index in &members[members.len() - count..] {
                held[*index] = true;
            }
            warning = Some(
                "a class has one patient only: the temperature is fitted on slices of a patient that was trained on".into(),
            );
            continue;
        }
        let mut rng = rng(seed, RngStream::Holdout, class.index() as u64);
        let count = ((patients.len() as f64 * share).round() as usize).clamp(1, patients.len() - 1);
        for _ in 0..count {
            let patient = patients.swap_remove(rng.random_range(0..patients.len()));
            for index in
                members.iter().filter(|index| dataset.files[**index].patient_key() == patient)
            {
                held[*index] = true;
            }
        }
    }
    (held, warning)
}

/// What stage II found, beside the model.
#[derive(Clone, Debug)]
pub struct ClassifierOutcome {
    /// How the run ended.
    pub outcome: Outcome,
    /// Temperature of the softmax, if slices were held out.
    pub temperature: Option<f64>,
    /// What to know about it.
    pub warning: Option<String>,
}

/// Stage II of a run.
struct Stage<'a> {
    dataset: &'a ClassDataset,
    base: &'a ModelFile,
    config: &'a ClassifierConfig,
    device: &'a Device,
    architecture: Architecture,
    /// Indices of the slices that are learnt from.
    training: Vec<usize>,
    /// How often each of these is drawn beside the others, if not once an epoch.
    weights: Option<Vec<f64>>,
    /// What a backbone that stays as it is saw of every slice, plain and mirrored.
    fixed: Vec<[Option<FixedRegions>; 2]>,
    /// What the model says of its verdicts; empty if it says what the paper's does.
    calibration: String,
}

impl<'a> Stage<'a> {
    fn new(
        dataset: &'a ClassDataset,
        base: &'a ModelFile,
        config: &'a ClassifierConfig,
        device: &'a Device,
        held: &[bool],
    ) -> Result<Self, TrainError> {
        let architecture = Architecture {
            score_module: Some((config.roi_batch, config.features)),
            feature_module: config.trainable == Trainable::ScoreAndFeatures,
            mask_branch: false,
            ..base.detector()?.clone()
        };
        let training: Vec<usize> = (0..held.len()).filter(|index| !held[*index]).collect();
        let weights = config.balanced.then(|| {
            let learnt = training.iter().map(|index| dataset.files[*index].clone()).collect();
            draw_weights(&ClassDataset::of(learnt), &vec![1.0; training.len()], 1.0)
        });
        let fixed = vec![[None, None]; held.len()];
        let calibration = match config.trainable {
            Trainable::ScoreAndFeatures => untested(dataset)?,
            _ => String::new(),
        };
        Ok(Self {
            dataset,
            base,
            config,
            device,
            architecture,
            training,
            weights,
            fixed,
            calibration,
        })
    }

    fn heads<'b>(&'b self, network: &'b MaskRcnn) -> ClassHeads<'b> {
        let (architecture, device) = (&self.architecture, self.device);
        ClassHeads { network, architecture, roi_batch: self.config.roi_batch, device }
    }

    fn batches(&self) -> u64 {
        self.training.len().div_ceil(self.config.batch) as u64
    }

    /// The slices of a step, with their numbers.
    fn members(&self, step: u64) -> Vec<(usize, u64)> {
        let batch = self.config.batch;
        let number = step * batch as u64;
        if let Some(weights) = &self.weights {
            let drawn = draws(weights, self.config.seed, number).take(batch);
            return drawn.map(|(place, number)| (self.training[place], number)).collect();
        }
        let epoch = step / self.batches();
        let order = shuffled(self.training.len(), self.config.seed, epoch);
        let first = (step % self.batches()) as usize * batch;
        let members = &order[first..(first + batch).min(order.len())];
        members.iter().map(|member| self.training[*member]).zip(number..).collect()
    }

    fn slice(
        &self,
        index: usize,
        change: Transform,
    ) -> Result<(CtSlice, NetworkInput), TrainError> {
        let slice = change.apply(self.dataset.read(&self.dataset.files[index])?);
        let input = NetworkInput::resized(&slice, self.base.resize());
        Ok((slice, input))
    }

    /// Class logits `[1, 3]` of slice `index` as draw `number` of the run.
    fn logits(
        &mut self,
        network: &MaskRcnn,
        index: usize,
        number: u64,
    ) -> Result<Tensor<2>, TrainError> {
        let ClassifierConfig { augmentation, seed, trainable, dropout, .. } = *self.config;
        let change = Transform::draw(augmentation, seed, number);
        let spread: u64 = rng(seed, RngStream::Replication, number).random();
        if trainable == Trainable::ScoreAndNorm {
            let (_, input) = self.slice(index, change)?;
            return Ok(self.heads(network).logits_of_slice(&input, spread));
        }
        let zeroed = Dropout { share: dropout, seed, number };
        let mirrored = usize::from(change.mirrored);
        let is_kept = matches!(augmentation, Augmentation::None | Augmentation::Flip);
        let known = self.fixed[index][mirrored].take();
        let fixed = match known {
            Some(fixed) => fixed,
            None => {
                let (slice, input) = self.slice(index, change)?;
                self.heads(network).fixed(&slice, &input)
            }
        };
        let logits = self.heads(network).logits_of_fixed(&fixed, spread, zeroed);
        if is_kept {
            self.fixed[index][mirrored] = Some(fixed);
        }
        Ok(logits)
    }
}

impl Stage<'_> {
    /// Fits the softmax temperature to the slices that are `held`, and stores it in the model at `path`; none without
    /// such slices.
    fn store_temperature(&self, path: &Path, held: &[bool]) -> Result<Option<f64>, TrainError> {
        let read = |source| CheckpointError::File { path: path.into(), source };
        let mut model = StateDict::from_bytes(&std::fs::read(path).map_err(read)?)?;
        let network = self.init(&model, self.device)?;
        let mut examples = Vec::new();
        for index in (0..held.len()).filter(|index| held[*index]) {
            let (slice, input) = self.slice(index, Transform::NONE)?;
            let heads = self.heads(&network);
            let logits = heads.logits_of_fixed(&heads.fixed(&slice, &input), 0, Dropout::default());
            let logits: Vec<f64> = to_cpu_vec(logits.inner()).into_iter().map(f64::from).collect();
            examples.push((logits, self.dataset.files[index].class.index()));
        }
        if examples.is_empty() {
            return Ok(None);
        }
        let temperature = fit_temperature(&examples);
        let known = model.metadata.get(CALIBRATION).map(|text| serde_json::from_str(text));
        if let Some(Ok(known)) = known {
            let known = Calibration { temperature: temperature as f32, ..known };
            let text = serde_json::to_string(&known).unwrap_or_default();
            model.metadata.insert(CALIBRATION.into(), text);
        }
        model.metadata.insert(TEMPERATURE.into(), temperature.to_string());
        write_whole(path, &model.to_pack()?)?;
        Ok(Some(temperature))
    }
}

impl Objective for Stage<'_> {
    type Network = MaskRcnn;
    type Config = ClassifierConfig;
    const LOSS_NAMES: &'static [&'static str] = &LOSS_NAMES;

    fn config(&self) -> &ClassifierConfig {
        self.config
    }

    fn plan(&self) -> Plan {
        let ClassifierConfig { learning_rate, weight_decay, epochs, .. } = *self.config;
        let optimizer = AdamConfig::with_decay(weight_decay);
        Plan { steps: self.batches() * epochs, learning_rate, optimizer, ema_decay: 0.0 }
    }

    fn base(&self) -> Option<&str> {
        Some(&self.base.info.sha256)
    }

    /// The segmentation network's weights by name, module S fresh (docs/method.md, 2.5).
    fn start(&mut self) -> Result<StateDict, TrainError> {
        let fresh = fresh_state(&self.architecture, self.config.seed);
        let mut state = fresh.filtered(|name| name.starts_with("s2new"));
        let kept = |name: &str| !name.starts_with("s2new") && !name.starts_with("roi_heads.mask");
        state.tensors.extend(self.base.state.clone().filtered(kept).tensors);
        state.anchors = Some(self.architecture.anchors.clone());
        Ok(state)
    }

    fn init(&self, weights: &StateDict, device: &Device) -> Result<MaskRcnn, WeightsError> {
        let network = MaskRcnnConfig::new(self.architecture.clone()).init_with(weights, device)?;
        Ok(train_only(network, |name| is_trainable(name, self.config.trainable)))
    }

    fn state(&self, network: &MaskRcnn) -> StateDict {
        network.state_with(&self.architecture.anchors)
    }

    fn begin(&mut self, _step: u64) -> Result<(), TrainError> {
        Ok(())
    }

    fn gradients(
        &mut self,
        network: &MaskRcnn,
        step: u64,
    ) -> Result<(GradientsParams, Vec<f32>), TrainError> {
        let members = self.members(step);
        let mut accumulator = GradientsAccumulator::new();
        let mut sum = 0.0f32;
        for (index, number) in &members {
            let logits = self.logits(network, *index, *number)?;
            let mut label = vec![0.0f32; CLASSES];
            label[self.dataset.files[*index].class.index()] = 1.0;
            let label = Tensor::from_data(TensorData::new(label, [1, CLASSES]), self.device);
            let loss = losses::binary_cross_entropy(logits, label) / members.len() as f64;
            sum += losses::value(&loss);
            accumulator.accumulate(network, GradientsParams::from_grads(loss.backward(), network));
        }
        Ok((accumulator.grads(), vec![sum]))
    }

    fn model(&self, mut weights: StateDict, step: u64, seconds: f64) -> StateDict {
        if self.config.trainable != Trainable::ScoreAndNorm {
            // One file serves both stages: the backbone is the segmentation network's.
            let masks = self.base.state.clone().filtered(|name| name.starts_with("roi_heads.mask"));
            weights.tensors.extend(masks.tensors);
        }
        weights.metadata.clone_from(&self.base.state.metadata);
        weights.metadata.retain(|name, _| !CLASSIFIER_METADATA.contains(&name.as_str()));
        if !self.calibration.is_empty() {
            weights.metadata.insert(CALIBRATION.into(), self.calibration.clone());
        }
        let about = record(self.config, step, seconds);
        weights.metadata.insert(TRAINING_CLASSIFIER.into(), about.to_string());
        weights
    }
}

/// Trains until done, or until the limits say stop; resumes from the folder's checkpoint.
///
/// # Errors
/// If data, weights or folder fail, or the loss is no number any more.
pub fn train_classifier(
    dataset: &ClassDataset,
    base: &ModelFile,
    config: &ClassifierConfig,
    execution: Execution<'_, '_>,
) -> Result<ClassifierOutcome, TrainError> {
    let (held, warning) = hold_out(dataset, config.holdout, config.seed);
    let Execution { folder, device, .. } = execution;
    let mut stage = Stage::new(dataset, base, config, device, &held)?;
    let outcome = run(&mut stage, execution)?;

    let temperature = stage.store_temperature(&folder.join(MODEL), &held)?;
    let best = folder.join(BEST);
    if best.is_file() {
        stage.store_temperature(&best, &held)?;
    }
    Ok(ClassifierOutcome { outcome, temperature, warning })
}
