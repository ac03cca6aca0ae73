//! What leaves the program: pictures, masks, tables, a report to read. Nothing here knows where it goes.

pub mod coco;
pub mod csv;
pub mod dicom;
pub mod html;
pub mod label_map;
pub mod nifti;
pub mod overlay;

use serde::{Deserialize, Serialize};

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

    /// What a file is called that holds the export of `name`.
    pub fn file_name(self, name: &str) -> String {
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name).replace('#', "_");
        let stem = name.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or("slices");
        let ending = match self {
            Self::Json => "report.json",
            Self::Csv => "lesions.csv",
            Self::Coco => "coco.json",
            Self::MaskPng => "mask.png",
            Self::OverlayPng => "overlay.png",
            Self::NiftiMask => "mask.nii.gz",
            Self::DicomSeg => "seg.dcm",
            Self::DicomSr => "sr.dcm",
            Self::Html => "report.html",
        };
        format!("{stem}_{ending}")
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
    fn an_export_is_called_after_what_it_shows() {
        assert_eq!(Format::Csv.file_name("a/b/scan.nii.gz#12"), "scan_lesions.csv");
        assert_eq!(Format::MaskPng.file_name(""), "slices_mask.png");
    }
}
