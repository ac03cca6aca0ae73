//! The predictor: slice in, report out.

use std::collections::BTreeMap;

use crate::classes::{CLASSES, LesionClasses};
use crate::detection::BBox;
use crate::detection::mask::paste::paste_highest;
use crate::detection::postprocess::BoxOutputs;
use crate::detection::roi_batch::RoiBatch;
use crate::image::preprocess::Resize;
use crate::image::{CtSlice, NetworkInput, Warning, lungs, plausibility};
use crate::inference::backend::Backend;
use crate::inference::detector::{self, DetectorOutput, StageOutputs};
use crate::inference::error::PredictError;
use crate::inference::model::{LoadedModel, ModelFile};
use crate::inference::outline::outline;
use crate::inference::progress::{NoProgress, Progress, Stage};
use crate::inference::self_test::SelfTest;
use crate::inference::settings::Settings;
use crate::inference::slice_classifier::{
    ClassNetwork, Evidence, SliceClassifier, checked, region_logits,
};
use crate::inference::slice_features::covered_share;
use crate::inference::stage_times::StageTimes;
use crate::network::WeightsError;
use crate::network::heads::{BOX_HEAD_FEATURES, MASK_SIDE};
use crate::report::lungs::LungsSlice;
use crate::report::regions::RankedRegion;
use crate::report::verdict::Calibration;
use crate::report::{ClassProbabilities, ModelsInfo, Report, SliceReport};

/// What was found on a slice.
#[derive(Clone, Debug)]
pub struct Prediction {
    /// The report.
    pub report: SliceReport,
    /// Mask logits `[28, 28]` of each lesion; they cover its box (docs/method.md, 1.6).
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

/// A network with what it was trained for.
#[derive(Debug)]
struct LoadedDetector<B> {
    backend: B,
    masks: LesionClasses,
    resize: Resize,
}

/// Networks on a backend.
#[derive(Debug)]
pub struct Predictor<B> {
    segmentation: Option<LoadedDetector<B>>,
    /// The detector under the classifier, unless it is the one that outlines lesions.
    classifier_detector: Option<LoadedDetector<B>>,
    classifier: Option<SliceClassifier>,
    models: ModelsInfo,
    device_name: String,
}

impl<B: Backend> Predictor<B> {
    /// A predictor with the backends that `backend` makes of the model's files.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(
        model: &LoadedModel,
        device_name: &str,
        backend: impl Fn(&ModelFile) -> Result<B, WeightsError>,
    ) -> Result<Self, WeightsError> {
        let detector = |file: &ModelFile| {
            let (masks, resize) = (file.detector()?.masks, file.resize());
            Ok::<_, WeightsError>(LoadedDetector { backend: backend(file)?, masks, resize })
        };
        let segmentation = model.segmentation.as_ref().map(detector).transpose()?;
        let (mut classifier, mut classifier_detector) = (None, None);
        if let Some(file) = &model.classifier {
            let by_regions = file.image_classifier.is_none()
                && file.detector.as_ref().is_some_and(|found| found.score_module.is_some());
            if by_regions && !model.shares_detector() {
                classifier_detector = Some(detector(file)?);
            }
            classifier = SliceClassifier::new(file)?;
        }
        let info = |file: &Option<ModelFile>| file.as_ref().map(|file| file.info.clone());
        Ok(Self {
            models: ModelsInfo {
                segmentation: info(&model.segmentation),
                classifier: info(&model.classifier),
                calibration: classifier.as_ref().map(|found| found.calibration.clone()),
            },
            segmentation,
            classifier_detector,
            classifier,
            device_name: device_name.into(),
        })
    }

    /// An empty report that names the models and the device.
    pub fn report(&self) -> Report {
        Report::new(self.models.clone(), &self.device_name)
    }

    /// Whether one detector serves the lesions and a classifier that goes by regions.
    pub fn shares_detector(&self) -> bool {
        let classifier = self.classifier.as_ref();
        classifier.is_some_and(SliceClassifier::goes_by_regions)
            && self.classifier_detector.is_none()
    }

    fn any_backend(&self) -> Result<&B, PredictError> {
        self.segmentation
            .as_ref()
            .or(self.classifier_detector.as_ref())
            .map(|detector| &detector.backend)
            .ok_or(PredictError::NotLoaded { what: "detector" })
    }

