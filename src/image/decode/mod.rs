//! Reads PNG, JPEG and DICOM, natively and in the browser.

mod dicom;
mod raster;

use thiserror::Error;

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
    #[error("this is not a PNG, JPEG or DICOM file")]
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
    /// A DICOM picture that is no CT slice.
    #[error("the DICOM picture is not a grey-value slice: {reason}")]
    NotGrey {
        /// What it is.
        reason: String,
    },
}

/// Decodes the file `source` from its `bytes`. The format is told by the content, not the name.
///
/// `window` applies to Hounsfield units (DICOM); without one the file's is used if it shows the
/// lungs, else [`Window::LUNG`].
///
/// # Errors
/// If the bytes are no PNG, JPEG or DICOM file, are damaged, or hold a picture of unfit size.
pub fn decode_slice(
    source: &str,
    bytes: &[u8],
    window: Option<Window>,
) -> Result<CtSlice, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    let mut slice =
        if dicom::is_dicom(bytes) { dicom::decode(bytes, window)? } else { raster::decode(bytes)? };
    slice.source = source.to_owned();
    Ok(slice)
}

fn check_size(width: u64, height: u64) -> Result<(), ImageError> {
    let fits = |side: u64| (MIN_SIDE as u64..=MAX_SIDE as u64).contains(&side);
    if fits(width) && fits(height) { Ok(()) } else { Err(ImageError::Size { width, height }) }
}
