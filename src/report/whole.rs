//! Everything that one run found.

use serde::{Deserialize, Serialize};

use crate::image::Warning;
use crate::report::series::SeriesReport;
use crate::report::slice::SliceReport;
use crate::report::verdict::Calibration;

/// Name and version of the JSON layout.
pub const SCHEMA: &str = "groundglass/report/1";
/// Stands in every report.
pub const NOTICE: &str = "Research use only. Not a medical device.";

/// The weights that were used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// Model or file name.
    pub name: String,
    /// SHA-256 of the weights' file, hexadecimal.
    pub sha256: String,
}

/// The networks used; either may be missing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelsInfo {
    /// Stage I.
    pub segmentation: Option<ModelInfo>,
    /// Stage II.
    pub classifier: Option<ModelInfo>,
    /// What the classifier's verdicts are worth.
    #[serde(default)]
    pub calibration: Option<Calibration>,
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

impl Report {
    /// Whether a reader corrected any slice.
    pub fn is_corrected(&self) -> bool {
        self.slices.iter().any(|slice| slice.corrections.is_some())
    }

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

    /// Adds what was found on slices of a series of `length`; returns its sum. With a slice missing, distances are
    /// not what they were.
    pub fn add_series(
        &mut self,
        name: String,
        found: Vec<SliceReport>,
        length: usize,
        distance_mm: Option<f64>,
        warnings: Vec<Warning>,
    ) -> &SeriesReport {
        let distance = distance_mm.filter(|_| found.len() == length);
        let series = SeriesReport::new(name, self.slices.len(), &found, distance, warnings);
        self.slices.extend(found);
        self.series.push(series);
        &self.series[self.series.len() - 1]
    }

    /// The same with one series alone; without any if it is not there.
    pub fn only_series(&self, index: usize) -> Self {
        let mut only = self.without_slices();
        if let Some(series) = self.series.get(index) {
            only.slices = self.slices[series.range()].to_vec();
            only.series = vec![SeriesReport { first_slice: 0, ..series.clone() }];
        }
        only
    }

    /// The same with one slice alone, outside of any series; without any if it is not there.
    pub fn only_slice(&self, index: usize) -> Self {
        let slices = self.slices.get(index).cloned().into_iter().collect();
        Self { slices, ..self.without_slices() }
    }

    fn without_slices(&self) -> Self {
        Self { errors: self.errors.clone(), ..Self::new(self.model.clone(), &self.device) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::SliceClass;
    use crate::image::Refusal;
    use crate::image::phantom::draw;

    fn slice(source: &str) -> SliceReport {
        let mut phantom = draw(SliceClass::Control, 1).slice;
        phantom.source = source.into();
        SliceReport::refused(&phantom, Refusal::NoLung, Default::default())
    }

    #[test]
    fn one_series_alone_keeps_its_slices_and_begins_at_the_first() {
        let mut report = Report::new(ModelsInfo::default(), "cpu");
        report.add_series("first".into(), vec![slice("a")], 1, None, Vec::new());
        report.add_series("second".into(), vec![slice("b"), slice("c")], 2, None, Vec::new());
        let second = report.only_series(1);
        assert_eq!((second.slices.len(), second.series.len()), (2, 1));
        assert_eq!((second.series[0].range(), &*second.slices[1].source), (0..2, "c"));
        assert!(report.only_series(7).slices.is_empty());
    }
}
