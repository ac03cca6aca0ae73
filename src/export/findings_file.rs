//! Findings that were written as JSON or COCO, put over the slices that they belong to: what a session file would hold
//! of them. Such files know names and no checksums, so slices are found by their names.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::classes::LesionKind;
use crate::detection::BBox;
use crate::detection::mask::rle::Rle;
use crate::export::session_file::{SavedSlice, SessionFile, SliceKey};
use crate::image::decode::limits::MAX_SIDE;
use crate::image::{CtSlice, Refusal};
use crate::report::corrections::SliceCorrections;
use crate::report::slice::Corrections;
use crate::report::{Lesion, ModelsInfo, Origin, Report, SCHEMA, SliceReport};

/// Steps of the threshold that shows all lesions of a file.
const STEPS: f32 = 20.0;
/// The highest such threshold: where the page begins.
const HIGHEST: f32 = 0.5;

/// A slice of the opened files.
#[derive(Clone, Copy, Debug)]
pub struct KnownSlice<'a> {
    /// File name or path, with the frame's number where a file has several.
    pub name: &'a str,
    /// Columns and rows.
    pub size: (usize, usize),
    /// Millimetres between rows and between columns.
    pub spacing_mm: Option<[f64; 2]>,
    /// What tells it.
    pub key: SliceKey,
}

/// Why a file's findings cannot be used.
#[derive(Debug, Error)]
pub enum FindingsError {
    /// No JSON, or not with what it should hold.
    #[error("the findings cannot be read ({0}); is the file complete?")]
    Damaged(String),
    /// JSON of something else.
    #[error("this JSON is neither a report of this program nor a COCO file with annotations")]
    Unknown,
    /// A later layout.
    #[error(
        "the report has the layout {0:?}, this version reads {SCHEMA:?}: open it with the version that wrote it"
    )]
    Version(String),
    /// Findings of something else.
    #[error(
        "the findings on {name} are of a slice of {found:?} pixels, the opened one has {expected:?}: these are other images"
    )]
    Size {
        /// The slice.
        name: String,
        /// Columns and rows of the findings.
        found: (usize, usize),
        /// Those of the slice.
        expected: (usize, usize),
    },
    /// Two findings on one slice.
    #[error("the file has findings on {name} twice")]
    Twice {
        /// The slice.
        name: String,
    },
    /// What cannot be.
    #[error("the findings on {name} contradict themselves: they are not used")]
    Contradictory {
        /// The slice.
        name: String,
    },
    /// Outlines of another kind.
    #[error(
        "annotation {id} has no mask in compressed run lengths, as pycocotools writes them: export it so"
    )]
    Outline {
        /// Its number.
        id: u64,
    },
}

/// Whether a file that begins with these bytes may hold findings: whether it begins as JSON does.
pub fn may_hold_findings(head: &[u8]) -> bool {
    head.trim_ascii_start().starts_with(b"{")
}

/// The findings of a file on the slices `known`. Those on other slices are kept under [`SliceKey::NOWHERE`], so that they
/// are counted.
///
/// # Errors
/// If it is no such file, or contradicts itself or the slices.
pub fn read(bytes: &[u8], known: &[KnownSlice<'_>]) -> Result<SessionFile, FindingsError> {
    let damaged = |error: serde_json::Error| FindingsError::Damaged(error.to_string());
    let document: Value = serde_json::from_slice(bytes).map_err(damaged)?;
    let (model, reports) = match document.get("schema").and_then(Value::as_str) {
        Some(SCHEMA) => {
            let report: Report = serde_json::from_value(document).map_err(damaged)?;
            (report.model, report.slices)
        }
        Some(other) => return Err(FindingsError::Version(other.into())),
        None if document.get("annotations").is_some() => {
            of_coco(serde_json::from_value(document).map_err(damaged)?, known)?
        }
        None => return Err(FindingsError::Unknown),
    };
    let mut slices: Vec<SavedSlice> = Vec::with_capacity(reports.len());
    for report in reports {
        let name = report.source.clone();
        let slice = slice_named(&name, known);
        let key = slice.map_or(SliceKey::NOWHERE, |slice| slice.key);
        if slice.is_some() && slices.iter().any(|other| other.key == key) {
            return Err(FindingsError::Twice { name });
        }
        if let Some(slice) = slice
            && slice.size != (report.width, report.height)
        {
            let (found, expected) = ((report.width, report.height), slice.size);
            return Err(FindingsError::Size { name, found, expected });
        }
        let taken_apart = SliceCorrections::reopened(report);
        let saved =
            taken_apart.map(|(report, corrections)| SavedSlice { key, report, corrections });
        match saved.filter(SavedSlice::is_sound) {
            Some(saved) => slices.push(saved),
            None => return Err(FindingsError::Contradictory { name }),
        }
    }
    let threshold = threshold(&slices);
    Ok(SessionFile::new(model, threshold, None, slices))
}

/// The slice that is called so, or the only one whose path ends with the same file name.
fn slice_named<'a>(name: &str, known: &'a [KnownSlice<'a>]) -> Option<&'a KnownSlice<'a>> {
    let file_name = |name: &str| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let exact = known.iter().find(|slice| slice.name == name);
    exact.or_else(|| {
        let mut alike = known.iter().filter(|slice| file_name(slice.name) == file_name(name));
        let only = alike.next();
        only.filter(|_| alike.next().is_none())
    })
}

/// A threshold over which all lesions of the model lie.
fn threshold(slices: &[SavedSlice]) -> f32 {
    let scores = slices.iter().flat_map(|slice| &slice.report.lesions).map(|lesion| lesion.score);
    let lowest = scores.fold(HIGHEST, f32::min);
    // Lesions are shown whose score is higher, not as high.
    let steps = (lowest * STEPS).ceil() - 1.0;
    if lowest < HIGHEST { steps.max(0.0) / STEPS } else { HIGHEST }
}

#[derive(Deserialize)]
struct Coco {
    #[serde(default)]
    info: Info,
    images: Vec<Image>,
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Default, Deserialize)]
struct Info {
    #[serde(default)]
    model: ModelsInfo,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    width: usize,
    height: usize,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    id: u64,
    image_id: u64,
    category_id: u64,
    #[serde(default)]
    segmentation: Value,
    /// Lesions of the model have one.
    score: Option<f32>,
    origin: Option<Origin>,
}

