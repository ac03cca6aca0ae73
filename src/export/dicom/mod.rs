//! DICOM objects that refer to the slices they were made from.

mod elements;
pub mod segmentation;

/// Whether a DICOM object names the patient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Identity {
    /// Patient and study are left blank; only the identifiers (UIDs) that tie it to its source stay.
    #[default]
    Removed,
    /// Patient and study are copied from the source.
    Kept,
}
