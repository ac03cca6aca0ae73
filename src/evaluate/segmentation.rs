//! Lesions found against lesions drawn, slice by slice (specification 6.1).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::average_precision::{ImageMatches, Outlined, THRESHOLDS, mean_by_threshold};
use super::bootstrap::{Estimate, estimate};
use super::coco::{self, CocoError, CocoResult, CocoSlice};
use crate::predict::{Engine, PredictError, Predictor, Settings, Unattended};
use crate::train::dataset::DatasetError;
use crate::train::dataset::lesions::LesionDataset;

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
        /// Why.
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
        /// Why.
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
    /// COCO's AP of masks.
    pub coco_masks: CocoResult,
    /// COCO's AP of boxes.
    pub coco_boxes: CocoResult,
}

/// Runs `predictor` over a dataset; `tick` is called after every slice.
///
/// # Errors
/// If a file or the device fails.
pub fn predict(
    predictor: &Predictor<impl Engine>,
    dataset: &LesionDataset,
    settings: &Settings,
    mut tick: impl FnMut(),
) -> Result<Vec<CocoSlice>, EvaluationError> {
    let mut slices = Vec::new();
    for file in &dataset.files {
        let read = dataset.read(file)?;
        let report = pollster::block_on(predictor.predict(&read.slice, settings, &mut Unattended))
            .map_err(|source| EvaluationError::Predict { slice: file.stem.clone(), source })?;
        let truth = read
            .instances
            .into_iter()
            .map(|found| Outlined { class: found.class, score: 1.0, mask: found.mask })
            .collect();
        let mut predictions = Vec::new();
        let mut boxes = Vec::new();
        for lesion in report.lesions {
            let Some(mask) = lesion.mask else { continue };
            let mask = mask.decode().map_err(|error| EvaluationError::Mask {
                slice: file.stem.clone(),
                what: error.to_string(),
            })?;
            let class = if lesion.label == "consolidation" { 2 } else { 1 };
            predictions.push(Outlined { class, score: lesion.score, mask });
            boxes.push(lesion.bbox);
        }
        let size = (read.slice.width, read.slice.height);
        slices.push(CocoSlice { size, truth, predictions, boxes });
        tick();
    }
    Ok(slices)
}

/// Measures predictions for the slices of `dataset`.
///
/// # Errors
/// If COCO's evaluation does not take them.
pub fn evaluate(
    slices: &[CocoSlice],
    dataset: &LesionDataset,
    settings: &Settings,
) -> Result<SegmentationResult, EvaluationError> {
    let images: Vec<ImageMatches> =
        slices.iter().map(|slice| ImageMatches::new(&slice.predictions, &slice.truth)).collect();
    let with_lesions = slices.iter().filter(|slice| !slice.truth.is_empty()).count();
    let patients: Vec<String> = dataset.files.iter().map(|file| file.patient().into()).collect();
    let at = |items: &[usize], threshold: f64| {
        let sum: f64 = items.iter().map(|i| images[*i].average_precision(threshold)).sum();
        sum / items.len().max(1) as f64
    };
    let by_threshold = mean_by_threshold(images.iter());
    // Values per slice once, so that resampling is cheap.
    let means: Vec<f64> = images
        .iter()
        .map(|image| THRESHOLDS.map(|t| image.average_precision(t)).iter().sum::<f64>() / 10.0)
        .collect();
    let mean = |items: &[usize]| {
        Some(items.iter().map(|i| means[*i]).sum::<f64>() / items.len().max(1) as f64)
    };
    Ok(SegmentationResult {
        slices: images.len(),
        slices_with_lesions: with_lesions,
        scans: dataset.patients(),
        lesions: slices.iter().map(|slice| slice.truth.len()).sum(),
        predictions: slices.iter().map(|slice| slice.predictions.len()).sum(),
        settings: *settings,
        per_image_ap: THRESHOLDS.iter().map(|t| format!("{t:.2}")).zip(by_threshold).collect(),
        ap50: estimate(&patients, |items| Some(at(items, 0.5))),
        ap75: estimate(&patients, |items| Some(at(items, 0.75))),
        mean_ap: estimate(&patients, mean),
        coco_masks: coco::evaluate(slices, coco::Overlap::Masks)?,
        coco_boxes: coco::evaluate(slices, coco::Overlap::Boxes)?,
    })
}