/// Reports of the images of a COCO file, with no more than their lesions: those without a score were drawn.
fn of_coco(
    file: Coco,
    known: &[KnownSlice<'_>],
) -> Result<(ModelsInfo, Vec<SliceReport>), FindingsError> {
    let named: BTreeMap<u64, &str> =
        file.categories.iter().map(|category| (category.id, category.name.as_str())).collect();
    let mut reports: BTreeMap<u64, SliceReport> = BTreeMap::new();
    for image in &file.images {
        if ![image.width, image.height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            return Err(FindingsError::Contradictory { name: image.file_name.clone() });
        }
        let slice = CtSlice::new(&image.file_name, (image.width, image.height), Vec::new());
        let refused = SliceReport::refused(&slice, Refusal::NoLung, Default::default());
        let report = SliceReport {
            refusal: None,
            refusal_reason: None,
            segmented: true,
            spacing_mm: slice_named(&image.file_name, known).and_then(|known| known.spacing_mm),
            ..refused
        };
        reports.insert(image.id, report);
    }
    for annotation in file.annotations {
        let Annotation { id, image_id, category_id, segmentation, score, origin } = annotation;
        let Some(report) = reports.get_mut(&image_id) else { continue };
        let rle: Rle =
            serde_json::from_value(segmentation).map_err(|_| FindingsError::Outline { id })?;
        let contradictory = || FindingsError::Contradictory { name: report.source.clone() };
        if rle.size != [report.height, report.width] {
            return Err(contradictory());
        }
        let mask = rle.decode().map_err(|_| contradictory())?;
        let is_consolidation = match named.get(&category_id) {
            Some(name) => name.eq_ignore_ascii_case(LesionKind::Consolidation.category_name()),
            None => category_id == u64::from(LesionKind::Consolidation.category()),
        };
        let kind = if is_consolidation { LesionKind::Consolidation } else { LesionKind::Lesion };
        let unscored = if score.is_some() { Origin::Model } else { Origin::Reader };
        let bare = Lesion {
            score: score.unwrap_or(1.0),
            origin: origin.unwrap_or(unscored),
            bbox: BBox::default(),
            ..Lesion::drawn(kind)
        };
        // An empty outline is none.
        report.lesions.extend(bare.with_mask(&mask, report.spacing_mm));
    }
    for report in reports.values_mut() {
        if report.lesions.iter().any(|lesion| !lesion.origin.is_model()) {
            let models = report.lesions.iter().filter(|lesion| lesion.origin.is_model());
            let model_lesions = models.cloned().collect();
            report.corrections = Some(Corrections { model_lesions, ..Corrections::default() });
        }
    }
    Ok((file.info.model, reports.into_values().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::Mask;
    use crate::export::coco::coco;
    use crate::report::ModelInfo;
    use crate::report::correction::{Correction, LesionId, Stroke};

    const SIZE: (usize, usize) = (20, 10);

    fn key(place: usize) -> SliceKey {
        SliceKey { checksum: 7, place }
    }

    fn known<'a>(names: &[&'a str]) -> Vec<KnownSlice<'a>> {
        let slice = |(place, name): (usize, &&'a str)| KnownSlice {
            name,
            size: SIZE,
            spacing_mm: Some([2.0, 0.5]),
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
    fn coco_holds_the_lesions_and_who_drew_them() {
        let bytes = serde_json::to_vec(&coco(&report())).unwrap();
        let session = read(&bytes, &known(&["study/a.dcm", "study/b.dcm"])).unwrap();
        assert_eq!(session.model, report().model);
        assert_eq!(session.slices[0].report.lesions, report().slices[0].lesions);
        let SavedSlice { report: model, corrections, .. } = &session.slices[1];
        assert_eq!(corrections.corrected(model, 0.5).report.lesions, report().slices[1].lesions);
    }

    #[test]
    fn annotations_without_scores_are_a_readers() {
        let Value::Object(mut file) = coco(&report()) else { unreachable!() };
        file.remove("info");
        for annotation in file["annotations"].as_array_mut().unwrap() {
            annotation
                .as_object_mut()
                .unwrap()
                .retain(|name, _| !["score", "origin"].contains(&name.as_str()));
        }
        let bytes = serde_json::to_vec(&file).unwrap();
        let session = read(&bytes, &known(&["study/a.dcm", "study/b.dcm"])).unwrap();
        assert_eq!(session.model, ModelsInfo::default());
        let SavedSlice { report: model, corrections, .. } = &session.slices[0];
        let lesion = &corrections.corrected(model, 0.5).report.lesions[0];
        assert_eq!(
            (lesion.origin, lesion.score, lesion.area_mm2),
            (Origin::Reader, 1.0, Some(30.0))
        );
    }

    #[test]
    fn slices_are_found_by_their_file_names_if_only_one_is_called_so() {
        let bytes = serde_json::to_vec(&report()).unwrap();
        let keys = |names: &[&str]| -> Vec<SliceKey> {
            read(&bytes, &known(names)).unwrap().slices.iter().map(|slice| slice.key).collect()
        };
        assert_eq!(keys(&["b.dcm", "elsewhere/a.dcm"]), [key(1), key(0)]);
        assert_eq!(keys(&["one/a.dcm", "two/a.dcm", "b.dcm"]), [SliceKey::NOWHERE, key(2)]);
        assert_eq!(keys(&["c.dcm"]), [SliceKey::NOWHERE; 2]);
    }

    #[test]
    fn all_lesions_of_the_model_lie_over_the_threshold() {
        for (score, expected) in [(0.07, 0.05), (0.05, 0.0), (0.31, 0.3), (0.3, 0.25), (0.8, 0.5)] {
            let mut report = report();
            report.slices = vec![found("a.dcm", &[0.9, score])];
            let session = read(&serde_json::to_vec(&report).unwrap(), &[]).unwrap();
            assert!((session.threshold - expected).abs() < 1e-6, "{score} {}", session.threshold);
        }
    }

    #[test]
    fn what_is_no_such_file_or_contradicts_the_slices_is_named() {
        let said = |bytes: &[u8]| read(bytes, &known(&["a.dcm"])).unwrap_err().to_string();
        assert!(said(b"{").contains("complete"), "{}", said(b"{"));
        assert!(said(b"{}").contains("neither"));
        assert!(
            said(br#"{"schema": "groundglass/report/9"}"#).contains("\"groundglass/report/9\"")
        );
        let with = |change: fn(&mut Report)| {
            let mut changed = report();
            change(&mut changed);
            serde_json::to_vec(&changed).unwrap()
        };
        let other = with(|report| report.slices[0] = found("a.dcm", &[]));
        assert!(read(&other, &known(&["a.dcm"])).is_ok());
        let twice = with(|report| report.slices = vec![found("a.dcm", &[]); 2]);
        assert!(said(&twice).contains("a.dcm twice"));
        let wide = with(|report| report.slices[0].width = 21);
        assert!(said(&wide).contains("(21, 10)"), "{}", said(&wide));
        let forged = with(|report| report.slices[0].lesions[0].area_px += 1);
        assert!(said(&forged).contains("contradict"));
        let forged = with(|report| report.slices[1].corrections = None);
        assert!(said(&forged).contains("contradict"));
        let polygons = br#"{"images": [{"id": 1, "file_name": "a.dcm", "width": 20, "height": 10}],
            "annotations": [{"id": 4, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}]}"#;
        assert!(said(polygons).contains("annotation 4"));
        let endless = br#"{"images": [{"id": 1, "file_name": "a", "width": 4000000000, "height": 4000000000}],
            "annotations": []}"#;
        assert!(said(endless).contains("contradict"));
    }
}
