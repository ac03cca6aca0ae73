//! Reads PNG, JPEG, DICOM, NIfTI and zip archives of them, natively and in the browser.

pub mod archive;
mod dicom;
mod dicom_lengths;
pub mod dicom_source;
mod formats;
pub mod nifti;
mod raster;

use thiserror::Error;

pub use self::formats::{AllFormats, Formats, PicturesOnly};
use self::nifti::NiftiSlices;
pub use self::raster::from_rgba;
use super::slice::{RawSlice, SliceHeader, Values};
use super::{CtSlice, Window};

/// Longest side accepted; CT slices have 512, sometimes 1024 pixels.
pub const MAX_SIDE: usize = 4096;
/// Shortest side accepted: the coarsest network has a stride of 32 px.
pub const MIN_SIDE: usize = 32;

/// Why a file is not a slice. The message does not name the file: the caller does.
#[derive(Debug, Error)]
pub enum ImageError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// None of the formats read here.
    #[error("this is not a PNG, JPEG, DICOM, NIfTI or zip file")]
    UnknownFormat,
    /// A file that its decoder refuses.
    #[error("the {format} data is damaged or cut off: {reason}")]
    Damaged {
        /// Which decoder.
        format: &'static str,
        /// What it said.
        reason: String,
    },
    /// A picture too large or too small.
    #[error(
        "the picture has {width} x {height} pixels; slices from {MIN_SIDE} to {MAX_SIDE} pixels a side are read"
    )]
    Size {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
    },
    /// Compressed data that would fill the memory.
    #[error("unpacked it has more than {} MB, which is more than is read", limit >> 20)]
    TooLarge {
        /// Most bytes accepted.
        limit: u64,
    },
    /// An archive in an archive.
    #[error("this is an archive within an archive, which is not read; unpack it first")]
    Nested,
    /// Many slices where one was expected.
    #[error("this holds {slices} slices; one was expected here")]
    ManySlices {
        /// How many.
        slices: usize,
    },
    /// A file that cannot be read again.
    #[error("the file can no longer be read: {reason}")]
    Gone {
        /// Why.
        reason: String,
    },
    /// A slice that no DICOM object can refer to.
    #[error("this is not a DICOM file")]
    NotDicom,
    /// A DICOM file without a picture.
    #[error(
        "the DICOM file holds no pixel data; it may be a report, a directory or a structure set"
    )]
    NoPixelData,
    /// A DICOM encoding not decoded here.
    #[error(
        "the DICOM transfer syntax {uid} is not supported; read are uncompressed little endian, RLE, JPEG baseline and lossless, and JPEG 2000"
    )]
    TransferSyntax {
        /// Its identifier, with a name where one is known.
        uid: String,
    },
    /// A picture or volume that is no CT.
    #[error("this is not a grey-value slice: {reason}")]
    NotGrey {
        /// What it is.
        reason: String,
    },
}

/// A file as far as it must be read to know its slices.
#[derive(Debug)]
pub enum Opened {
    /// Slices to be decoded from the file's bytes one by one.
    Slices(Vec<SliceHeader>),
    /// A volume, unpacked.
    Volume(Box<NiftiSlices>),
    /// The files of an archive.
    Archive(Vec<(String, Vec<u8>)>),
}

/// Decodes the file `source`, which holds one slice.
///
/// `window` applies to Hounsfield units; without one the file's is used if it shows the lungs, else
/// [`Window::LUNG`].
///
/// # Errors
/// If the bytes are no PNG, JPEG, DICOM or NIfTI file, are damaged, hold a picture of unfit size or more
/// slices than one.
pub fn decode_slice(
    source: &str,
    bytes: &[u8],
    window: Option<Window>,
) -> Result<CtSlice, ImageError> {
    let slice = match AllFormats::open(bytes)? {
        Opened::Slices(headers) if headers.len() == 1 => AllFormats::decode(bytes, 0)?,
        Opened::Slices(headers) => {
            return Err(ImageError::ManySlices { slices: headers.len() });
        }
        Opened::Volume(volume) => match volume.headers().len() {
            1 => volume.read(0)?,
            slices => return Err(ImageError::ManySlices { slices }),
        },
        Opened::Archive(files) => return Err(ImageError::ManySlices { slices: files.len() }),
    };
    Ok(slice.windowed(source, window))
}

fn check_size(width: u64, height: u64) -> Result<(), ImageError> {
    let fits = |side: u64| (MIN_SIDE as u64..=MAX_SIDE as u64).contains(&side);
    if fits(width) && fits(height) { Ok(()) } else { Err(ImageError::Size { width, height }) }
}
