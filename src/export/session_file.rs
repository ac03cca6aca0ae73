//! A session file: what was found and corrected on the slices of opened files, without their pixels, so that a reader
//! can go on another day. A zip archive of one JSON document and its SHA-256.

use std::io::{Cursor, Read, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use zip::write::SimpleFileOptions;

use crate::export::names::safe_stem;
use crate::image::decode::limits::MAX_SIDE;
use crate::report::corrections::SliceCorrections;
use crate::report::{ModelsInfo, NOTICE, SliceReport};
use crate::sha256::sha256;

/// Name and version of the layout.
pub const SCHEMA: &str = "groundglass/session/1";
/// What the name of such a file ends with.
pub const ENDING: &str = "session.zip";
/// Its media type.
pub const MEDIA_TYPE: &str = "application/zip";
/// The document in the archive, which is its first file.
const DOCUMENT: &str = "session.json";
/// The document's SHA-256, hexadecimal.
const DIGEST: &str = "session.json.sha256";
/// Bytes of the document: thousands of slices have less.
const MOST_BYTES: u64 = 256 << 20;
/// Bytes that tell a session file: the fixed part of a zip entry, and the name of the first.
pub const HEAD: usize = ENTRY + DOCUMENT.len();
/// Length of a zip entry before its name (APPNOTE 4.3.7).
const ENTRY: usize = 30;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionFile {
    /// [`SCHEMA`].
    pub schema: String,
    /// [`NOTICE`].
    pub notice: String,
    /// The weights that found it.
    pub model: ModelsInfo,
    /// Lesions with a lower score were left out.
    pub threshold: f32,
    /// Place among `slices` of the one that was shown.
    pub shown: Option<usize>,
    /// What was found and corrected.
    pub slices: Vec<SavedSlice>,
}

/// A slice of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedSlice {
    /// Which slice it is.
    pub key: SliceKey,
    /// What the model found, at every score.
    pub report: SliceReport,
    /// What a reader corrected and measured.
    pub corrections: SliceCorrections,
}

/// Tells a slice whatever its file is called: the file's checksum, and its place among the slices of files with this
/// checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceKey {
    /// CRC-32 of the file.
    pub checksum: u32,
    /// Slices of it before this one.
    pub place: usize,
}

impl SliceKey {
    /// Of a slice that is not among those of the opened files.
    pub const NOWHERE: Self = Self { checksum: 0, place: usize::MAX };
}

/// Why a session file cannot be used.
#[derive(Debug, Error)]
pub enum SessionFileError {
    /// An archive that cannot be unpacked.
    #[error("the session file is damaged ({0}): copy it again")]
    Damaged(String),
    /// A document that is not the one that was written.
    #[error("the session file was changed after it was saved: its findings are not used")]
    Changed,
    /// Another layout.
    #[error(
        "the session file has the layout {0:?}, this version reads {SCHEMA:?}: open it with the version that saved it"
    )]
    Version(String),
    /// A document that contradicts itself.
    #[error("the session file contradicts itself in {source_name:?}: its findings are not used")]
    Contradictory {
        /// The slice.
        source_name: String,
    },
}

/// What a session file about the slice or series `name` is called.
pub fn file_name(name: &str) -> String {
    format!("{}_{ENDING}", safe_stem(name))
}

/// Whether a file that begins with these [`HEAD`] bytes is a session file.
pub fn is_session_file(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") && head.get(ENTRY..HEAD) == Some(DOCUMENT.as_bytes())
}

impl SessionFile {
    /// What `model` found on `slices`.
    pub fn new(
        model: ModelsInfo,
        threshold: f32,
        shown: Option<usize>,
        slices: Vec<SavedSlice>,
    ) -> Self {
        let (schema, notice) = (SCHEMA.into(), NOTICE.into());
        Self { schema, notice, model, threshold, shown, slices }
    }

