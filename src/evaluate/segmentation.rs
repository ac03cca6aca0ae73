//! Lesions found against lesions drawn, slice by slice (docs/method.md, 6.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::dataset::DatasetError;
use crate::dataset::lesions::LesionDataset;
use crate::evaluate::average_precision::{ScoredMask, THRESHOLDS, mean_by_threshold};
use crate::evaluate::bootstrap::{Estimate, estimate};
use crate::evaluate::coco::{CocoError, CocoResult, CocoSlice, Overlap};
use crate::evaluate::froc::Froc;
use crate::evaluate::lesion_measures::{CocoEstimates, LesionMatches};
use crate::inference::{Backend, NoProgress, PredictError, Predictor, Settings};

/// Why nothing was measured.
#[derive(Debug, Error)]
pub enum EvaluationError {
    /// The data.
    #[error(transparent)]
    Data(#[from] DatasetError),
    /// The network.
    #[error("{slice}: {source}")]
    Predict {
        /// Where.
        slice: String,
        /// The reason.
        source: PredictError,
    },
    /// COCO's evaluation.
    #[error(transparent)]
    Coco(#[from] CocoError),
    /// A mask that cannot be unpacked.
    #[error("{slice}: a mask of the report cannot be read: {what}")]
    Mask {
        /// Where.
        slice: String,
        /// The reason.
        what: String,
    },
}

/// Everything that is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SegmentationResult {
    /// Slices.
    pub slices: usize,
    /// Slices with a lesion.
    pub slices_with_lesions: usize,
    /// Scans.
    pub scans: usize,
    /// True lesions.
    pub lesions: usize,
    /// Predicted lesions.
    pub predictions: usize,
    /// Thresholds of the prediction.
    pub settings: Settings,
    /// The reference's per-image AP by IoU threshold ("0.50" to "0.95"), mean over slices.
    pub per_image_ap: BTreeMap<String, f64>,
    /// At IoU 0.50.
    pub ap50: Option<Estimate>,
    /// At IoU 0.75.
    pub ap75: Option<Estimate>,
    /// Mean over the ten thresholds.
    pub mean_ap: Option<Estimate>,
    /// Mean over the ten thresholds, of the slices with lesions alone: the rule gives 1 for no detection
    /// on the others.
    #[serde(default)]
    pub mean_ap_with_lesions: Option<Estimate>,
    /// Detections on a slice without lesions, on average.
    #[serde(default)]
    pub false_positives_without_lesions: Option<Estimate>,
    /// Lesions found against false alarms.
    #[serde(default)]
    pub froc: Option<Froc>,
    /// Mean sensitivity of that curve.
    #[serde(default)]
    pub froc_mean: Option<Estimate>,
    /// Dice of all lesions together.
    #[serde(default)]
    pub union_dice: Option<Estimate>,
    /// Share of the drawn pixels that was found.
    #[serde(default)]
    pub union_recall: Option<Estimate>,
    /// Share of the found pixels that was drawn.
    #[serde(default)]
    pub union_precision: Option<Estimate>,
    /// COCO's AP of masks.
    pub coco_masks: CocoResult,
    /// COCO's AP of boxes.
    pub coco_boxes: CocoResult,
    /// COCO's AP of masks over patients.
    #[serde(default)]
    pub coco_masks_estimates: CocoEstimates,
    /// COCO's AP of boxes over patients.
    #[serde(default)]
    pub coco_boxes_estimates: CocoEstimates,
    /// Sensitivities of the FROC curve over patients.
    #[serde(default)]
    pub froc_estimates: [Option<Estimate>; 7],
}

/// Runs `predictor` over a dataset; `tick` is called after every slice.
///
/// # Errors
/// If a file or the device fails.
pub fn predict(
    predictor: &Predictor<impl Backend>,
    dataset: &LesionDataset,
    settings: &Settings,
    mut tick: impl FnMut(),
) -> Result<Vec<CocoSlice>, EvaluationError> {
    let mut slices = Vec::new();
    for file in &dataset.files {
        let read = dataset.read(file)?;
        let report = pollster::block_on(predictor.predict(&read.slice, settings, &mut NoProgress))
            .map_err(|source| EvaluationError::Predict { slice: file.stem.clone(), source })?;
        let truth = read
            .instances
            .into_iter()
            .map(|found| ScoredMask { class: found.class, score: 1.0, mask: found.mask })
            .collect();
        let mut predictions = Vec::new();
        let mut boxes = Vec::new();
        for lesion in report.lesions {
            let Some(mask) = lesion.mask else { continue };
            let mask = mask.decode().map_err(|error| EvaluationError::Mask {
                slice: file.stem.clone(),
                what: error.to_string(),
            })?;
            let class = usize::from(lesion.label.category());
            predictions.push(ScoredMask { class, score: lesion.score, mask });
            boxes.push(lesion.bbox);
        }
        let size = (read.slice.width, read.slice.height);
        let ignored = read.ignored.into_iter().map(|place| place.mask).collect();
        slices.push(CocoSlice { size, truth, ignored, predictions, boxes });
        tick();
    }
    Ok(slices)
}

/// Measures predictions for the slices of `dataset`; `matches` are theirs.
pub fn evaluate(
    slices: &[CocoSlice],
    matches: &LesionMatches,
    dataset: &LesionDataset,
    settings: &Settings,
) -> SegmentationResult {
    let patients = patients(dataset);
    let by_threshold = mean_by_threshold(matches.images.iter());
    let all: Vec<usize> = (0..slices.len()).collect();
    let of = |measure: &dyn Fn(&[usize]) -> Option<f64>| estimate(&patients, measure);
    let [coco_masks, coco_boxes] = matches.coco.clone();
    SegmentationResult {
        mean_ap_with_lesions: of(&|items| matches.mean_ap_with_lesions(items)),
        false_positives_without_lesions: of(&|items| matches.false_positives(items)),
        froc: matches.froc(&all),
        froc_mean: of(&|items| Some(matches.froc(items)?.mean)),
        union_dice: of(&|items| matches.union(items).dice()),
        union_recall: of(&|items| matches.union(items).recall()),
        union_precision: of(&|items| matches.union(items).precision()),
        slices: slices.len(),
        slices_with_lesions: slices.iter().filter(|slice| !slice.truth.is_empty()).count(),
        scans: dataset.patients(),
        lesions: slices.iter().map(|slice| slice.truth.len()).sum(),
        predictions: slices.iter().map(|slice| slice.predictions.len()).sum(),
        settings: *settings,
        per_image_ap: THRESHOLDS.iter().map(|t| format!("{t:.2}")).zip(by_threshold).collect(),
        ap50: of(&|items| Some(matches.ap_at(items, 0.5))),
        ap75: of(&|items| Some(matches.ap_at(items, 0.75))),
        mean_ap: of(&|items| Some(matches.mean_ap(items))),
        coco_masks_estimates: matches.coco_estimates(Overlap::Masks, &patients),
        coco_boxes_estimates: matches.coco_estimates(Overlap::Boxes, &patients),
        froc_estimates: std::array::from_fn(|rate| {
            of(&|items| Some(matches.froc(items)?.sensitivities[rate]))
        }),
        coco_masks,
        coco_boxes,
    }
}

/// The patient of every slice.
pub fn patients(dataset: &LesionDataset) -> Vec<String> {
    dataset.files.iter().map(|file| file.patient_key()).collect()
}
