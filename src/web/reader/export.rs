//! Files for the visitor to save, written where the slices can be read.

use crate::export::dicom::Identity;
use crate::export::{ExportError, Format, coco, csv, html, label_map, nifti, overlay};
use crate::image::examination::SeriesSlice;
use crate::report::{Report, SliceReport};
use crate::web::protocol::Beside;
use crate::web::protocol::reader::Event;
use crate::web::reader::files::BrowserFile;
use crate::web::reader::kind::Kind;
use crate::web::scope;

/// Writes `report`, whose slices come from `places`, as a file. `identity` decides on patient and study in
/// DICOM objects, `card` goes into the report to read.
///
/// # Errors
/// If a slice is gone or another than the report speaks of, or the format does not take the slices.
pub fn write<K: Kind>(
    format: Format,
    report: &Report,
    places: &[&SeriesSlice<BrowserFile<K>>],
    identity: Identity,
    card: Option<&str>,
) -> Result<Vec<u8>, ExportError> {
    let encoding = |error: &dyn std::error::Error| ExportError::Encoding(error.to_string());
    if report.slices.is_empty() {
        return Err(ExportError::Empty);
    }
    // What is found needs no file; what shows or refers to a slice needs the very one.
    match format {
        Format::Json => return serde_json::to_vec_pretty(report).map_err(|e| encoding(&e)),
        Format::Csv => return csv::csv(report).map(String::into_bytes).map_err(|e| encoding(&e)),
        Format::Coco => {
            return serde_json::to_vec_pretty(&coco::coco(report)).map_err(|e| encoding(&e));
        }
        Format::MaskPng => return label_map::png(&report.slices[0]).map_err(|e| encoding(&e)),
        _ => {}
    }
    let is_same = |(slice, place): (&SliceReport, &&SeriesSlice<BrowserFile<K>>)| {
        slice.source == place.name
            && (slice.width, slice.height) == (place.header.width, place.header.height)
    };
    if places.len() != report.slices.len() || !report.slices.iter().zip(places).all(is_same) {
        return Err(ExportError::Slices(
            "the files are not those any more that the findings belong to; open them again".into(),
        ));
    }
    match format {
        Format::OverlayPng => picture(places[0], &report.slices[0]),
        Format::NiftiMask => {
            let slices: Vec<&SliceReport> = report.slices.iter().collect();
            let distance = report.series.first().and_then(|series| series.distance_mm);
            nifti::mask_volume(&slices, places[0].header.plane, distance)
                .map_err(ExportError::Slices)
        }
        Format::DicomSeg | Format::DicomSr => {
            let slices: Vec<_> = report.slices.iter().zip(places.iter().copied()).collect();
            K::dicom(format, &slices, &report.model, identity)
        }
        Format::Html => {
            let mut failed = None;
            let draw = |index: usize| {
                // Hundreds of pictures take their time.
                scope::post(&Event::Busy, Beside::Nothing);
                let drawn = picture(places[index], &report.slices[index]);
                drawn.map_err(|error| failed = Some(error)).ok()
            };
            let page = html::html(report, draw, card).into_bytes();
            failed.map_or(Ok(page), Err)
        }
        _ => Err(ExportError::Empty),
    }
}

fn picture<K: Kind>(
    place: &SeriesSlice<BrowserFile<K>>,
    report: &SliceReport,
) -> Result<Vec<u8>, ExportError> {
    let slice = place.read()?.windowed(&place.name, None);
    overlay::png(&slice, report).map_err(|error| ExportError::Encoding(error.to_string()))
}
