//! Which formats a program reads. A program of the page links only what it reads, so that a user with a
//! picture does not download DICOM.

use crate::image::decode::HeaderElement;
use crate::image::decode::dicom_source::DicomSource;
use crate::image::decode::nifti::NiftiSlices;
use crate::image::decode::{
    Budget, DicomFile, ImageError, Opened, RawSlice, SliceHeader, archive, dicom, nifti, raster,
};

/// A set of formats.
pub trait Formats {
    /// Whether nothing is ever left to another set.
    const TAKES_ALL: bool;

    /// Whether a file that begins with `head` is left to this set, even if only to refuse it by name.
    fn takes(head: &[u8]) -> bool;

    /// Opens a file. The format is told by the content, not the name. What stays in memory, unpacked, is
    /// taken from `budget`.
    ///
    /// # Errors
    /// If the bytes are of no format of the set, are damaged, hold pictures of unfit size, or exceed the
    /// budget.
    fn open(bytes: &[u8], budget: &mut Budget) -> Result<Opened, ImageError>;

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

    /// A frame of an opened file.
    ///
    /// # Errors
    /// If there is no such frame, or it is damaged.
    fn read_frame(file: &DicomFile, frame: usize) -> Result<RawSlice, ImageError>;

    /// What a frame of an opened file can be referred to by.
    ///
    /// # Errors
    /// If the file has no identifiers.
    fn frame_source(file: &DicomFile, frame: usize) -> Result<DicomSource, ImageError>;

    /// What frame `frame` of a DICOM file can be referred to by.
    ///
    /// # Errors
    /// If it is no DICOM file, is damaged, or has no identifiers.
    fn dicom_source(bytes: &[u8], frame: usize) -> Result<DicomSource, ImageError>;

    /// All elements of an opened file.
    ///
    /// # Errors
    /// If these formats have none.
    fn frame_header(file: &DicomFile) -> Result<Vec<HeaderElement>, ImageError>;

    /// All elements of a DICOM file.
    ///
    /// # Errors
    /// If it is no DICOM file or is damaged.
    fn dicom_header(bytes: &[u8]) -> Result<Vec<HeaderElement>, ImageError>;
}

/// PNG, JPEG, DICOM, NIfTI and zip archives of them.
#[derive(Clone, Copy, Debug)]
pub struct AllFormats;

/// PNG and JPEG.
#[derive(Clone, Copy, Debug)]
pub struct RasterOnly;

impl Formats for AllFormats {
    const TAKES_ALL: bool = true;

    fn takes(_: &[u8]) -> bool {
        true
    }

    fn open(bytes: &[u8], budget: &mut Budget) -> Result<Opened, ImageError> {
        if dicom::is_dicom(bytes) {
            let file = DicomFile::open(bytes)?;
            let headers = file.headers();
            // Parsed once for all its frames, if there is room.
            let is_kept = headers.len() > 1 && budget.take(file.size()).is_ok();
            return Ok(match is_kept {
                true => Opened::Frames(Box::new(file)),
                false => Opened::Slices(headers),
            });
        }
        if archive::is_zip(bytes) {
            return Ok(Opened::Archive(archive::unpack(bytes, budget)?));
        }
        if nifti::is_second_version(bytes) {
            let what = "NIfTI-2; convert it to NIfTI-1".into();
            return Err(ImageError::Unsupported { format: "NIfTI", what });
        }
        if nifti::is_nifti(bytes) {
            return Ok(Opened::Volume(Box::new(nifti::open(bytes, budget)?)));
        }
        RasterOnly::open(bytes, budget)
    }

    fn decode(bytes: &[u8], frame: usize) -> Result<RawSlice, ImageError> {
        if dicom::is_dicom(bytes) {
            return DicomFile::open(bytes)?.read(frame);
        }
        RasterOnly::decode(bytes, frame)
    }

    fn read_volume(volume: &NiftiSlices, slice: usize) -> Result<RawSlice, ImageError> {
        volume.read(slice)
    }

    fn read_frame(file: &DicomFile, frame: usize) -> Result<RawSlice, ImageError> {
        file.read(frame)
    }

    fn frame_source(file: &DicomFile, frame: usize) -> Result<DicomSource, ImageError> {
        file.source(frame)
    }

    fn dicom_source(bytes: &[u8], frame: usize) -> Result<DicomSource, ImageError> {
        if !dicom::is_dicom(bytes) {
            return Err(ImageError::NotDicom);
        }
        DicomFile::open(bytes)?.source(frame)
    }

    fn frame_header(file: &DicomFile) -> Result<Vec<HeaderElement>, ImageError> {
        Ok(file.header())
    }

    fn dicom_header(bytes: &[u8]) -> Result<Vec<HeaderElement>, ImageError> {
        if !dicom::is_dicom(bytes) {
            return Err(ImageError::NotDicom);
        }
        Ok(DicomFile::open(bytes)?.header())
    }
}

impl Formats for RasterOnly {
    const TAKES_ALL: bool = false;

    fn takes(head: &[u8]) -> bool {
        head.is_empty() || raster::is_picture(head)
    }

    fn open(bytes: &[u8], _: &mut Budget) -> Result<Opened, ImageError> {
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

    fn read_frame(_: &DicomFile, _: usize) -> Result<RawSlice, ImageError> {
        Err(ImageError::UnknownFormat)
    }

    fn frame_source(_: &DicomFile, _: usize) -> Result<DicomSource, ImageError> {
        Err(ImageError::NotDicom)
    }

    fn dicom_source(_: &[u8], _: usize) -> Result<DicomSource, ImageError> {
        Err(ImageError::NotDicom)
    }

    fn frame_header(_: &DicomFile) -> Result<Vec<HeaderElement>, ImageError> {
        Err(ImageError::NotDicom)
    }

    fn dicom_header(_: &[u8]) -> Result<Vec<HeaderElement>, ImageError> {
        Err(ImageError::NotDicom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_told_by_their_first_bytes_and_the_rest_is_left_to_others() {
        let head = |bytes: &[u8]| RasterOnly::takes(bytes);
        assert!(
            head(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") && head(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01")
        );
        assert!(head(b""), "an empty file is refused without another program");
        assert!(!head(b"PK\x03\x04") && !head(&[0; 16]) && !head(b"hello"));
    }
}
