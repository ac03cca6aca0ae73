//! What was found on a slice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::classes::{LesionKind, SliceClass};
use crate::detection::mask::connected_components::bounding_box;
use crate::detection::mask::rle::Rle;
use crate::detection::{BBox, Mask};
use crate::image::{CtSlice, Refusal, Warning};
use crate::report::lungs::{LungSlice, LungsSlice};
use crate::report::measurements::Measurement;
use crate::report::probabilities::ClassProbabilities;
use crate::report::regions::RankedRegion;
use crate::report::verdict::{Measured, Verdict};

/// One outlined lesion, in pixels of the slice as given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lesion {
    /// `lesion`, or `ground_glass` and `consolidation` where the model tells them apart.
    pub label: LesionKind,
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
    /// Where it comes from; left out in JSON if the model found it and no reader changed it.
    #[serde(default, skip_serializing_if = "Origin::is_model")]
    pub origin: Origin,
}

impl Lesion {
    /// One that a reader draws: its score is 1.
    pub fn drawn(label: LesionKind) -> Self {
        let (bbox, mask, origin) = (BBox::default(), None, Origin::Reader);
        Self { label, score: 1.0, bbox, area_px: 0, area_mm2: None, mask, origin }
    }

    /// The same with another mask and the box around it; `None` if nothing is in the mask. Pixels are as far apart as
    /// `spacing_mm` says, between rows and between columns.
    pub fn with_mask(&self, mask: &Mask, spacing_mm: Option<[f64; 2]>) -> Option<Self> {
        let (bbox, area_px) = (bounding_box(mask)?, mask.area());
        let area_mm2 = spacing_mm.map(|[row, column]| area_px as f64 * row * column);
        let mask = Some(Rle::encode(mask));
        Some(Self { bbox, area_px, area_mm2, mask, ..self.clone() })
    }

    /// Whether it can lie on the slice of `report`: its mask has the slice's size, and the area that is said. What comes
    /// from a file need not.
    pub fn fits(&self, report: &SliceReport) -> bool {
        let pixels = report.width.saturating_mul(report.height);
        let is_mask = |mask: &Rle| {
            mask.size == [report.height, report.width]
                && mask.decode().is_ok_and(|mask| mask.area() == self.area_px)
        };
        (0.0..=1.0).contains(&self.score)
            && self.area_px <= pixels
            && self.mask.as_ref().is_none_or(is_mask)
    }
}

/// Where a lesion of a report comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The model found it.
    #[default]
    Model,
    /// The model found it, and a reader changed its outline or its kind.
    Edited,
    /// A reader drew it.
    Reader,
}

impl Origin {
    /// Whether no reader changed it.
    pub fn is_model(&self) -> bool {
        *self == Self::Model
    }

    /// Its name in JSON and CSV.
    pub fn key(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Edited => "edited",
            Self::Reader => "reader",
        }
    }

    /// In words; `None` if no reader changed it.
    pub fn summary(self) -> Option<&'static str> {
        match self {
            Self::Model => None,
            Self::Edited => Some("edited by a reader"),
            Self::Reader => Some("drawn by a reader"),
        }
    }
}

/// A class that a reader gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderClass {
    /// The class.
    pub class: SliceClass,
    /// Why, in the reader's words.
    pub note: String,
}

/// How a corrected report differs from the model's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Corrections {
    /// The lesions that the model found.
    pub model_lesions: Vec<Lesion>,
    /// How many of them were rejected.
    pub rejected: usize,
    /// The class that the reader gave.
    pub class: Option<ReaderClass>,
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
    /// Millimetres towards the patient's head of its first pixel, if the file tells.
    #[serde(default)]
    pub position_mm: Option<f64>,
    /// Class probabilities; `None` without a classifier.
    pub classes: Option<ClassProbabilities>,
    /// What may be said; `None` without a classifier or probabilities.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// Why nothing is said of the slice, or no class given although there is a classifier, in words.
    #[serde(default)]
    pub refusal: Option<String>,
    /// The same for programs.
    #[serde(default)]
    pub refusal_reason: Option<Refusal>,
    /// Whether it was looked at although it is plainly no axial chest CT.
    #[serde(default)]
    pub forced: bool,
    /// The logits behind them: control, common pneumonia, COVID-19.
    pub logits: Option<[f32; 3]>,
    /// The regions behind the class, strongest first; empty without a classifier.
    #[serde(default)]
    pub regions: Vec<RankedRegion>,
    /// Lesions by descending score, after those that a reader drew or changed; empty without a segmentation model.
    pub lesions: Vec<Lesion>,
    /// Whether lesions were looked for.
    #[serde(default = "yes")]
    pub segmented: bool,
    /// The lungs, if lesions were looked for and there is something like lungs.
    #[serde(default)]
    pub lungs: Option<LungsSlice>,
    /// Time spent by stage, and in `total`.
    pub milliseconds: BTreeMap<String, f64>,
    /// What the user should know, in words.
    pub warnings: Vec<String>,
    /// The same for programs.
    #[serde(default)]
    pub warning_codes: Vec<Warning>,
    /// What a reader corrected; left out in JSON if nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrections: Option<Corrections>,
    /// What a reader measured; left out in JSON if nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
}

