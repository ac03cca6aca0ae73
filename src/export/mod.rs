//! What leaves the program: pictures, masks, tables, a report to read. Nothing here knows where it goes.

pub mod coco;
pub mod csv;
pub mod dicom;
pub mod findings_file;
pub mod html;
pub mod label_map;
pub mod names;
pub mod nifti;
pub mod overlay;
pub mod session_file;
mod write;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::image::ImageError;

pub use write::{Options, Slices, needs_slices, write};

/// Why a file could not be written.
#[derive(Debug, Error)]
pub enum ExportError {
    /// No slice.
    #[error("there is no slice to export yet; run one first")]
    Empty,
    /// A segmentation without a segment.
    #[error("no lesion lies over the threshold, and a DICOM segmentation cannot be empty")]
    NoLesions,
    /// Slices that do not go into one object.
    #[error("{0}")]
    Slices(String),
    /// A source that nothing can refer to, or whose text cannot be copied.
    #[error("{0}")]
    Source(String),
    /// A slice that cannot be read again.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An encoder.
    #[error("{0}")]
    Encoding(String),
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// The report as JSON.
    Json,
    /// The lesions as a table.
    Csv,
    /// The lesions as COCO JSON.
    Coco,
    /// The masks of one slice.
    MaskPng,
    /// One slice with its lesions drawn on it.
    OverlayPng,
    /// The masks of a series.
    NiftiMask,
    /// The masks of a series as a DICOM segmentation.
    DicomSeg,
    /// What was found on a series as a DICOM structured report.
    DicomSr,
    /// A report to read.
    Html,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Html,
        Self::Csv,
        Self::Json,
        Self::Coco,
        Self::MaskPng,
        Self::OverlayPng,
        Self::NiftiMask,
        Self::DicomSeg,
        Self::DicomSr,
    ];

    /// All of them by purpose: for reading, for other programs, as masks.
    pub const BY_PURPOSE: [[Self; 3]; 3] = [
        [Self::Html, Self::OverlayPng, Self::DicomSr],
        [Self::Csv, Self::Json, Self::Coco],
        [Self::MaskPng, Self::NiftiMask, Self::DicomSeg],
    ];

    /// What a file is called that holds the export of the slice or series `name`.
    pub fn file_name(self, name: &str) -> String {
        format!("{}_{}", names::safe_stem(name), self.ending())
    }

    /// The end of such a name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Json => "report.json",
            Self::Csv => "lesions.csv",
            Self::Coco => "coco.json",
            Self::MaskPng => "mask.png",
            Self::OverlayPng => "overlay.png",
            Self::NiftiMask => "mask.nii.gz",
            Self::DicomSeg => "seg.dcm",
            Self::DicomSr => "sr.dcm",
            Self::Html => "report.html",
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::Coco => "application/json",
            Self::Csv => "text/csv",
            Self::MaskPng | Self::OverlayPng => "image/png",
            Self::NiftiMask => "application/gzip",
            Self::DicomSeg | Self::DicomSr => "application/dicom",
            Self::Html => "text/html",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_has_a_purpose() {
        let listed = Format::BY_PURPOSE.concat();
        assert_eq!(listed.len(), Format::ALL.len());
        assert!(Format::ALL.iter().all(|format| listed.contains(format)));
    }

    #[test]
    fn an_export_is_called_after_what_it_shows() {
        assert_eq!(Format::Csv.file_name("a/b/scan.nii.gz#12"), "scan_frame12_lesions.csv");
        assert_eq!(Format::MaskPng.file_name(""), "slices_mask.png");
    }
}
