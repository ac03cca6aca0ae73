//! Lesions as COCO results, as pycocotools and annotation tools read them.

use serde_json::{Value, json};

use crate::classes::LesionKind;
use crate::report::Report;

/// A COCO file with an image per slice and an annotation, with its score, per lesion.
pub fn coco(report: &Report) -> Value {
    let mut annotations = Vec::new();
    let mut images = Vec::new();
    for (index, slice) in report.slices.iter().enumerate() {
        let image = index + 1;
        let mut of_slice = json!({
            "id": image, "file_name": slice.source, "width": slice.width, "height": slice.height,
        });
        if let Some(corrections) = slice.corrections_summary() {
            of_slice["corrections"] = corrections.into();
        }
        images.push(of_slice);
        for lesion in &slice.lesions {
            let b = lesion.bbox;
            let mut annotation = json!({
                "id": annotations.len() + 1,
                "image_id": image,
                "category_id": lesion.label.category(),
                "bbox": [b.x1, b.y1, b.width(), b.height()],
                "area": lesion.area_px,
                "iscrowd": 0,
                "score": lesion.score,
            });
            if let Some(mask) = &lesion.mask {
                annotation["segmentation"] = json!(mask);
            }
            if !lesion.origin.is_model() {
                annotation["origin"] = json!(lesion.origin);
            }
            annotations.push(annotation);
        }
    }
    let edited = if report.is_corrected() { " and edited by a reader" } else { "" };
    json!({
        "info": {
            "description": format!("groundglass: lesions found by a program{edited}. {}", report.notice),
            "version": env!("CARGO_PKG_VERSION"),
            "model": report.model,
        },
        "images": images,
        "annotations": annotations,
        "categories": [
            { "id": LesionKind::Lesion.category(), "name": LesionKind::Lesion.category_name(), "supercategory": "lesion" },
            { "id": LesionKind::Consolidation.category(), "name": LesionKind::Consolidation.category_name(), "supercategory": "lesion" },
        ],
    })
}
