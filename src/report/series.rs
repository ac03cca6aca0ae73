//! What the slices of a series say together.

use serde::{Deserialize, Serialize};

use crate::image::Warning;
use crate::report::joined_lesions::{JoinedLesion, join};
use crate::report::lung_volume::LungsSeries;
use crate::report::probabilities::ClassProbabilities;
use crate::report::slice::SliceReport;

/// A series and its sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesReport {
    /// What it is called.
    pub name: String,
    /// Place of its first slice among the report's slices.
    pub first_slice: usize,
    /// Number of its slices.
    pub slices: usize,
    /// Slices with at least one lesion.
    pub slices_with_lesions: usize,
    /// Millimetres between neighbours, if they lie evenly.
    pub distance_mm: Option<f64>,
    /// Volume under all masks in millilitres: their area times the distance. `None` without spacing.
    pub lesion_volume_ml: Option<f64>,
    /// Lesions through neighbouring slices, the largest first; empty where slices are missing or lie unevenly.
    #[serde(default)]
    pub joined_lesions: Vec<JoinedLesion>,
    /// The lungs; `None` without spacing, or where none were found.
    #[serde(default)]
    pub lungs: Option<LungsSeries>,
    /// Mean of the class probabilities of the slices that have some.
    pub mean_classes: Option<ClassProbabilities>,
    /// How many these are.
    #[serde(default)]
    pub slices_with_classes: usize,
    /// What the user should know, in words.
    pub warnings: Vec<String>,
    /// The same for programs.
    #[serde(default)]
    pub warning_codes: Vec<Warning>,
}

impl SeriesReport {
    /// Sums up `slices`, of which the first is number `first_slice` of the report.
    pub fn new(
        name: String,
        first_slice: usize,
        slices: &[SliceReport],
        distance_mm: Option<f64>,
        warnings: Vec<Warning>,
    ) -> Self {
        Self {
            name,
            first_slice,
            slices: slices.len(),
            slices_with_lesions: slices.iter().filter(|slice| !slice.lesions.is_empty()).count(),
            distance_mm,
            lesion_volume_ml: distance_mm.and_then(|distance| volume_ml(slices, distance)),
            joined_lesions: distance_mm.map(|distance| join(slices, distance)).unwrap_or_default(),
            lungs: distance_mm.and_then(|distance| LungsSeries::new(slices, distance)),
            mean_classes: mean_classes(slices),
            slices_with_classes: slices.iter().filter(|slice| slice.classes.is_some()).count(),
            warnings: Warning::sentences(&warnings),
            warning_codes: warnings,
        }
    }

    /// Places of its slices in the report.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.first_slice..self.first_slice + self.slices
    }

    /// The sum in words, saying how it was formed.
    pub fn summary(&self) -> String {
        let mut words =
            format!("{} of {} slices have lesions.", self.slices_with_lesions, self.slices);
        if let Some(volume) = self.lesion_volume_ml {
            words += &format!(
                " Lesion volume {volume:.1} ml: mask area times slice spacing, {:.2} mm.",
                self.distance_mm.unwrap_or_default()
            );
        }
        match self.joined_lesions.len() {
            0 => {}
            1 => words += " Joined through neighbouring slices they are 1 lesion.",
            count => {
                words += &format!(" Joined through neighbouring slices they are {count} lesions.");
            }
        }
        if let Some(lungs) = &self.lungs {
            words += " ";
            words += &lungs.summary();
        }
        if let Some(classes) = &self.mean_classes {
            words += &format!(
                " Mean over the {} slices with a class: {classes}. The classifier looks at single slices; the mean is not a diagnosis of the study.",
                self.slices_with_classes
            );
        }
        words
    }
}

fn volume_ml(slices: &[SliceReport], distance_mm: f64) -> Option<f64> {
    let of_slice = |slice: &SliceReport| {
        let [row, column] = slice.spacing_mm?;
        let inside = slice.label_map().iter().filter(|label| **label > 0).count();
        Some(inside as f64 * row * column * distance_mm)
    };
    let cubic_mm: Option<f64> = slices.iter().map(of_slice).sum();
    cubic_mm.map(|volume| volume / 1000.0)
}

fn mean_classes(slices: &[SliceReport]) -> Option<ClassProbabilities> {
    let classes: Vec<ClassProbabilities> =
        slices.iter().filter_map(|slice| slice.classes).collect();
    if classes.is_empty() {
        return None;
    }
    let mean = |class: usize| {
        classes.iter().map(|c| c.values()[class]).sum::<f32>() / classes.len() as f32
    };
    Some(ClassProbabilities::new(std::array::from_fn(mean)))
}