    /// Computes the self-test on this device.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn self_test(&self) -> Result<SelfTest, PredictError> {
        detector::self_test(self.any_backend()?).await
    }

    /// Computes the self-test and compares it.
    ///
    /// # Errors
    /// If the device fails or computes other values.
    pub async fn check(&self, expected: &SelfTest) -> Result<(), PredictError> {
        match expected.disagreement(&self.self_test().await?) {
            None => Ok(()),
            Some(difference) => Err(PredictError::SelfTest { difference }),
        }
    }

    /// Outputs of the detector's convolutional part, for comparison with other implementations.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn stage_outputs(&self, input: &NetworkInput) -> Result<StageOutputs, PredictError> {
        detector::stage_outputs(self.any_backend()?, input).await
    }

    /// Finds and outlines lesions and classifies the slice.
    ///
    /// # Errors
    /// If the device fails or `progress` cancels.
    pub async fn predict(
        &self,
        slice: &CtSlice,
        settings: &Settings,
        progress: &mut impl Progress,
    ) -> Result<SliceReport, PredictError> {
        Ok(self.predict_with_masks(slice, settings, progress).await?.report)
    }

    /// The same with the mask head's maps, from which the masks were cut.
    ///
    /// # Errors
    /// If the device fails or `progress` cancels.
    pub async fn predict_with_masks(
        &self,
        slice: &CtSlice,
        settings: &Settings,
        progress: &mut impl Progress,
    ) -> Result<Prediction, PredictError> {
        let mut clock = StageTimes::start();
        progress.enter(Stage::Preprocess).await?;
        let mut warnings = slice.warnings.clone();
        let unfit = plausibility::refusal(slice);
        if let Some(reason) = &unfit {
            if !settings.force {
                let report = SliceReport::refused(slice, reason.clone(), clock.finish());
                return Ok(Prediction { report, mask_logits: Vec::new() });
            }
            warnings.push(Warning::OnRequest(reason.clone()));
        }
        let detectors = [&self.segmentation, &self.classifier_detector];
        let inputs = detectors.map(|detector| {
            detector.as_ref().map(|detector| NetworkInput::resized(slice, detector.resize))
        });
        clock.lap(Stage::Preprocess);
        let (mut lesions, mut mask_logits) = (Vec::new(), Vec::new());
        let (mut evidence, mut slice_from_network) = (None, [1.0; 2]);
        // One call for both detectors: each would be a state machine of its own in what a browser downloads.
        for (outlines, (detector, input)) in
            [true, false].into_iter().zip(detectors.into_iter().zip(inputs))
        {
            let Some((LoadedDetector { backend, masks, .. }, input)) = detector.as_ref().zip(input)
            else {
                continue;
            };
            let lap = &mut |stage| clock.lap(stage);
            let ahead = outlines.then_some(settings);
            let output = detector::run(backend, &input, ahead, progress, lap).await?;
            slice_from_network = input.slice_from_network;
            if !outlines || self.shares_detector() {
                evidence =
                    self.evidence(backend, &output, slice, slice_from_network, settings).await?;
            }
            if outlines {
                progress.enter(Stage::Masks).await?;
                (lesions, mask_logits) =
                    outline(backend, *masks, output, &input, slice, settings).await?;
                clock.lap(Stage::Masks);
            }
        }
        let (mut logits, mut regions) = (None, Vec::new());
        let inputs = self.calibration().and_then(|known| known.inputs.as_ref());
        let unlike = || inputs.and_then(|inputs| inputs.refusal(slice));
        let refusal = plausibility::class_refusal(slice).or_else(unlike);
        let refusal = refusal.filter(|_| self.classifier.is_some() && !settings.force);
        if let Some(classifier) = self.classifier.as_ref().filter(|_| refusal.is_none()) {
            progress.enter(Stage::Classification).await?;
            if let Some(Evidence { batch, .. }) = &evidence {
                regions = RankedRegion::of_batch(batch, slice_from_network);
                if batch.regions.is_empty() {
                    warnings.push(Warning::NoRegion);
                }
            }
            logits = classifier.logits(slice, evidence.as_ref())?;
            clock.lap(Stage::Classification);
        }
        let classes = logits.as_ref().map(|logits| self.class_probabilities(logits));
        let calibration = self.classifier.as_ref().map(|classifier| &classifier.calibration);
        let verdict = calibration.zip(classes).map(|(known, classes)| known.verdict(&classes));
        let mut report = SliceReport {
            source: slice.source.clone(),
            width: slice.width,
            height: slice.height,
            spacing_mm: slice.spacing_mm,
            position_mm: slice.plane.map(|plane| plane.origin[2]),
            classes,
            verdict,
            refusal: refusal.as_ref().map(ToString::to_string),
            refusal_reason: refusal,
            logits,
            regions,
            lesions,
            segmented: self.segmentation.is_some(),
            forced: unfit.is_some(),
            lungs: None,
            milliseconds: BTreeMap::new(),
            warnings: Warning::sentences(&warnings),
            warning_codes: warnings,
            corrections: None,
            measurements: Vec::new(),
        };
        if report.segmented {
            let labels = report.label_map();
            report.lungs = lungs::segment(slice).map(|found| LungsSlice::new(&found, &labels));
            clock.lap(Stage::Masks);
        }
        report.milliseconds = clock.finish();
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
        let missing = || PredictError::NotLoaded { what: "classifier that goes by regions" };
        let detector = self.classifier_detector.as_ref().or(self.segmentation.as_ref());
        let LoadedDetector { backend, resize, .. } = detector.ok_or_else(missing)?;
        let input = NetworkInput::resized(slice, *resize);
        let output = detector::run(backend, &input, None, &mut NoProgress, &mut |_| {}).await?;
        self.roi_batch(&output.boxes, settings).ok_or_else(missing)
    }

    /// The class logits of a RoI batch; `None` without a classifier that goes by regions, and by these alone.
    ///
    /// # Errors
    /// If they are not finite.
    pub fn classify(&self, batch: &RoiBatch) -> Result<Option<[f32; CLASSES]>, PredictError> {
        match self.classifier.as_ref().map(|classifier| &classifier.network) {
            Some(ClassNetwork::Regions { module, features: None, roi_batch }) => {
                region_logits(module, *roi_batch, batch).and_then(checked).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What the classifier's logits are worth; `None` without one.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.classifier.as_ref().map(|classifier| &classifier.calibration)
    }

    /// Calibrated probabilities of class logits.
    fn class_probabilities(&self, logits: &[f32; CLASSES]) -> ClassProbabilities {
        let plain = Calibration::default();
        ClassProbabilities::new(self.calibration().unwrap_or(&plain).probabilities(logits))
    }

    /// What the class network needs of a slice; `None` if it does not go by regions.
    async fn evidence(
        &self,
        backend: &B,
        output: &DetectorOutput<B::Pyramid>,
        slice: &CtSlice,
        slice_from_network: [f32; 2],
        settings: &Settings,
    ) -> Result<Option<Evidence>, PredictError> {
        let Some(batch) = self.roi_batch(&output.boxes, settings) else { return Ok(None) };
        let network = self.classifier.as_ref().map(|classifier| &classifier.network);
        let mut features = None;
        if let Some(ClassNetwork::Regions { features: Some(_), .. }) = network {
            let regions = &batch.regions;
            let proposals = &output.boxes.proposals;
            let boxes: Vec<BBox> = regions.iter().map(|found| proposals[found.proposal]).collect();
            let seen = backend.slice_features(&output.pyramid, &boxes).await?;
            let share = covered_share(slice, regions, slice_from_network);
            features = Some(seen.row(regions, BOX_HEAD_FEATURES, share));
        }
        Ok(Some(Evidence { batch, features }))
    }

    fn roi_batch(&self, outputs: &BoxOutputs, settings: &Settings) -> Option<RoiBatch> {
        match self.classifier.as_ref()?.network {
            ClassNetwork::Regions { roi_batch, .. } => {
                Some(RoiBatch::by(outputs, roi_batch, settings.seed, settings.rule()))
            }
            ClassNetwork::Image { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::classes::SliceClass;
    use crate::image::phantom::draw;
    use crate::network::{Architecture, MaskRcnnConfig, Task, Variant};

    #[test]
    fn regions_without_a_classifier_are_a_model_that_is_not_there_and_no_device_that_failed() {
        let device = Device::flex();
        let variant: Variant = "resnet18t2".parse().unwrap();
        let paper = Architecture::paper(variant, Task::Segmentation, LesionClasses::Merge);
        let state = MaskRcnnConfig::new(paper).init(&device).state();
        let file = ModelFile::read("drawn", &state.to_exact_pack().unwrap()).unwrap();
        let predictor =
            Predictor::on_cpu(&LoadedModel::new(Some(file), None).unwrap(), "cpu").unwrap();
        let slice = draw(SliceClass::Control, 1).slice;
        let settings = Settings::reference();
        let regions = predictor.ranked_regions(&slice, &settings);
        let refused = pollster::block_on(regions).unwrap_err();
        assert!(matches!(refused, PredictError::NotLoaded { .. }), "{refused}");
    }

    #[test]
    fn a_class_from_the_backbones_features_is_the_same_on_every_backend() {
        let device = Device::flex();
        let variant: Variant = "resnet18t2".parse().unwrap();
        let paper = Architecture::paper(variant, Task::Classification, LesionClasses::Merge);
        // Few regions: of many, two have scores so near that rounding decides which comes first.
        let architecture = Architecture {
            feature_module: true,
            mask_branch: true,
            score_module: Some((16, 512)),
            ..paper
        };
        let mut state = MaskRcnnConfig::new(architecture).random_state(3);
        let slice = draw(SliceClass::Covid19, 11).slice;
        let settings = Settings::reference();
        let mut logits = |with_module: bool| {
            if !with_module {
                state.tensors.retain(|name, _| !name.starts_with("s2new_features"));
            }
            let file = ModelFile::read("drawn", &state.to_exact_pack().unwrap()).unwrap();
            let model = LoadedModel::new(Some(file.clone()), Some(file)).unwrap();
            let cpu = Predictor::on_cpu(&model, "cpu").unwrap();
            let gpu = Predictor::on_device(&model, &device, "flex").unwrap();
            let mut monitors = [NoProgress, NoProgress];
            let [on_cpu, on_gpu] = &mut monitors;
            let cpu = pollster::block_on(cpu.predict(&slice, &settings, on_cpu));
            let gpu = pollster::block_on(gpu.predict(&slice, &settings, on_gpu));
            let [cpu, gpu] = [cpu, gpu].map(|report| report.unwrap().logits.unwrap());
            for class in 0..CLASSES {
                let (found, expected) = (cpu[class], gpu[class]);
                assert!(
                    (found - expected).abs() < 1e-3 * expected.abs().max(1.0),
                    "{cpu:?} {gpu:?}"
                );
            }
            cpu
        };
        assert_ne!(logits(true), logits(false), "the module has its say");
    }
}
