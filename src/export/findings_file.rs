//! Findings that were written as JSON, put over the slices that they belong to: what a session file would hold of
//! them. Such a file knows names and no checksums, so slices are found by their names.

use serde::Deserialize;
use thiserror::Error;

use crate::export::session_file::{SavedSlice, SessionFile, SliceKey};
use crate::image::plane::is_same_spacing;
use crate::report::corrections::SliceCorrections;
use crate::report::{Report, SCHEMA, SliceReport};

/// Bytes of a report: thousands of slices have less.
const MOST_BYTES: usize = 256 << 20;
/// Some editors put it before the text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Steps of the threshold over which all lesions of a file lie.
const STEPS: f32 = 20.0;
/// The highest such threshold: where the page begins.
const HIGHEST: f32 = 0.5;
/// Millimetres by which two slices at one place differ.
const SAME_PLACE_MM: f64 = 0.01;

/// A slice of the opened files.
#[derive(Clone, Copy, Debug)]
pub struct KnownSlice<'a> {
    /// File name or path, with the frame's number where a file has several.
    pub name: &'a str,
    /// Columns and rows.
    pub size: (usize, usize),
    /// Millimetres between rows and between columns.
    pub spacing_mm: Option<[f64; 2]>,
    /// Millimetres towards the patient's head.
    pub position_mm: Option<f64>,
    /// What identifies it.
    pub key: SliceKey,
}

/// Why a file's findings cannot be used.
#[derive(Debug, Error)]
pub enum FindingsError {
    /// No JSON, or not with what it should hold.
    #[error("the findings cannot be read ({0}); is the file complete?")]
    Damaged(String),
    /// JSON of something else.
    #[error("this JSON file is no report of this program")]
    Unknown,
    /// More than any report has.
    #[error("the file is too large for a report")]
    TooLarge,
    /// A later layout.
    #[error(
        "the report has the layout {0:?}, this version reads {SCHEMA:?}: open it with the version that wrote it"
    )]
    Version(String),
    /// Findings on a slice of another size.
    #[error(
        "the findings on {name} are of a slice of {} x {} pixels, the opened one has {} x {}: these are other images",
        found.0, found.1, expected.0, expected.1
    )]
    Size {
        /// The slice.
        name: String,
        /// Columns and rows of the findings.
        found: (usize, usize),
        /// Those of the slice.
        expected: (usize, usize),
    },
    /// Findings on a slice with the same name at another place.
    #[error(
        "the findings on {name} are of a slice that lies elsewhere or has pixels of another size: these are other images"
    )]
    Place {
        /// The slice.
        name: String,
    },
    /// Two findings on one slice.
    #[error("the report has findings on {name} twice")]
    Twice {
        /// The slice.
        name: String,
    },
    /// Masks of another size, areas, scores or corrections that cannot be.
    #[error("the findings on {name} contradict themselves: they are not used")]
    Contradictory {
        /// The slice.
        name: String,
    },
}

/// Whether a file that begins with these bytes may hold findings: whether it begins as a JSON object does.
pub fn may_hold_findings(head: &[u8]) -> bool {
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    text.trim_ascii_start().starts_with(b"{")
}

