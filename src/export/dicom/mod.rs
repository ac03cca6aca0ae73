//! DICOM objects that refer to the slices they were made from.

mod codes;
mod content;
mod context;
mod elements;
pub mod segmentation;
pub mod structured_report;

use web_time::SystemTime;

use crate::image::decode::dicom_source::DicomSource;
use crate::predict::report::{ModelsInfo, SliceReport};

/// What writes an object about the slices of a series, each with its source. Errors are in words.
pub type Writer = fn(
    &[(&SliceReport, DicomSource)],
    &ModelsInfo,
    Identity,
    SystemTime,
) -> Result<Vec<u8>, String>;

/// Whether a DICOM object names the patient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Identity {
    /// Patient and study are left blank; only the identifiers (UIDs) that tie it to its source stay.
    #[default]
    Removed,
    /// Patient and study are copied from the source.
    Kept,
}
