//! The two readers: one for pictures, which is small, and one for every format.

use crate::export::dicom::{self, Identity};
use crate::export::session_file::{SessionFile, SessionFileError, is_session_file};
use crate::export::{ExportError, Format};
use crate::image::decode::{AllFormats, Formats, RasterOnly};
use crate::image::{FileBytes, SeriesSlice};
use crate::report::{ModelsInfo, SliceReport};

/// What a reader links beyond what all of them need.
pub trait Kind: Formats + 'static {
    /// A DICOM object about slices.
    ///
    /// # Errors
    /// If they are no DICOM slices.
    fn dicom<F: FileBytes>(
        format: Format,
        slices: &[(&SliceReport, &SeriesSlice<F>)],
        models: &ModelsInfo,
        identity: Identity,
    ) -> Result<Vec<u8>, ExportError>;

    /// A session file; `None` if it is left to the reader of every format, for most visits save none.
    fn session_file(_session: &SessionFile) -> Option<std::io::Result<Vec<u8>>> {
        None
    }

    /// The session in a file that begins with `head`, if it is a session file.
    fn session(
        _head: &[u8],
        _file: &impl FileBytes,
    ) -> Option<Result<SessionFile, SessionFileError>> {
        None
    }
}

impl Kind for AllFormats {
    fn dicom<F: FileBytes>(
        format: Format,
        slices: &[(&SliceReport, &SeriesSlice<F>)],
        models: &ModelsInfo,
        identity: Identity,
    ) -> Result<Vec<u8>, ExportError> {
        let mut with_sources = Vec::with_capacity(slices.len());
        for (slice, place) in slices {
            with_sources.push((*slice, place.dicom_source()?));
        }
        dicom::write(format, &with_sources, models, identity)
    }

    fn session_file(session: &SessionFile) -> Option<std::io::Result<Vec<u8>>> {
        Some(session.to_bytes())
    }

    fn session(
        head: &[u8],
        file: &impl FileBytes,
    ) -> Option<Result<SessionFile, SessionFileError>> {
        is_session_file(head).then(|| match file.bytes() {
            Ok(bytes) => SessionFile::from_bytes(&bytes),
            Err(error) => Err(SessionFileError::Damaged(error.to_string())),
        })
    }
}

impl Kind for RasterOnly {
    fn dicom<F: FileBytes>(
        _: Format,
        _: &[(&SliceReport, &SeriesSlice<F>)],
        _: &ModelsInfo,
        _: Identity,
    ) -> Result<Vec<u8>, ExportError> {
        Err(ExportError::Source("a picture has nothing that a DICOM object could refer to".into()))
    }
}
