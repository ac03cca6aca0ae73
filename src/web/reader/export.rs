//! Files for the visitor to save, written where the slices can be read.

use super::files::BrowserFile;
use super::kind::Kind;
use crate::export::dicom::Identity;
use crate::export::{Format, coco, csv, html, label_map, nifti, overlay};
use crate::image::examination::SeriesSlice;
use crate::predict::SliceReport;
use crate::predict::report::Report;

/// Writes `report`, whose slices come from `places`, as a file. `identity` decides on patient and study in
/// DICOM objects, `card` goes into the report to read. Errors are in words.
pub fn write<K: Kind>(
    format: Format,
    report: &Report,
    places: &[&SeriesSlice<BrowserFile<K>>],
    identity: Identity,
    card: Option<&str>,
) -> Result<Vec<u8>, String> {
    if report.slices.is_empty() || places.len() != report.slices.len() {
        return Err("there is nothing to export yet; run a slice first".into());
    }
    match format {
        Format::Json => serde_json::to_vec_pretty(report).map_err(|error| error.to_string()),
        Format::Csv => csv::csv(report).map(String::into_bytes).map_err(|e| e.to_string()),
        Format::Coco => {
            serde_json::to_vec_pretty(&coco::coco(report)).map_err(|error| error.to_string())
        }
        Format::MaskPng => label_map::png(&report.slices[0]).map_err(|error| error.to_string()),
        Format::OverlayPng => picture(places[0], &report.slices[0]),
        Format::NiftiMask => {
            let slices: Vec<&SliceReport> = report.slices.iter().collect();
            let distance = report.series.first().and_then(|series| series.distance_mm);
            nifti::mask_volume(&slices, places[0].header.plane, distance)
        }
        Format::DicomSeg | Format::DicomSr => {
            let slices: Vec<_> = report.slices.iter().zip(places.iter().copied()).collect();
            K::dicom(format, &slices, &report.model, identity)
        }
        Format::Html => {
            let mut failed = None;
            let draw = |index: usize| {
                let drawn = picture(places[index], &report.slices[index]);
                drawn.map_err(|error| failed = Some(error)).ok()
            };
            let page = html::html(report, draw, card).into_bytes();
            failed.map_or(Ok(page), |error| Err(format!("the report's pictures: {error}")))
        }
    }
}

fn picture<K: Kind>(
    place: &SeriesSlice<BrowserFile<K>>,
    report: &SliceReport,
) -> Result<Vec<u8>, String> {
    let slice = place.read().map_err(|error| error.to_string())?.windowed(&place.name, None);
    overlay::png(&slice, report).map_err(|error| error.to_string())
}