    /// The file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, std::io::Error> {
        let document = serde_json::to_vec(self)?;
        let digest = sha256(&document);
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, contents) in [(DOCUMENT, document.as_slice()), (DIGEST, digest.as_bytes())] {
            archive.start_file(name, SimpleFileOptions::default())?;
            archive.write_all(contents)?;
        }
        Ok(archive.finish()?.into_inner())
    }

    /// The session of a file.
    ///
    /// # Errors
    /// If it is cut off, was changed, has another layout, or contradicts itself.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SessionFileError> {
        let damaged = |error: &dyn std::fmt::Display| SessionFileError::Damaged(error.to_string());
        let mut archive =
            zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(&error))?;
        let mut contents = |name: &str| {
            let file = archive.by_name(name).map_err(|error| damaged(&error))?;
            let mut contents = Vec::new();
            let read = file.take(MOST_BYTES).read_to_end(&mut contents);
            read.map_err(|error| damaged(&error))?;
            Ok(contents)
        };
        let (document, digest) = (contents(DOCUMENT)?, contents(DIGEST)?);
        if sha256(&document).as_bytes() != digest {
            return Err(SessionFileError::Changed);
        }
        #[derive(Deserialize)]
        struct Layout {
            schema: String,
        }
        let layout: Layout = serde_json::from_slice(&document).map_err(|error| damaged(&error))?;
        if layout.schema != SCHEMA {
            return Err(SessionFileError::Version(layout.schema));
        }
        let session: Self = serde_json::from_slice(&document).map_err(|error| damaged(&error))?;
        match session.slices.iter().find(|slice| !slice.is_sound()) {
            Some(slice) => {
                let source_name = slice.report.source.clone();
                Err(SessionFileError::Contradictory { source_name })
            }
            None => Ok(session),
        }
    }
}

