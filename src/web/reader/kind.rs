//! The two readers: one for pictures, which is small, and one for every format.

use web_time::SystemTime;

use crate::export::dicom::Identity;
use crate::export::dicom::segmentation::segmentation;
use crate::image::decode::{AllFormats, Formats, PicturesOnly};
use crate::image::examination::{FileBytes, SeriesSlice};
use crate::predict::SliceReport;
use crate::predict::report::ModelsInfo;

/// What a reader links beyond what all of them need.
pub trait Kind: Formats + 'static {
    /// A DICOM segmentation of slices.
    ///
    /// # Errors
    /// In words, if they are no DICOM slices.
    fn segmentation<F: FileBytes>(
        slices: &[(&SliceReport, &SeriesSlice<F>)],
        models: &ModelsInfo,
        identity: Identity,
    ) -> Result<Vec<u8>, String>;
}

impl Kind for AllFormats {
    fn segmentation<F: FileBytes>(
        slices: &[(&SliceReport, &SeriesSlice<F>)],
        models: &ModelsInfo,
        identity: Identity,
    ) -> Result<Vec<u8>, String> {
        let mut with_sources = Vec::with_capacity(slices.len());
        for (slice, place) in slices {
            with_sources.push((*slice, place.dicom_source().map_err(|error| error.to_string())?));
        }
        segmentation(&with_sources, models, identity, SystemTime::now())
    }
}

impl Kind for PicturesOnly {
    fn segmentation<F: FileBytes>(
        _: &[(&SliceReport, &SeriesSlice<F>)],
        _: &ModelsInfo,
        _: Identity,
    ) -> Result<Vec<u8>, String> {
        Err("a picture has nothing that a DICOM segmentation could refer to".into())
    }
}
