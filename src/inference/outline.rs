//! Detections become lesions: masks pasted and cut, boxes and areas in the slice's own pixels.

use crate::classes::{LesionClasses, LesionKind};
use crate::detection::mask::paste::paste_mask;
use crate::detection::mask::rle::Rle;
use crate::detection::postprocess::{Detection, sigmoid};
use crate::detection::{BBox, Mask};
use crate::image::{CtSlice, NetworkInput};
use crate::inference::backend::Backend;
use crate::inference::detector::{self, DetectorOutput};
use crate::inference::error::PredictError;
use crate::inference::settings::{MaskThreshold, Settings};
use crate::network::heads::MASK_SIDE;
use crate::report::{Lesion, Origin};

/// The lesions of a slice, and the mask logits `[28, 28]` of each.
///
/// # Errors
/// If the device fails.
pub async fn outline<B: Backend>(
    backend: &B,
    masks: LesionClasses,
    output: DetectorOutput<B::Pyramid>,
    input: &NetworkInput,
    slice: &CtSlice,
    settings: &Settings,
) -> Result<(Vec<Lesion>, Vec<Vec<f32>>), PredictError> {
    let detections = output.boxes.postprocess_detections(&settings.rule());
    let maps = detector::masks(backend, &output.pyramid, &detections).await?;
    let mut outlined: Vec<Outlined> = Vec::new();
    for (detection, map) in detections.iter().zip(maps) {
        let (lesion, mask) = lesion(detection, &map, masks, input, slice, settings.mask_threshold);
        let is_known = |known: &Outlined| {
            known.lesion.label == lesion.label && lies_on(&mask, &lesion.bbox, known)
        };
        if !(settings.merge && outlined.iter().any(is_known)) {
            outlined.push(Outlined { lesion, mask, map });
        }
    }
    Ok(outlined.into_iter().map(|found| (found.lesion, found.map)).unzip())
}

/// A lesion with its mask and the map that it was cut from.
struct Outlined {
    lesion: Lesion,
    mask: Mask,
    map: Vec<f32>,
}

/// Whether two masks share more than half of the smaller one.
fn lies_on(mask: &Mask, bbox: &BBox, known: &Outlined) -> bool {
    let (a, b) = (bbox, &known.lesion.bbox);
    // A mask may reach a pixel beyond its box.
    let from = |a: f32, b: f32| (a.max(b) - 1.0).max(0.0) as usize;
    let to = |a: f32, b: f32, end: usize| ((a.min(b) + 2.0).max(0.0) as usize).min(end);
    let columns = from(a.x1, b.x1)..to(a.x2, b.x2, mask.width);
    let shared: usize = (from(a.y1, b.y1)..to(a.y2, b.y2, mask.height))
        .map(|row| {
            let at = |column: &usize| row * mask.width + column;
            let both = |column: &usize| mask.pixels[at(column)] && known.mask.pixels[at(column)];
            columns.clone().filter(both).count()
        })
        .sum();
    let smaller = mask.area().min(known.lesion.area_px);
    smaller > 0 && 2 * shared > smaller
}

/// A detection in the slice's own pixels.
fn lesion(
    detection: &Detection,
    map: &[f32],
    masks: LesionClasses,
    input: &NetworkInput,
    slice: &CtSlice,
    threshold: MaskThreshold,
) -> (Lesion, Mask) {
    let bbox = detection.bbox.scale(input.slice_from_network[0], input.slice_from_network[1]);
    let size = (slice.width, slice.height);
    let probabilities: Vec<f32> = map.iter().map(|logit| sigmoid(*logit)).collect();
    let cut = match threshold {
        MaskThreshold::Probability => 0.5,
        MaskThreshold::Logit => sigmoid(0.5),
    };
    let mask = paste_mask(&probabilities, MASK_SIDE, &bbox, size, cut);
    let area_px = mask.area();
    let label = match (masks, detection.class) {
        (LesionClasses::Merge, _) => LesionKind::Lesion,
        (LesionClasses::Both, 1) => LesionKind::GroundGlass,
        (LesionClasses::Both, _) => LesionKind::Consolidation,
    };
    let lesion = Lesion {
        label,
        score: detection.score,
        bbox,
        area_px,
        area_mm2: slice.spacing_mm.map(|[row, column]| area_px as f64 * row * column),
        mask: Some(Rle::encode(&mask)),
        origin: Origin::Model,
    };
    (lesion, mask)
}
