//! The predictor: slice in, report out.

use std::collections::BTreeMap;

use burn::tensor::Device;
use thiserror::Error;
use web_time::Instant;

use super::canary::Canary;
use super::detections::{BoxOutputs, Detection, sigmoid, softmax};
use super::device_engine::DeviceEngine;
use super::engine::Engine;
use super::host_engine::HostEngine;
use super::model::{LoadedModel, ModelFile};
use super::monitor::{Cancelled, Monitor, Stage, Unattended};
use super::regions::RankedRegion;
use super::report::{ClassProbabilities, Lesion, ModelsInfo, Report, SliceReport};
use super::roi_batch::RoiBatch;
use super::settings::{MaskThreshold, Settings};
use super::trunk::{self, Inspection, TrunkOutput};
use crate::geometry::paste::{paste_highest, paste_mask};
use crate::geometry::rle::Rle;
use crate::image::{CtSlice, NetworkInput, plausibility};
use crate::network::heads::MASK_SIDE;
use crate::network::host::HostScoreModule;
use crate::network::{Masks, WeightsError};

/// Why a slice has no report.
#[derive(Debug, Error)]
pub enum PredictError {
    /// The device failed: lost, out of memory, a kernel that does not run.
    #[error("the device failed: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
    /// The network gave NaN or infinity.
    #[error("the network's {what} are not finite; the device or the weights are at fault")]
    NotFinite {
        /// Which output.
        what: &'static str,
    },
    /// The device does not compute what it should.
    #[error("the device computes wrong values ({difference})")]
    Canary {
        /// First difference from the stored values.
        difference: String,
    },
    /// The user stopped it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Module S with its batch size. It runs on the CPU, on whatever device the rest is: it is small,
/// and its input comes from the host.
#[derive(Debug)]
struct SliceClassifier {
    module: HostScoreModule,
    roi_batch: usize,
    temperature: f32,
}

/// What was found on a slice.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The report.
    pub report: SliceReport,
    /// Mask logits `[28, 28]` of each lesion; they cover its box (specification 1.6).
    pub mask_logits: Vec<Vec<f32>>,
}

impl Prediction {
    /// The mask logits of all lesions at the slice's size, the highest where they overlap, NaN where there
    /// is none. The second column of the paper's Figure 3.
    pub fn pasted_logits(&self) -> Vec<f32> {
        let lesions = self.report.lesions.iter().map(|lesion| lesion.bbox);
        let maps = self.mask_logits.iter().map(Vec::as_slice).zip(lesions);
        paste_highest(maps, MASK_SIDE, (self.report.width, self.report.height))
    }
}

/// Networks on an engine.
#[derive(Debug)]
pub struct Predictor<E> {
    segmentation: Option<(E, Masks)>,
    /// The classifier's own trunk, unless it is the detector's.
    classifier_trunk: Option<E>,
    classifier: Option<SliceClassifier>,
    models: ModelsInfo,
    device_name: String,
}

impl Predictor<HostEngine> {
    /// A predictor on the CPU.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn on_cpu(model: &LoadedModel, device_name: &str) -> Result<Self, WeightsError> {
        Self::new(model, device_name, |file| HostEngine::new(&file.architecture, &file.state))
    }
}

impl Predictor<DeviceEngine> {
    /// A predictor on a device of burn that has been initialised.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn on_device(
        model: &LoadedModel,
        device: &Device,
        device_name: &str,
    ) -> Result<Self, WeightsError> {
        Self::new(model, device_name, |file| {
            DeviceEngine::new(&file.architecture, &file.state, device)
        })
    }
}