fn yes() -> bool {
    true
}

/// A verdict and lesions that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// Signs of pneumonia, and no lesion.
    SignsWithoutLesions,
    /// No signs of pneumonia, and lesions.
    LesionsWithoutSigns,
}

impl Contradiction {
    /// In words.
    pub fn summary(self) -> &'static str {
        match self {
            Self::SignsWithoutLesions => {
                "The classifier indicates pneumonia, but no lesion was found. At least one of the two is wrong."
            }
            Self::LesionsWithoutSigns => {
                "Lesions were found, but the classifier indicates no pneumonia. At least one of the two is wrong."
            }
        }
    }
}

impl Measured {
    /// In words.
    pub fn summary(&self) -> String {
        format!(
            "On patients held out from its training, a network of this kind was right on {:.0} % of the slices ({} slices of {} patients). Pneumonia or not: sensitivity {:.0} %, specificity {:.0} %. \u{201c}No pneumonia\u{201d} or a kind of pneumonia was given for {:.0} % of the slices; {:.0} % of these were right.",
            self.accuracy * 100.0,
            self.slices,
            self.patients,
            self.sensitivity * 100.0,
            self.specificity * 100.0,
            self.named * 100.0,
            self.named_accuracy * 100.0
        )
    }
}

impl SliceReport {
    /// The report on a slice of which nothing is said.
    pub fn refused(slice: &CtSlice, refusal: Refusal, milliseconds: BTreeMap<String, f64>) -> Self {
        Self {
            source: slice.source.clone(),
            width: slice.width,
            height: slice.height,
            spacing_mm: slice.spacing_mm,
            position_mm: slice.plane.map(|plane| plane.origin[2]),
            classes: None,
            verdict: None,
            refusal: Some(refusal.to_string()),
            refusal_reason: Some(refusal),
            forced: false,
            logits: None,
            regions: Vec::new(),
            lesions: Vec::new(),
            segmented: false,
            lungs: None,
            milliseconds,
            warnings: Warning::sentences(&slice.warnings),
            warning_codes: slice.warnings.clone(),
            corrections: None,
            measurements: Vec::new(),
        }
    }

    /// Whether its masks have the size of the slice, and its numbers are such as a slice can have. What comes from a file
    /// need not.
    pub fn is_sound(&self) -> bool {
        const MOST_REGIONS: usize = 10_000;
        let pixels = self.width.saturating_mul(self.height);
        let is_lung = |lung: &LungSlice| {
            lung.mask.size == [self.height, self.width]
                && lung.mask.decode().is_ok()
                && lung.area_px.max(lung.affected_px) <= pixels
        };
        self.lesions.iter().all(|lesion| lesion.fits(self))
            && self.lungs.iter().flat_map(LungsSlice::sides).all(is_lung)
            && self.regions.len() <= MOST_REGIONS
            && self.regions.iter().all(|region| region.slots <= MOST_REGIONS)
    }

    /// Whether verdict and lesions contradict each other. What a reader corrected is no longer the program's to judge.
    pub fn contradiction(&self) -> Option<Contradiction> {
        if self.corrections.is_some() {
            return None;
        }
        let signs = self.verdict.filter(|_| self.segmented)?.finding.signs()?;
        match (signs, self.lesions.is_empty()) {
            (true, true) => Some(Contradiction::SignsWithoutLesions),
            (false, false) => Some(Contradiction::LesionsWithoutSigns),
            _ => None,
        }
    }

    /// The verdict, or why there is none, in words; `None` without a classifier.
    pub fn verdict_summary(&self) -> Option<String> {
        if let Some(refusal) = &self.refusal {
            let what =
                if self.segmented { "no class is given" } else { "this slice was not analysed" };
            return Some(format!("{what}: {refusal}"));
        }
        let verdict = self.verdict?;
        let forced = if self.forced { "not designed for this kind of slice: " } else { "" };
        Some(format!(
            "{forced}{} (pneumonia {:.1} %)",
            verdict.finding.summary(),
            verdict.pneumonia * 100.0
        ))
    }

    /// The class that a reader gave.
    pub fn reader_class(&self) -> Option<&ReaderClass> {
        self.corrections.as_ref()?.class.as_ref()
    }

