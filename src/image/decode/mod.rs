//! Reads PNG, JPEG, DICOM, NIfTI and zip archives of them, natively and in the browser.

pub mod archive;
mod dicom;
mod formats;
pub mod limits;
pub mod nifti;
pub mod panic_guard;
mod raster;

use thiserror::Error;

pub use self::dicom::header::HeaderElement;
pub use self::dicom::{DicomFile, source as dicom_source};
pub use self::formats::{AllFormats, Formats, RasterOnly};
pub use self::limits::{Budget, MAX_SIDE, MIN_SIDE};
use self::nifti::NiftiSlices;
pub use self::raster::from_rgba;
use crate::image::slice::{RawSlice, SliceHeader, Values};
use crate::image::{CtSlice, Window};

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
    /// A file that is sound, and of a kind that is not read.
    #[error("this {format} file is not supported: {what}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What of it is not read.
        what: String,
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
    #[error("unpacked, and with what was opened beside it, it has more than {} MB, which is more than is read", limit >> 20)]
    TooLarge {
        /// Most bytes accepted.
        limit: u64,
    },
    /// An archive in an archive.
    #[error("this is an archive within an archive, which is not read; unpack it first")]
    Nested,
    /// A file of an archive behind a password.
    #[error("it is encrypted; unpack the archive with its password first")]
    Encrypted,
    /// Many slices where one was expected.
    #[error("this holds {slices} slices; one was expected here")]
    ManySlices {
        /// Number of slices.
        slices: usize,
    },
    /// A file that cannot be read, or is not the one any more that was opened.
    #[error("the file cannot be read: {reason}")]
    Unreadable {
        /// The reason.
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
        "the DICOM transfer syntax {uid} is not supported; read are uncompressed and deflated, RLE, JPEG baseline, extended and lossless, JPEG-LS, and JPEG 2000"
    )]
    TransferSyntax {
        /// Its identifier, with a name where one is known.
        uid: String,
    },
    /// A reader that does not come to an end.
    #[error("its reader had not finished after {seconds} s; please report it")]
    Slow {
        /// How long it had.
        seconds: u64,
    },
    /// A reader that panicked.
    #[error("its decoder failed ({reason}); please report it")]
    Broken {
        /// What it said.
        reason: String,
    },
    /// A picture or volume that is no CT.
    #[error("this is not a grey-value slice: {reason}")]
    NotGrey {
        /// What it is.
        reason: String,
    },
}

impl ImageError {
    /// An encoding that is not read, with its name where the standard has one.
    fn transfer_syntax(uid: &str) -> Self {
        use dicom_encoding::TransferSyntaxIndex;
        let known = dicom_transfer_syntax_registry::TransferSyntaxRegistry.get(uid);
        let uid = match known {
            Some(syntax) => format!("{uid} ({})", syntax.name()),
            None => uid.to_owned(),
        };
        Self::TransferSyntax { uid }
    }

    /// The error of a reader that panicked.
    pub fn broken(reason: String) -> Self {
        Self::Broken { reason }
    }
}

/// A file of an archive: its path there, and its bytes or what is wrong with it.
pub type Member = (String, Result<Vec<u8>, ImageError>);

/// A file as far as it must be read to know its slices.
#[derive(Debug)]
pub enum Opened {
    /// Slices to be decoded from the file's bytes one by one.
    Slices(Vec<SliceHeader>),
    /// A DICOM file of several frames, parsed.
    Frames(Box<DicomFile>),
    /// A volume, unpacked.
    Volume(Box<NiftiSlices>),
    /// The files of an archive.
    Archive(Vec<Member>),
}

/// Whether a file that begins with `head` is a picture, a DICOM file or a volume, whatever it is called.
pub fn is_slice(head: &[u8]) -> bool {
    raster::is_picture(head) || dicom::is_dicom(head) || nifti::is_nifti(head)
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
    let slice = match AllFormats::open(bytes, &mut Budget::default())? {
        Opened::Slices(headers) if headers.len() == 1 => AllFormats::decode(bytes, 0)?,
        Opened::Slices(headers) => {
            return Err(ImageError::ManySlices { slices: headers.len() });
        }
        Opened::Frames(file) => {
            return Err(ImageError::ManySlices { slices: file.headers().len() });
        }
        Opened::Volume(volume) => match volume.headers().len() {
            1 => volume.read(0)?,
            slices => return Err(ImageError::ManySlices { slices }),
        },
        Opened::Archive(files) => return Err(ImageError::ManySlices { slices: files.len() }),
    };
    Ok(slice.windowed(source, window))
}