impl<E: Engine> Predictor<E> {
    /// A predictor with the engines that `engine` makes of the model's files.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(
        model: &LoadedModel,
        device_name: &str,
        engine: impl Fn(&ModelFile) -> Result<E, WeightsError>,
    ) -> Result<Self, WeightsError> {
        let segmentation = match &model.segmentation {
            Some(file) => Some((engine(file)?, file.architecture.masks)),
            None => None,
        };
        let (mut classifier, mut classifier_trunk) = (None, None);
        if let Some(file) = &model.classifier {
            if let Some(sizes) = file.architecture.score_module {
                let module = HostScoreModule::new(&file.state, sizes)?;
                let (roi_batch, temperature) = (sizes.0, file.temperature());
                classifier = Some(SliceClassifier { module, roi_batch, temperature });
            }
            if !model.shares_trunk() {
                classifier_trunk = Some(engine(file)?);
            }
        }
        let info = |file: &Option<ModelFile>| file.as_ref().map(|file| file.info.clone());
        Ok(Self {
            segmentation,
            classifier_trunk,
            classifier,
            models: ModelsInfo {
                segmentation: info(&model.segmentation),
                classifier: info(&model.classifier),
            },
            device_name: device_name.into(),
        })
    }

    /// An empty report that names the models and the device.
    pub fn report(&self) -> Report {
        Report::new(self.models.clone(), &self.device_name)
    }

    /// Whether one trunk serves detector and classifier.
    pub fn shares_trunk(&self) -> bool {
        self.classifier.is_some() && self.classifier_trunk.is_none()
    }

    fn any_engine(&self) -> Result<&E, PredictError> {
        self.segmentation
            .as_ref()
            .map(|(engine, _)| engine)
            .or(self.classifier_trunk.as_ref())
            .ok_or_else(|| PredictError::Device { reason: "no network is loaded".into() })
    }

    /// Computes the canary on this device.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn canary(&self) -> Result<Canary, PredictError> {
        trunk::canary(self.any_engine()?).await
    }

    /// Computes the canary and compares it.
    ///
    /// # Errors
    /// If the device fails or computes other values.
    pub async fn check(&self, expected: &Canary) -> Result<(), PredictError> {
        match expected.disagreement(&self.canary().await?) {
            None => Ok(()),
            Some(difference) => Err(PredictError::Canary { difference }),
        }
    }

    /// Outputs of the detector's convolutional part, for comparison with other implementations.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn inspect(&self, input: &NetworkInput) -> Result<Inspection, PredictError> {
        trunk::inspect(self.any_engine()?, input).await
    }

    /// Finds and outlines lesions and classifies the slice.
    ///
    /// # Errors
    /// If the device fails or `monitor` cancels.
    pub async fn predict(
        &self,
        slice: &CtSlice,
        settings: &Settings,
        monitor: &mut impl Monitor,
    ) -> Result<SliceReport, PredictError> {
        Ok(self.predict_with_masks(slice, settings, monitor).await?.report)
    }

    /// The same with the mask head's maps, from which the masks were cut.
    ///
    /// # Errors
    /// If the device fails or `monitor` cancels.
    pub async fn predict_with_masks(
        &self,
        slice: &CtSlice,
        settings: &Settings,
        monitor: &mut impl Monitor,
    ) -> Result<Prediction, PredictError> {
        let mut clock = Clock::start();
        monitor.enter(Stage::Preprocess).await?;
        let input = NetworkInput::new(slice);
        clock.lap(Stage::Preprocess);

        let mut warnings = slice.warnings.clone();
        warnings.extend(plausibility::doubts(slice));
        let (mut lesions, mut mask_logits) = (Vec::new(), Vec::new());
        let mut batch = None;
        if let Some((engine, masks)) = &self.segmentation {
            let lap = &mut |stage| clock.lap(stage);
            let output = trunk::run(engine, &input, Some(settings), monitor, lap).await?;
            if self.shares_trunk() {
                batch = self.roi_batch(&output.boxes, settings);
            }
            monitor.enter(Stage::Masks).await?;
            (lesions, mask_logits) =
                outline(engine, *masks, output, &input, slice, settings).await?;
            clock.lap(Stage::Masks);
        }
        if let Some(engine) = &self.classifier_trunk {
            let lap = &mut |stage| clock.lap(stage);
            let output = trunk::run(engine, &input, None, monitor, lap).await?;
            batch = self.roi_batch(&output.boxes, settings);
        }
        let (mut logits, mut regions) = (None, Vec::new());
        if let Some(batch) = batch {
            regions = RankedRegion::of_batch(&batch, input.to_slice);
            monitor.enter(Stage::Classification).await?;
            if batch.regions.is_empty() {
                warnings
                    .push("no region was found at all; the class comes from an empty batch".into());
            }
            logits = self.classify(&batch)?;
            clock.lap(Stage::Classification);
        }
        let report = SliceReport {
            source: slice.source.clone(),
            width: slice.width,
            height: slice.height,
            spacing_mm: slice.spacing_mm,
            classes: logits.map(|logits| self.class_probabilities(&logits)),
            logits,
            regions,
            lesions,
            milliseconds: clock.finish(),
            warnings,
        };
        Ok(Prediction { report, mask_logits })
    }

    /// The classifier's RoI batch of a slice.
    ///
    /// # Errors
    /// If there is no classifier or the device fails.
    pub async fn ranked_regions(
        &self,
        slice: &CtSlice,
        settings: &Settings,
    ) -> Result<RoiBatch, PredictError> {
        let detector = self.segmentation.as_ref().map(|(engine, _)| engine);
        let engine = self.classifier_trunk.as_ref().or(detector);
        let missing = || PredictError::Device { reason: "no classifier is loaded".into() };
        let input = NetworkInput::new(slice);
        let engine = engine.ok_or_else(missing)?;
        let output = trunk::run(engine, &input, None, &mut Unattended, &mut |_| {}).await?;
        self.roi_batch(&output.boxes, settings).ok_or_else(missing)
    }

    /// The class logits of a RoI batch; `None` without a classifier.
    ///
    /// # Errors
    /// If they are not finite.
    pub fn classify(&self, batch: &RoiBatch) -> Result<Option<[f32; 3]>, PredictError> {
        self.classifier.as_ref().map(|classifier| classifier.logits(batch)).transpose()
    }

    /// Calibrated probabilities of class logits.
    fn class_probabilities(&self, logits: &[f32; 3]) -> ClassProbabilities {
        let temperature = self.classifier.as_ref().map_or(1.0, |found| found.temperature);
        let probabilities = softmax(&logits.map(|logit| logit / temperature));
        ClassProbabilities {
            control: probabilities[0],
            common_pneumonia: probabilities[1],
            covid19: probabilities[2],
        }
    }

    fn roi_batch(&self, outputs: &BoxOutputs, settings: &Settings) -> Option<RoiBatch> {
        let classifier = self.classifier.as_ref()?;
        let (size, seed) = (classifier.roi_batch, settings.seed);
        Some(RoiBatch::by(outputs, size, seed, settings.rule()))
    }
}