/// The findings of a report on the slices `known`. Those on other slices are kept by name alone under
/// [`SliceKey::NOWHERE`], so that they can be counted.
///
/// # Errors
/// If it is no report, or contradicts itself or the slices.
pub fn read(bytes: &[u8], known: &[KnownSlice<'_>]) -> Result<SessionFile, FindingsError> {
    #[derive(Deserialize)]
    struct Layout {
        schema: Option<String>,
    }
    if bytes.len() > MOST_BYTES {
        return Err(FindingsError::TooLarge);
    }
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let damaged = |error: serde_json::Error| FindingsError::Damaged(error.to_string());
    let layout: Layout = serde_json::from_slice(text).map_err(damaged)?;
    match layout.schema.as_deref() {
        Some(SCHEMA) => {}
        Some(other) if is_of_reports(other) => return Err(FindingsError::Version(other.into())),
        _ => return Err(FindingsError::Unknown),
    }
    let report: Report = serde_json::from_slice(text).map_err(damaged)?;
    let mut slices: Vec<SavedSlice> = Vec::with_capacity(report.slices.len());
    for found in report.slices {
        let name = found.source.clone();
        let Some(slice) = slice_named(&name, known) else {
            slices.push(elsewhere(found));
            continue;
        };
        if slices.iter().any(|other| other.key == slice.key) {
            return Err(FindingsError::Twice { name });
        }
        slices.push(over(found, slice)?);
    }
    let threshold = threshold(&slices);
    Ok(SessionFile::new(report.model, threshold, None, slices))
}

/// Whether a schema is that of reports, whatever its version.
fn is_of_reports(schema: &str) -> bool {
    let name = |schema: &str| schema.rsplit_once('/').map(|(name, _)| name.to_owned());
    name(schema) == name(SCHEMA)
}

/// Findings on a slice that is not there.
fn elsewhere(found: SliceReport) -> SavedSlice {
    let report = SliceReport {
        lesions: Vec::new(),
        regions: Vec::new(),
        lungs: None,
        corrections: None,
        measurements: Vec::new(),
        ..found
    };
    let corrections = SliceCorrections::default();
    SavedSlice { key: SliceKey::NOWHERE, report, corrections }
}

/// Findings on a slice that is there. Sizes are compared before any mask is decoded.
fn over(found: SliceReport, slice: &KnownSlice<'_>) -> Result<SavedSlice, FindingsError> {
    let name = found.source.clone();
    let size = (found.width, found.height);
    if size != slice.size {
        return Err(FindingsError::Size { name, found: size, expected: slice.size });
    }
    let is_elsewhere = |(own, other): (f64, f64)| (own - other).abs() > SAME_PLACE_MM;
    let places = found.position_mm.zip(slice.position_mm);
    let spacings = found.spacing_mm.is_some() && slice.spacing_mm.is_some();
    if places.is_some_and(is_elsewhere)
        || (spacings && !is_same_spacing(found.spacing_mm, slice.spacing_mm))
    {
        return Err(FindingsError::Place { name });
    }
    let models = found.corrections.iter().flat_map(|made| &made.model_lesions);
    let is_sound = found.is_sound() && models.clone().all(|lesion| lesion.fits(&found));
    let taken_apart = if is_sound { SliceCorrections::reopened(found) } else { None };
    let saved =
        taken_apart.map(|(report, corrections)| SavedSlice { key: slice.key, report, corrections });
    saved.filter(SavedSlice::is_sound).ok_or(FindingsError::Contradictory { name })
}

/// The one slice that is called so; or the one whose path ends so, or is the end of this one, folder by folder.
fn slice_named<'a>(name: &str, known: &'a [KnownSlice<'a>]) -> Option<&'a KnownSlice<'a>> {
    let only = |is_meant: &dyn Fn(&str) -> bool| {
        let mut meant = known.iter().filter(|slice| is_meant(slice.name));
        let first = meant.next();
        first.filter(|_| meant.next().is_none())
    };
    let parts =
        |path: &str| -> Vec<String> { path.split(['/', '\\']).rev().map(str::to_owned).collect() };
    let own = parts(name);
    let ends_alike = |other: &str| own.iter().zip(parts(other)).all(|(own, other)| *own == other);
    match known.iter().any(|slice| slice.name == name) {
        true => only(&|other| other == name),
        false => only(&ends_alike),
    }
}

/// A threshold over which all lesions of the model lie, as far as the steps go down.
fn threshold(slices: &[SavedSlice]) -> f32 {
    let scores = slices.iter().flat_map(|slice| &slice.report.lesions).map(|lesion| lesion.score);
    let lowest = scores.fold(HIGHEST, f32::min);
    // Lesions are shown whose score is higher, not as high.
    let steps = (lowest * STEPS).ceil() - 1.0;
    if lowest < HIGHEST { steps.max(1.0) / STEPS } else { HIGHEST }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::LesionKind;
    use crate::detection::Mask;
    use crate::detection::mask::rle::Rle;
    use crate::image::lungs::{Lungs, Midline};
    use crate::image::{CtSlice, Refusal};
    use crate::report::correction::{Correction, LesionId, Stroke};
    use crate::report::lungs::LungsSlice;
    use crate::report::{Lesion, ModelInfo, ModelsInfo, Origin};

    const SIZE: (usize, usize) = (20, 10);

    fn key(place: usize) -> SliceKey {
        SliceKey { checksum: 7, place }
    }

    fn known<'a>(names: &[&'a str]) -> Vec<KnownSlice<'a>> {
        let slice = |(place, name): (usize, &&'a str)| KnownSlice {
            name,
            size: SIZE,
            spacing_mm: Some([2.0, 0.5]),
            position_mm: Some(10.0),
            key: key(place),
        };
        names.iter().enumerate().map(slice).collect()
    }

    fn found(source: &str, scores: &[f32]) -> SliceReport {
        let slice = CtSlice::new(source, SIZE, Vec::new());
        let refused = SliceReport::refused(&slice, Refusal::NoLung, Default::default());
        let lesion = |(place, score): (usize, &f32)| {
            let pixels = (0..200).map(|at| at % 20 / 3 == place).collect();
            let mask = Mask { width: 20, height: 10, pixels };
            let bare = Lesion { origin: Origin::Model, ..Lesion::drawn(LesionKind::Lesion) };
            let lesion = Lesion { score: *score, ..bare };
            lesion.with_mask(&mask, Some([2.0, 0.5])).unwrap()
        };
        let lesions = scores.iter().enumerate().map(lesion).collect();
        let spacing_mm = Some([2.0, 0.5]);
        SliceReport {
            refusal: None,
            refusal_reason: None,
            segmented: true,
            spacing_mm,
            lesions,
            ..refused
        }
    }

    /// Two slices, of which a reader corrected the second.
    fn report() -> Report {
        let weights = ModelInfo { name: "model".into(), sha256: "00".into() };
        let model = ModelsInfo { segmentation: Some(weights), ..ModelsInfo::default() };
        let mut report = Report::new(model, "cpu");
        let second = found("study/b.dcm", &[0.9, 0.62]);
        let mut corrections = SliceCorrections::default();
        let stroke = Stroke {
            lesion: None,
            points: vec![(15.0, 5.0)],
            radius: 2.0,
            erases: false,
            kind: LesionKind::Consolidation,
        };
        for step in [Correction::Paint(stroke), Correction::Reject(LesionId::Found(0))] {
            corrections.apply(&step, &second).unwrap();
        }
        let second = corrections.corrected(&second, 0.5).report;
        report.slices = vec![found("study/a.dcm", &[0.8]), second];
        report
    }

    #[test]
    fn a_report_comes_back_with_what_a_reader_corrected() {
        let bytes = serde_json::to_vec(&report()).unwrap();
        assert!(
            may_hold_findings(&bytes) && may_hold_findings(b" \n{") && !may_hold_findings(b"PK")
        );
        let session = read(&bytes, &known(&["study/a.dcm", "study/b.dcm"])).unwrap();
        assert_eq!(session.model, report().model);
        assert_eq!(
            session.slices.iter().map(|slice| slice.key).collect::<Vec<_>>(),
            [key(0), key(1)]
        );
        let SavedSlice { report: model, corrections, .. } = &session.slices[1];
        assert_eq!(model, &found("study/b.dcm", &[0.9, 0.62]));
        assert_eq!(corrections.corrected(model, 0.5).report, report().slices[1]);
        assert!((session.threshold - 0.5).abs() < 1e-6);
    }

    #[test]
    fn slices_are_found_by_the_end_of_their_paths_if_only_one_ends_so() {
        let bytes = serde_json::to_vec(&report()).unwrap();
        let keys = |names: &[&str]| -> Vec<SliceKey> {
            read(&bytes, &known(names)).unwrap().slices.iter().map(|slice| slice.key).collect()
        };
        assert_eq!(keys(&["b.dcm", "home/study/a.dcm"]), [key(1), key(0)]);
        assert_eq!(keys(&["study/a.dcm", "other/study/a.dcm"])[0], key(0), "called exactly so");
        assert_eq!(keys(&["1/study/a.dcm", "2/study/a.dcm"]), [SliceKey::NOWHERE; 2]);
        assert_eq!(keys(&["elsewhere/a.dcm", "c.dcm"]), [SliceKey::NOWHERE; 2], "another folder");
        assert_eq!(keys(&["study/a.dcm", "study/a.dcm"]), [SliceKey::NOWHERE; 2]);
        let gone = &read(&bytes, &[]).unwrap().slices[1];
        assert!(gone.report.lesions.is_empty() && gone.report.corrections.is_none());
    }

    #[test]
    fn all_lesions_of_the_model_lie_over_the_threshold() {
        for (score, expected) in [(0.07, 0.05), (0.01, 0.05), (0.31, 0.3), (0.3, 0.25), (0.8, 0.5)]
        {
            let mut report = report();
            report.slices = vec![found("a.dcm", &[0.9, score])];
            let session = read(&serde_json::to_vec(&report).unwrap(), &known(&["a.dcm"])).unwrap();
            assert!((session.threshold - expected).abs() < 1e-6, "{score} {}", session.threshold);
        }
    }

    fn said(bytes: &[u8]) -> String {
        read(bytes, &known(&["a.dcm", "b.dcm"])).unwrap_err().to_string()
    }

    fn with(change: impl FnOnce(&mut Report)) -> Vec<u8> {
        let mut changed = report();
        change(&mut changed);
        serde_json::to_vec(&changed).unwrap()
    }

    #[test]
    fn what_is_no_report_is_named() {
        assert!(said(b"{").contains("complete"), "{}", said(b"{"));
        for other in
            [&b"{}"[..], b"{\"schema\": \"groundglass/models/1\"}", b"{\"annotations\": []}"]
        {
            assert!(said(other).contains("no report"), "{}", said(other));
        }
        let later = said(b"{\"schema\": \"groundglass/report/9\"}");
        assert!(later.contains("\"groundglass/report/9\""), "{later}");
        assert!(said(b"{\"schema\": \"groundglass/report/1\"}").contains("missing field"));
    }

    #[test]
    fn findings_on_other_images_of_the_same_name_are_refused() {
        let twice = with(|report| report.slices = vec![found("a.dcm", &[]); 2]);
        assert!(said(&twice).contains("a.dcm twice"));
        let wide = with(|report| report.slices[0].width = 21);
        assert!(said(&wide).contains("21 x 10"), "{}", said(&wide));
        let moved = with(|report| report.slices[0].position_mm = Some(11.0));
        assert!(said(&moved).contains("lies elsewhere"));
        let coarse = with(|report| report.slices[0].spacing_mm = Some([2.0, 0.6]));
        assert!(said(&coarse).contains("lies elsewhere"));
        let there = with(|report| report.slices[0].position_mm = Some(10.0));
        assert!(read(&there, &known(&["a.dcm", "b.dcm"])).is_ok());
    }

    #[test]
    fn what_contradicts_itself_is_refused_before_anything_is_made_of_it() {
        let refused = |change: fn(&mut SliceReport)| {
            let forged = with(|report| change(&mut report.slices[1]));
            let said = said(&forged);
            assert!(said.contains("contradict"), "{said}");
        };
        let huge = || Some(Rle { size: [usize::MAX, usize::MAX], counts: "0".into() });
        refused(|slice| slice.lesions[0].area_px += 1);
        refused(|slice| slice.corrections = None);
        refused(|slice| slice.lesions[0].score = 2.0);
        let forged = with(|report| report.slices[1].lesions[0].mask = huge());
        assert!(said(&forged).contains("contradict"));
        let forged = with(|report| {
            let made = report.slices[1].corrections.as_mut().unwrap();
            made.model_lesions[0].mask = huge();
        });
        assert!(said(&forged).contains("contradict"));
        refused(|slice| {
            let made = slice.corrections.as_mut().unwrap();
            made.model_lesions[0].mask = Some(Rle::encode(&Mask::empty(2, 2)));
        });
        refused(|slice| {
            let lung = Mask::empty(4, 4);
            let midline = Midline { column: 2, right_first: true };
            let lungs = Lungs { right: lung.clone(), left: lung, midline };
            slice.lungs = Some(LungsSlice::new(&lungs, &[]));
        });
        // Nothing is made of slices that are not there.
        let sides = with(|report| {
            for slice in &mut report.slices {
                (slice.width, slice.height) = (usize::MAX, usize::MAX);
            }
        });
        assert!(read(&sides, &[]).is_ok());
    }
}
