//! What every surface shows: page, JSON, pictures.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::regions::RankedRegion;
use super::series_report::SeriesReport;
use crate::geometry::BBox;
use crate::geometry::rle::Rle;

/// Name and version of the JSON layout.
pub const SCHEMA: &str = "groundglass/report/1";
/// Stands in every report.
pub const NOTICE: &str = "Research use only. Not a medical device.";

/// Which weights spoke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Model or file name.
    pub name: String,
    /// SHA-256 of the weights' file, hexadecimal.
    pub sha256: String,
}

/// The networks used; either may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelsInfo {
    /// Stage I.
    pub segmentation: Option<ModelInfo>,
    /// Stage II.
    pub classifier: Option<ModelInfo>,
}

/// Probabilities of the slice's class: softmax of the three logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassProbabilities {
    /// No pneumonia.
    pub control: f32,
    /// Pneumonia that is not COVID-19.
    pub common_pneumonia: f32,
    /// COVID-19.
    pub covid19: f32,
}

/// One outlined lesion, in pixels of the slice as given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesion {
    /// `lesion`, or `ground_glass` and `consolidation` where the model tells them apart.
    pub label: String,
    /// Probability.
    pub score: f32,
    /// `[x1, y1, x2, y2]`.
    #[serde(rename = "box")]
    pub bbox: BBox,
    /// Pixels of the mask.
    pub area_px: usize,
    /// Area, if the pixel spacing is known.
    pub area_mm2: Option<f64>,
    /// The mask, as pycocotools reads it.
    pub mask: Option<Rle>,
}

/// What was found on one slice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SliceReport {
    /// File name or path.
    pub source: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Millimetres between rows and between columns.
    pub spacing_mm: Option<[f64; 2]>,
    /// Class probabilities; `None` without a classifier.
    pub classes: Option<ClassProbabilities>,
    /// The logits behind them: control, common pneumonia, COVID-19.
    pub logits: Option<[f32; 3]>,
    /// The regions behind the class, strongest first; empty without a classifier.
    #[serde(default)]
    pub regions: Vec<RankedRegion>,
    /// Lesions by descending score; empty without a segmentation model.
    pub lesions: Vec<Lesion>,
    /// Time spent by stage, and in `total`.
    pub milliseconds: BTreeMap<String, f64>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileError {
    /// File name or path.
    pub source: String,
    /// What was wrong.
    pub message: String,
}

/// Everything one run found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`NOTICE`].
    pub notice: String,
    /// The weights.
    pub model: ModelsInfo,
    /// What computed.
    pub device: String,
    /// Slice by slice, series after series.
    pub slices: Vec<SliceReport>,
    /// The series with their sums.
    #[serde(default)]
    pub series: Vec<SeriesReport>,
    /// Files that could not be read.
    pub errors: Vec<FileError>,
}

impl Lesion {
    /// Number of the class in label maps and COCO files: 1 ground glass or any lesion, 2 consolidation.
    pub fn category(&self) -> u8 {
        if self.label == "consolidation" { 2 } else { 1 }
    }
}

impl SliceReport {
    /// The same with the lesions whose score is over `threshold`: what a prediction with that threshold
    /// would have said, as suppression only ever removes the weaker of two lesions.
    pub fn above(&self, threshold: f32) -> Self {
        let lesions = self.lesions.iter().filter(|lesion| lesion.score > threshold);
        Self { lesions: lesions.cloned().collect(), ..self.clone() }
    }

    /// The [category](Lesion::category) of every pixel, row-major, 0 outside all masks; where lesions
    /// overlap, the one with the highest score counts.
    pub fn label_map(&self) -> Vec<u8> {
        let mut labels = vec![0; self.width * self.height];
        // By descending score in the report: the strongest is written last.
        for lesion in self.lesions.iter().rev() {
            let mask = lesion.mask.as_ref().and_then(|rle| rle.decode().ok());
            let Some(mask) = mask else { continue };
            for (label, _) in labels.iter_mut().zip(&mask.pixels).filter(|(_, inside)| **inside) {
                *label = lesion.category();
            }
        }
        labels
    }
}

impl Report {
    /// An empty report.
    pub fn new(model: ModelsInfo, device: &str) -> Self {
        Self {
            schema: SCHEMA.into(),
            notice: NOTICE.into(),
            model,
            device: device.into(),
            slices: Vec::new(),
            series: Vec::new(),
            errors: Vec::new(),
        }
    }
}