impl SavedSlice {
    /// Whether every mask has the size of the slice, and every correction a lesion.
    pub(super) fn is_sound(&self) -> bool {
        let sides = [self.report.width, self.report.height];
        sides.iter().all(|side| (1..=MAX_SIDE).contains(side))
            && self.report.is_sound()
            && self.corrections.fit(&self.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::{LesionKind, SliceClass};
    use crate::detection::Mask;
    use crate::detection::mask::rle::Rle;
    use crate::image::lungs::{Lungs, Midline};
    use crate::image::{CtSlice, Refusal};
    use crate::report::correction::{Correction, LesionId, Stroke};
    use crate::report::lungs::LungsSlice;
    use crate::report::regions::RankedRegion;
    use crate::report::{Lesion, ModelInfo, Origin, ReaderClass};

    fn session() -> SessionFile {
        let slice = CtSlice::new("slice", (20, 10), Vec::new());
        let mask = Mask { width: 20, height: 10, pixels: (0..200).map(|at| at % 20 < 3).collect() };
        let bare = Lesion { origin: Origin::Model, ..Lesion::drawn(LesionKind::Lesion) };
        let lesion = Lesion { score: 0.1 + 0.2, ..bare.with_mask(&mask, None).unwrap() };
        let refused = SliceReport::refused(&slice, Refusal::NoLung, Default::default());
        let report = SliceReport { lesions: vec![lesion], ..refused };
        let mut corrections = SliceCorrections::default();
        let stroke = Stroke {
            lesion: None,
            points: vec![(10.0, 5.0)],
            radius: 2.0,
            erases: false,
            kind: LesionKind::Consolidation,
        };
        let class = ReaderClass { class: SliceClass::Covid19, note: "é \u{1f600}".into() };
        for correction in [
            Correction::Paint(stroke),
            Correction::Reject(LesionId::Found(0)),
            Correction::Class(Some(class)),
        ] {
            corrections.apply(&correction, &report).unwrap();
        }
        let weights = ModelInfo { name: "model".into(), sha256: "00".into() };
        let model = ModelsInfo { segmentation: Some(weights), ..ModelsInfo::default() };
        let key = SliceKey { checksum: u32::MAX, place: 3 };
        SessionFile::new(model, 0.5, Some(0), vec![SavedSlice { key, report, corrections }])
    }

    /// An archive of these files, the document's own digest among them if there is none.
    fn archive(document: &[u8], digest: Option<&str>) -> Vec<u8> {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let digest = digest.map_or_else(|| sha256(document), str::to_owned);
        for (name, contents) in [(DOCUMENT, document), (DIGEST, digest.as_bytes())] {
            archive.start_file(name, SimpleFileOptions::default()).unwrap();
            archive.write_all(contents).unwrap();
        }
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn a_session_comes_back_as_it_was_and_is_known_by_its_first_bytes() {
        let bytes = session().to_bytes().unwrap();
        assert!(is_session_file(&bytes[..HEAD]));
        assert!(!is_session_file(&bytes[..HEAD - 1]) && !is_session_file(b"PK\x03\x04"));
        assert_eq!(SessionFile::from_bytes(&bytes).unwrap(), session());
        assert_eq!(file_name("a/scan.nii.gz#3"), "scan_frame3_session.zip");
    }

    #[test]
    fn wherever_it_is_cut_off_it_is_refused() {
        let bytes = session().to_bytes().unwrap();
        for length in 0..bytes.len() {
            assert!(SessionFile::from_bytes(&bytes[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn whichever_byte_of_the_document_is_changed_it_is_refused() {
        let document = serde_json::to_vec(&session()).unwrap();
        let digest = sha256(&document);
        for place in 0..document.len() {
            let mut changed = document.clone();
            changed[place] ^= 1;
            let said = SessionFile::from_bytes(&archive(&changed, Some(&digest)));
            assert!(matches!(said, Err(SessionFileError::Changed)), "{place}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let later = SessionFile { schema: "groundglass/session/2".into(), ..session() };
        let said = SessionFile::from_bytes(&later.to_bytes().unwrap()).unwrap_err().to_string();
        assert!(said.contains("\"groundglass/session/2\"") && said.contains(SCHEMA), "{said}");
        let unknown = SessionFile::from_bytes(&archive(b"{}", None)).unwrap_err().to_string();
        assert!(unknown.contains("schema"), "{unknown}");
    }

    #[test]
    fn what_contradicts_itself_is_refused_even_with_a_digest() {
        let refused = |change: fn(&mut SavedSlice)| {
            let mut forged = session();
            change(&mut forged.slices[0]);
            let said = SessionFile::from_bytes(&forged.to_bytes().unwrap());
            assert!(matches!(said, Err(SessionFileError::Contradictory { .. })), "{said:?}");
        };
        // The rejected lesion is no longer there.
        refused(|slice| slice.report.lesions.clear());
        refused(|slice| slice.report.width = 21);
        refused(|slice| (slice.report.width, slice.report.height) = (0, 0));
        refused(|slice| slice.report.width = usize::MAX);
        refused(|slice| {
            let mask = Mask::empty(10, 20);
            slice.report.lesions[0].mask = Some(Rle::encode(&mask));
        });
        refused(|slice| slice.report.lesions[0].area_px += 1);
        refused(|slice| {
            slice.report.lesions[0].mask = None;
            slice.report.lesions[0].area_px = usize::MAX;
        });
        refused(|slice| {
            let lung = Mask::empty(4, 4);
            let midline = Midline { column: 2, right_first: true };
            let lungs = Lungs { right: lung.clone(), left: lung, midline };
            slice.report.lungs = Some(LungsSlice::new(&lungs, &[]));
        });
        refused(|slice| {
            let region = RankedRegion { score: 0.5, area_px: 1.0, slots: usize::MAX };
            slice.report.regions.push(region);
        });
        let document = serde_json::to_string(&session()).unwrap();
        let more_drawn = document.replace("\"drawn\":1", "\"drawn\":4294967295");
        assert_ne!(document, more_drawn);
        let said = SessionFile::from_bytes(&archive(more_drawn.as_bytes(), None));
        assert!(matches!(said, Err(SessionFileError::Contradictory { .. })), "{said:?}");
        refused(|slice| slice.report.lesions[0].score = 2.0);
    }
}
