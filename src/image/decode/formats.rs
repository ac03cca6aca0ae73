//! Which formats a program reads. A program of the page links only what it reads, so that a visitor with a
//! picture does not download DICOM.

use super::dicom_source::DicomSource;
use super::nifti::NiftiSlices;
use super::{
    ImageError, Opened, RawSlice, SliceHeader, archive, dicom, dicom_source, nifti, raster,
};

/// A set of formats.
pub trait Formats {
    /// Whether a file that begins with `head` is left to this set, be it to refuse it by name.
    fn takes(head: &[u8]) -> bool;

    /// Opens a file. The format is told by the content, not the name.
    ///
    /// # Errors
    /// If the bytes are of no format of the set, are damaged, or hold pictures of unfit size.
    fn open(bytes: &[u8]) -> Result<Opened, ImageError>;

    /// Decodes frame `frame` of a DICOM file, or a picture.
    ///
    /// # Errors
    /// As [`Self::open`], and if there is no such frame.
    fn decode(bytes: &[u8], frame: usize) -> Result<RawSlice, ImageError>;

    /// A slice of an opened volume.
    ///
    /// # Errors
    /// If there is no such slice.
    fn read_volume(volume: &NiftiSlices, slice: usize) -> Result<RawSlice, ImageError>;

    /// What frame `frame` of a DICOM file can be referred to by.
    ///
    /// # Errors
    /// If it is no DICOM file, is damaged, or has no identifiers.
    fn dicom_source(bytes: &[u8], frame: usize) -> Result<DicomSource, ImageError>;
}

/// PNG, JPEG, DICOM, NIfTI and zip archives of them.
#[derive(Clone, Copy, Debug)]
pub struct AllFormats;

/// PNG and JPEG.
#[derive(Clone, Copy, Debug)]
pub struct PicturesOnly;

impl Formats for AllFormats {
    fn takes(_: &[u8]) -> bool {
        true
    }

    fn open(bytes: &[u8]) -> Result<Opened, ImageError> {
        if dicom::is_dicom(bytes) {
            return Ok(Opened::Slices(dicom::headers(bytes)?));
        }
        if archive::is_zip(bytes) {
            return Ok(Opened::Archive(archive::unpack(bytes)?));
        }
        if nifti::is_nifti(bytes) {
            return Ok(Opened::Volume(Box::new(nifti::open(bytes)?)));
        }
        PicturesOnly::open(bytes)
    }

    fn decode(bytes: &[u8], frame: usize) -> Result<RawSlice, ImageError> {
        if dicom::is_dicom(bytes) {
            return dicom::decode(bytes, frame);
        }
        PicturesOnly::decode(bytes, frame)
    }

    fn read_volume(volume: &NiftiSlices, slice: usize) -> Result<RawSlice, ImageError> {
        volume.read(slice)
    }

    fn dicom_source(bytes: &[u8], frame: usize) -> Result<DicomSource, ImageError> {
        if !dicom::is_dicom(bytes) {
            return Err(ImageError::NotDicom);
        }
        dicom_source::source(bytes, frame)
    }
}

impl Formats for PicturesOnly {
    fn takes(head: &[u8]) -> bool {
        head.is_empty() || raster::is_picture(head)
    }

    fn open(bytes: &[u8]) -> Result<Opened, ImageError> {
        if bytes.is_empty() {
            return Err(ImageError::Empty);
        }
        let (width, height) = raster::size(bytes)?;
        Ok(Opened::Slices(vec![SliceHeader { width, height, ..SliceHeader::default() }]))
    }

    fn decode(bytes: &[u8], _frame: usize) -> Result<RawSlice, ImageError> {
        if bytes.is_empty() {
            return Err(ImageError::Empty);
        }
        raster::decode(bytes)
    }

    fn read_volume(_: &NiftiSlices, _: usize) -> Result<RawSlice, ImageError> {
        Err(ImageError::UnknownFormat)
    }

    fn dicom_source(_: &[u8], _: usize) -> Result<DicomSource, ImageError> {
        Err(ImageError::NotDicom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_by_their_first_bytes_and_the_rest_is_left_to_others() {
        let head = |bytes: &[u8]| PicturesOnly::takes(bytes);
        assert!(
            head(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") && head(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01")
        );
        assert!(head(b""), "an empty file is refused without another program");
        assert!(!head(b"PK\x03\x04") && !head(&[0; 16]) && !head(b"hello"));
    }
}