    /// Whether a reader changed, drew or rejected lesions, or only those of a kind.
    pub fn has_edited_lesions(&self, kind: Option<LesionKind>) -> bool {
        let is_meant = |lesion: &&Lesion| kind.is_none_or(|kind| lesion.label == kind);
        self.corrections.as_ref().is_some_and(|made| {
            let model = made.model_lesions.iter().filter(is_meant);
            !self.lesions.iter().filter(is_meant).eq(model)
        })
    }

    /// What a reader corrected, in words; `None` if nothing.
    pub fn corrections_summary(&self) -> Option<String> {
        let corrections = self.corrections.as_ref()?;
        let count = |origin| self.lesions.iter().filter(|lesion| lesion.origin == origin).count();
        let mut summary = format!(
            "Edited by a reader; lesions rejected: {}, changed: {}, drawn: {}",
            corrections.rejected,
            count(Origin::Edited),
            count(Origin::Reader)
        );
        if let Some(ReaderClass { class, note }) = &corrections.class {
            summary += &format!("; class given by the reader: {}", class.name());
            if !note.is_empty() {
                summary += &format!(" ({note})");
            }
        }
        Some(summary)
    }

    /// The same with the lesions whose score is over `threshold`: what a prediction with that threshold
    /// would have said, as suppression only ever removes the weaker of two lesions.
    pub fn with_threshold(&self, threshold: f32) -> Self {
        let lesions = self.lesions.iter().filter(|lesion| lesion.score > threshold);
        // Field by field: a clone would copy every mask, too.
        let mut above = Self {
            lesions: lesions.cloned().collect(),
            source: self.source.clone(),
            regions: self.regions.clone(),
            refusal: self.refusal.clone(),
            refusal_reason: self.refusal_reason.clone(),
            milliseconds: self.milliseconds.clone(),
            warnings: self.warnings.clone(),
            warning_codes: self.warning_codes.clone(),
            width: self.width,
            height: self.height,
            spacing_mm: self.spacing_mm,
            position_mm: self.position_mm,
            classes: self.classes,
            verdict: self.verdict,
            forced: self.forced,
            logits: self.logits,
            segmented: self.segmented,
            lungs: self.lungs.clone(),
            corrections: self.corrections.clone(),
            measurements: self.measurements.clone(),
        };
        if above.lesions.len() < self.lesions.len() {
            let labels = above.label_map();
            above.lungs = self.lungs.as_ref().map(|lungs| lungs.with_lesions(&labels));
        }
        above
    }

    /// The [category](LesionKind::category) of every pixel, row-major, 0 outside all masks; where lesions
    /// overlap, the first counts: the last that a reader drew, or else the one with the highest score.
    pub fn label_map(&self) -> Vec<u8> {
        let mut labels = vec![0; self.width * self.height];
        // The first of the report is written last.
        for lesion in self.lesions.iter().rev() {
            let mask = lesion.mask.as_ref().and_then(|rle| rle.decode().ok());
            let Some(mask) = mask else { continue };
            for (label, _) in labels.iter_mut().zip(&mask.pixels).filter(|(_, inside)| **inside) {
                *label = lesion.label.category();
            }
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::lungs::{Lungs, Midline};

    fn mask(columns: std::ops::Range<usize>) -> Mask {
        let pixels = (0..40).map(|place| columns.contains(&(place % 10))).collect();
        Mask { width: 10, height: 4, pixels }
    }

    fn lesion(score: f32, columns: std::ops::Range<usize>) -> Lesion {
        let mask = mask(columns);
        let bbox = BBox::new(0.0, 0.0, 10.0, 4.0);
        let (area_px, mask) = (mask.area(), Some(Rle::encode(&mask)));
        let (label, origin) = (LesionKind::Lesion, Origin::Model);
        Lesion { label, score, bbox, area_px, area_mm2: None, mask, origin }
    }

    fn slice() -> SliceReport {
        let slice = CtSlice::new("slice", (10, 4), Vec::new());
        let refused = SliceReport::refused(&slice, Refusal::NoLung, BTreeMap::new());
        let lesions = vec![lesion(0.9, 1..2), lesion(0.4, 2..3)];
        let report = SliceReport { lesions, ..refused };
        let midline = Midline { column: 5, right_first: true };
        let lungs = Lungs { right: mask(0..4), left: mask(6..9), midline };
        let labels = report.label_map();
        SliceReport { lungs: Some(LungsSlice::new(&lungs, &labels)), ..report }
    }

    #[test]
    fn a_higher_threshold_leaves_out_lesions_and_what_they_cover_of_the_lungs() {
        let all = slice();
        assert_eq!(all.lungs.as_ref().map(|lungs| lungs.right.affected_px), Some(8));
        assert_eq!(all.with_threshold(0.1), all);
        let strong = all.with_threshold(0.5);
        assert_eq!(strong.lesions, all.lesions[..1]);
        assert_eq!(strong.lungs.map(|lungs| lungs.right.affected_px), Some(4));
    }
}
