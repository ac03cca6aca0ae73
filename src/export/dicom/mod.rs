//! DICOM objects that refer to the slices they were made from.

mod codes;
mod colour;
mod content;
mod context;
mod elements;
pub mod segmentation;
pub mod structured_report;

use web_time::SystemTime;

use self::elements::uid;
use crate::export::{ExportError, Format};
use crate::image::decode::dicom_source::DicomSource;
use crate::report::{ModelsInfo, SliceReport};

/// An object about the slices of a series, each with its source: a structured report, or else a segmentation.
///
/// # Errors
/// If the slices do not go into one object, or there is nothing to segment.
pub fn write(
    format: Format,
    slices: &[(&SliceReport, DicomSource)],
    models: &ModelsInfo,
    identity: Identity,
) -> Result<Vec<u8>, ExportError> {
    let now = SystemTime::now();
    match format {
        Format::DicomSr => structured_report::structured_report(slices, models, identity, now),
        _ => segmentation::segmentation(slices, models, identity, now),
    }
}

/// Whether a DICOM object names the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Identity {
    /// Patient and study are left blank.
    Deidentified(Uids),
    /// Patient and study are copied from the source.
    Retained,
}

impl Default for Identity {
    fn default() -> Self {
        Self::Deidentified(Uids::Kept)
    }
}

/// The identifiers of study, series, instances and coordinates in an object without a patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Uids {
    /// Those of the source, which tie the object to it.
    Kept,
    /// Others, always the same for the same source.
    Remapped,
}

/// The sources as an object may refer to them: what is no valid identifier (PS3.5 9.1) is replaced by one that
/// is made from it, and all are on request.
fn referable<'a>(
    slices: &[(&'a SliceReport, DicomSource)],
    identity: Identity,
) -> Result<Vec<(&'a SliceReport, DicomSource)>, ExportError> {
    let keeps = identity != Identity::Deidentified(Uids::Remapped);
    let mapped = |value: &String| match keeps && is_uid(value) {
        true => value.clone(),
        false => uid(&["remapped", value]),
    };
    let referable = slices.iter().map(|(slice, source)| {
        if !is_uid(&source.class) {
            return Err(ExportError::Source(format!("its SOP class `{}` is no UID", source.class)));
        }
        let source = DicomSource {
            instance: mapped(&source.instance),
            study: mapped(&source.study),
            series: mapped(&source.series),
            frame_of_reference: source.frame_of_reference.as_ref().map(mapped),
            ..source.clone()
        };
        Ok((*slice, source))
    });
    referable.collect()
}

/// Whether `value` is a UID: numbers without leading zeros between dots, 64 characters at most.
fn is_uid(value: &str) -> bool {
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    value.len() <= 64 && value.contains('.') && value.split('.').all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_numbers_between_dots() {
        assert!(is_uid("1.2.840.10008.5.1.4.1.1.2") && is_uid("2.25.0"));
        let long = format!("1.{}", "2".repeat(63));
        for wrong in
            ["", "1", "1.", "1..2", "1.02", "DOE^JOHN-1970.1", "../../../etc/x\\1.2", &long]
        {
            assert!(!is_uid(wrong), "{wrong}");
        }
    }
}
