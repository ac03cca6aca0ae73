//! The two readers: one for pictures, which is small, and one for every format.

use thiserror::Error;

use crate::export::dicom::{self, Identity};
use crate::export::findings_file::{self, FindingsError, KnownSlice, may_hold_findings};
use crate::export::session_file::{SessionFile, SessionFileError, is_session_file};
use crate::export::{ExportError, Format};
use crate::image::decode::{AllFormats, Formats, RasterOnly};
use crate::image::{FileBytes, ImageError, SeriesSlice};
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

    /// What findings a file that begins with `head` may hold; `None` if none, or if they are left to the reader of every
    /// format.
    fn findings_kind(_head: &[u8]) -> Option<FindingsKind> {
        None
    }

    /// The findings of such a file on the slices `known`.
    ///
    /// # Errors
    /// If it cannot be read, or they cannot be used.
    fn findings(
        _kind: FindingsKind,
        _file: &impl FileBytes,
        _known: &[KnownSlice<'_>],
    ) -> Result<SessionFile, FindingsFileError> {
        Err(FindingsFileError::Findings(FindingsError::Unknown))
    }
}

/// Kinds of files with findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingsKind {
    /// A session file.
    Session,
    /// A report as JSON.
    Json,
}

/// Why the findings of a file cannot be used.
#[derive(Debug, Error)]
pub enum FindingsFileError {
    /// The file.
    #[error(transparent)]
    File(#[from] ImageError),
    /// A session file.
    #[error(transparent)]
    Session(#[from] SessionFileError),
    /// Another.
    #[error(transparent)]
    Findings(#[from] FindingsError),
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

    fn findings_kind(head: &[u8]) -> Option<FindingsKind> {
        if is_session_file(head) {
            Some(FindingsKind::Session)
        } else {
            may_hold_findings(head).then_some(FindingsKind::Json)
        }
    }

    fn findings(
        kind: FindingsKind,
        file: &impl FileBytes,
        known: &[KnownSlice<'_>],
    ) -> Result<SessionFile, FindingsFileError> {
        let bytes = file.bytes()?;
        Ok(match kind {
            FindingsKind::Session => SessionFile::from_bytes(&bytes)?,
            FindingsKind::Json => findings_file::read(&bytes, known)?,
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
