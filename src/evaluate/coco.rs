//! COCO's average precision of masks and boxes, by hotcoco.

use hotcoco::{Annotation, COCO, COCOeval, Dataset, IouType};
use serde::{Deserialize, Serialize};
use serde_json::json;
use thiserror::Error;

use crate::classes::LesionKind;
use crate::detection::mask::connected_components::bounding_box;
use crate::detection::mask::rle::Rle;
use crate::detection::{BBox, Mask};
use crate::evaluate::average_precision::ScoredMask;
use crate::evaluate::coco_matches::{CocoMatches, SizeRange};

/// hotcoco refused.
#[derive(Debug, Error)]
#[error("COCO evaluation failed: {0}")]
pub struct CocoError(String);

/// Truth and predictions in one slice.
#[derive(Clone, Debug)]
pub struct CocoSlice {
    /// (width, height).
    pub size: (usize, usize),
    /// True lesions.
    pub truth: Vec<ScoredMask>,
    /// Places that are neither lesion nor background; COCO's crowds.
    pub ignored: Vec<Mask>,
    /// Predicted lesions.
    pub predictions: Vec<ScoredMask>,
    /// Boxes of the predictions.
    pub boxes: Vec<BBox>,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// Masks.
    Masks,
    /// Boxes.
    Boxes,
}

/// The usual numbers; none where there is nothing to compute them from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CocoResult {
    /// Mean over IoU 0.50 to 0.95.
    pub ap: Option<f64>,
    /// At IoU 0.50.
    pub ap50: Option<f64>,
    /// At IoU 0.75.
    pub ap75: Option<f64>,
    /// Mean AP of lesions of up to 32 x 32, up to 96 x 96, and more pixels of the slice as given.
    #[serde(default)]
    pub ap_by_size: [Option<f64>; 3],
    /// Recall with 100 detections a slice, mean over IoU 0.50 to 0.95.
    pub ar100: Option<f64>,
}

/// Ground truth as a COCO file.
pub fn ground_truth(slices: &[CocoSlice]) -> serde_json::Value {
    let mut annotations = Vec::new();
    let mut images = Vec::new();
    for (index, slice) in slices.iter().enumerate() {
        let (width, height) = slice.size;
        images.push(json!({ "id": index + 1, "width": width, "height": height, "file_name": "" }));
        let lesions = slice.truth.iter().map(|lesion| (lesion.class, 0, &lesion.mask));
        // Whatever the class of a detection there, it is no false positive.
        let ignored = slice.ignored.iter().flat_map(|mask| [(1, 1, mask), (2, 1, mask)]);
        for (class, crowd, mask) in lesions.chain(ignored) {
            let bbox = bounding_box(mask).unwrap_or_default();
            annotations.push(json!({
                "id": annotations.len() + 1, "image_id": index + 1, "category_id": class,
                "area": mask.area(), "iscrowd": crowd, "bbox": corner_and_size(&bbox),
                "segmentation": Rle::encode(mask),
            }));
        }
    }
    let categories = json!([
        { "id": LesionKind::Lesion.category(), "name": LesionKind::Lesion.category_name(), "supercategory": "" },
        { "id": LesionKind::Consolidation.category(), "name": LesionKind::Consolidation.category_name(), "supercategory": "" },
    ]);
    json!({ "images": images, "annotations": annotations, "categories": categories })
}

/// Predictions as a COCO result file.
pub fn results(slices: &[CocoSlice], overlap: Overlap) -> serde_json::Value {
    let mut found = Vec::new();
    for (index, slice) in slices.iter().enumerate() {
        for (lesion, bbox) in slice.predictions.iter().zip(&slice.boxes) {
            let mut row = json!({
                "image_id": index + 1, "category_id": lesion.class, "score": lesion.score,
            });
            match overlap {
                Overlap::Masks => row["segmentation"] = json!(Rle::encode(&lesion.mask)),
                Overlap::Boxes => row["bbox"] = json!(corner_and_size(bbox)),
            }
            found.push(row);
        }
    }
    json!(found)
}

fn corner_and_size(bbox: &BBox) -> [f32; 4] {
    [bbox.x1, bbox.y1, bbox.width(), bbox.height()]
}