impl SliceClassifier {
    fn logits(&self, batch: &RoiBatch) -> Result<[f32; 3], PredictError> {
        let logits = self.module.forward(&batch.values(self.roi_batch));
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(PredictError::NotFinite { what: "class logits" });
        }
        logits
            .try_into()
            .map_err(|_| PredictError::Device { reason: "module S gave no three logits".into() })
    }
}

/// The lesions of a slice, and their mask logits.
async fn outline<E: Engine>(
    engine: &E,
    masks: Masks,
    output: TrunkOutput<E::Pyramid>,
    input: &NetworkInput,
    slice: &CtSlice,
    settings: &Settings,
) -> Result<(Vec<Lesion>, Vec<Vec<f32>>), PredictError> {
    let detections = output.boxes.detect_by(&settings.rule());
    let maps = trunk::masks(engine, &output.pyramid, &detections).await?;
    let lesion = |(detection, map): (&Detection, &Vec<f32>)| {
        lesion(detection, map, masks, input, slice, settings.mask_threshold)
    };
    Ok((detections.iter().zip(&maps).map(lesion).collect(), maps))
}

/// A detection in the slice's own pixels.
fn lesion(
    detection: &Detection,
    map: &[f32],
    masks: Masks,
    input: &NetworkInput,
    slice: &CtSlice,
    threshold: MaskThreshold,
) -> Lesion {
    let bbox = detection.bbox.scale(input.to_slice[0], input.to_slice[1]);
    let size = (slice.width, slice.height);
    let probabilities: Vec<f32> = map.iter().map(|logit| sigmoid(*logit)).collect();
    let cut = match threshold {
        MaskThreshold::Probability => 0.5,
        MaskThreshold::Logit => sigmoid(0.5),
    };
    let mask = paste_mask(&probabilities, MASK_SIDE, &bbox, size, cut);
    let area_px = mask.area();
    let label = match (masks, detection.class) {
        (Masks::Merge, _) => "lesion",
        (Masks::Both, 1) => "ground_glass",
        (Masks::Both, _) => "consolidation",
    };
    Lesion {
        label: label.into(),
        score: detection.score,
        bbox,
        area_px,
        area_mm2: slice.spacing_mm.map(|[row, column]| area_px as f64 * row * column),
        mask: Some(Rle::encode(&mask)),
    }
}

/// Milliseconds by stage.
struct Clock {
    started: Instant,
    lap: Instant,
    milliseconds: BTreeMap<String, f64>,
}

impl Clock {
    fn start() -> Self {
        let now = Instant::now();
        Self { started: now, lap: now, milliseconds: BTreeMap::new() }
    }

    fn lap(&mut self, stage: Stage) {
        let spent = self.lap.elapsed().as_secs_f64() * 1e3;
        *self.milliseconds.entry(stage.name().into()).or_default() += spent;
        self.lap = Instant::now();
    }

    fn finish(mut self) -> BTreeMap<String, f64> {
        let total = self.started.elapsed().as_secs_f64() * 1e3;
        self.milliseconds.insert("total".into(), total);
        self.milliseconds
    }
}
