//! A slice of a series, and the file it is decoded from.

use std::borrow::Cow;
use std::sync::Arc;

use crate::image::ImageError;
use crate::image::decode::dicom_source::DicomSource;
use crate::image::decode::nifti::NiftiSlices;
use crate::image::decode::panic_guard::catch_panic;
use crate::image::decode::{AllFormats, DicomFile, Formats, HeaderElement};
use crate::image::slice::{RawSlice, SliceHeader};

/// The bytes of a file, wherever they are kept.
pub trait FileBytes {
    /// Formats that it may have.
    type Formats: Formats;

    /// Reads them all.
    ///
    /// # Errors
    /// If the file is gone or cannot be read.
    fn bytes(&self) -> Result<Cow<'_, [u8]>, ImageError>;
}

impl FileBytes for Vec<u8> {
    type Formats = AllFormats;

    fn bytes(&self) -> Result<Cow<'_, [u8]>, ImageError> {
        Ok(Cow::Borrowed(self))
    }
}

/// Where a slice comes from.
#[derive(Debug)]
pub(super) enum Source<F> {
    /// A file as it was given, read anew for every slice.
    File(Arc<F>),
    /// A file out of an archive.
    Unpacked(Arc<Vec<u8>>),
    /// A DICOM file of several frames.
    Frames(Arc<DicomFile>),
    /// A volume.
    Volume(Arc<NiftiSlices>),
}

impl<F> Clone for Source<F> {
    fn clone(&self) -> Self {
        match self {
            Self::File(file) => Self::File(file.clone()),
            Self::Unpacked(bytes) => Self::Unpacked(bytes.clone()),
            Self::Frames(file) => Self::Frames(file.clone()),
            Self::Volume(volume) => Self::Volume(volume.clone()),
        }
    }
}

/// A slice of a series.
#[derive(Clone, Debug)]
pub struct SeriesSlice<F> {
    /// File name or path, with the frame's number where a file has several.
    pub name: String,
    /// What its file says of it.
    pub header: SliceHeader,
    /// CRC-32 of its file: with the name and the frame it tells whether this is still the same slice.
    pub checksum: u32,
    pub(super) source: Source<F>,
}

impl<F: FileBytes> SeriesSlice<F> {
    /// Decodes it.
    ///
    /// # Errors
    /// If the file is gone, damaged, or not the one any more that was opened.
    pub fn read(&self) -> Result<RawSlice, ImageError> {
        let frame = self.header.frame;
        catch_panic(
            || match &self.source {
                Source::Volume(volume) => F::Formats::read_volume(volume, frame),
                Source::Frames(file) => F::Formats::read_frame(file, frame),
                Source::Unpacked(bytes) => F::Formats::decode(bytes, frame),
                Source::File(file) => F::Formats::decode(&self.same_bytes(file)?, frame),
            },
            ImageError::broken,
        )
    }

    /// What DICOM objects refer to it by.
    ///
    /// # Errors
    /// If it comes from another format, or the file is gone, damaged, without identifiers, or not the one any
    /// more that was opened.
    pub fn dicom_source(&self) -> Result<DicomSource, ImageError> {
        let frame = self.header.frame;
        catch_panic(
            || match &self.source {
                Source::Volume(_) => Err(ImageError::NotDicom),
                Source::Frames(file) => F::Formats::frame_source(file, frame),
                Source::Unpacked(bytes) => F::Formats::dicom_source(bytes, frame),
                Source::File(file) => F::Formats::dicom_source(&self.same_bytes(file)?, frame),
            },
            ImageError::broken,
        )
    }

    /// All elements of its file's header.
    ///
    /// # Errors
    /// If it comes from another format, or the file is gone, damaged, or not the one any more that was opened.
    pub fn header_elements(&self) -> Result<Vec<HeaderElement>, ImageError> {
        catch_panic(
            || match &self.source {
                Source::Volume(_) => Err(ImageError::NotDicom),
                Source::Frames(file) => F::Formats::frame_header(file),
                Source::Unpacked(bytes) => F::Formats::dicom_header(bytes),
                Source::File(file) => F::Formats::dicom_header(&self.same_bytes(file)?),
            },
            ImageError::broken,
        )
    }

    /// The bytes of its file, if they are those that were opened.
    fn same_bytes<'a>(&self, file: &'a F) -> Result<Cow<'a, [u8]>, ImageError> {
        let bytes = file.bytes()?;
        if crc32fast::hash(&bytes) == self.checksum {
            return Ok(bytes);
        }
        Err(ImageError::Unreadable { reason: "it has changed since it was opened".into() })
    }
}