/// Average precision by COCO's rules, and the matches that it is computed from, for all sizes and for each range of them.
///
/// # Errors
/// If hotcoco does not take the data.
pub fn evaluate(
    slices: &[CocoSlice],
    overlap: Overlap,
) -> Result<(CocoResult, [CocoMatches; 4]), CocoError> {
    let failed = |error: &dyn std::fmt::Display| CocoError(error.to_string());
    let truth: Dataset =
        serde_json::from_value(ground_truth(slices)).map_err(|error| failed(&error))?;
    let truth = COCO::from_dataset(truth);
    let found: Vec<Annotation> =
        serde_json::from_value(results(slices, overlap)).map_err(|error| failed(&error))?;
    if found.is_empty() {
        let any = slices.iter().any(|slice| !slice.truth.is_empty());
        let zero = any.then_some(0.0);
        let ap_by_size = [None; 3];
        let result = CocoResult { ap: zero, ap50: zero, ap75: zero, ap_by_size, ar100: zero };
        let lesions = slices.iter().map(|slice| slice.truth.len());
        return Ok((result, std::array::from_fn(|_| CocoMatches::of_silence(lesions.clone()))));
    }
    let found = truth.load_res_anns(found).map_err(|error| failed(&error))?;
    let kind = match overlap {
        Overlap::Masks => IouType::Segm,
        Overlap::Boxes => IouType::Bbox,
    };
    let mut evaluation = COCOeval::new(truth, found, kind);
    evaluation.evaluate().map_err(|error| failed(&error))?;
    let matches = SizeRange::ALL.map(|size| CocoMatches::new(&evaluation, slices.len(), size));
    evaluation.accumulate();
    evaluation.summarize_lines();
    let stats = evaluation.stats().unwrap_or_default().to_vec();
    // pycocotools says -1 where there is nothing to average.
    let value = |index: usize| stats.get(index).copied().filter(|value| *value >= 0.0);
    let ap_by_size = [3, 4, 5].map(value);
    let result =
        CocoResult { ap: value(0), ap50: value(1), ap75: value(2), ap_by_size, ar100: value(8) };
    Ok((result, matches))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(class: usize, score: f32, [x, y, side]: [usize; 3]) -> ScoredMask {
        let mut mask = Mask::empty(40, 30);
        for row in y..(y + side).min(30) {
            for column in x..(x + side).min(40) {
                mask.pixels[row * 40 + column] = true;
            }
        }
        ScoredMask { class, score, mask }
    }

    /// The same files through pycocotools 2.0.11 gave these numbers.
    #[test]
    fn the_numbers_are_those_of_pycocotools() {
        let slice = |truth: Vec<ScoredMask>, predictions: Vec<ScoredMask>| {
            let boxes =
                predictions.iter().map(|p| bounding_box(&p.mask).unwrap_or_default()).collect();
            CocoSlice { size: (40, 30), truth, ignored: Vec::new(), predictions, boxes }
        };
        let slices = [
            slice(
                vec![square(1, 1.0, [2, 2, 10]), square(1, 1.0, [20, 10, 12])],
                vec![
                    square(1, 0.9, [2, 2, 9]),
                    square(1, 0.6, [21, 11, 12]),
                    square(1, 0.7, [0, 20, 8]),
                ],
            ),
            slice(vec![square(1, 1.0, [5, 5, 15])], vec![square(1, 0.3, [5, 5, 15])]),
            slice(vec![], vec![square(1, 0.5, [30, 3, 6])]),
        ];
        let (masks, _) = evaluate(&slices, Overlap::Masks).unwrap();
        let (boxes, _) = evaluate(&slices, Overlap::Boxes).unwrap();
        for found in [masks, boxes] {
            let found = [found.ap, found.ap50, found.ap75, found.ar100].map(Option::unwrap);
            for (actual, expected) in found.into_iter().zip(PYCOCOTOOLS) {
                assert!((actual - expected).abs() < 1e-6, "{found:?}");
            }
        }
        let nothing = [slice(vec![square(1, 1.0, [2, 2, 10])], vec![])];
        assert_eq!(evaluate(&nothing, Overlap::Masks).unwrap().0.ap, Some(0.0));
    }

    #[test]
    fn what_is_found_on_an_ignored_place_is_no_false_alarm() {
        let with = |ignored: Vec<Mask>| {
            let predictions = vec![square(1, 0.9, [20, 10, 6]), square(1, 0.8, [2, 2, 10])];
            let boxes =
                predictions.iter().map(|p| bounding_box(&p.mask).unwrap_or_default()).collect();
            let truth = vec![square(1, 1.0, [2, 2, 10])];
            let slice = CocoSlice { size: (40, 30), truth, ignored, predictions, boxes };
            evaluate(&[slice], Overlap::Masks).unwrap().0.ap50.unwrap()
        };
        assert!(with(Vec::new()) < 0.6);
        assert!(with(vec![square(1, 1.0, [20, 10, 6]).mask]) > 0.99);
    }

    /// AP, AP at 0.5 and 0.75, AR with 100 detections.
    const PYCOCOTOOLS: [f64; 4] =
        [0.4918811881188118, 0.7564356435643562, 0.46732673267326735, 0.7333333333333332];
}
