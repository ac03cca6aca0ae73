//! What was found on a series as a DICOM structured report: an Imaging Measurement Report (PS3.16
//! TID 1500) with a group for each lesion (TID 1410), and for each slice one for its class and one for each lung (TID 1501).

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use web_time::SystemTime;

use crate::detection::mask::contour::{Polygon, contours};
use crate::export::ExportError;
use crate::export::dicom::Identity;
use crate::export::dicom::codes::{self, LEFT_LUNG, LUNG, RIGHT_LUNG};
use crate::export::dicom::content::{
    Relation, code_item, container, container_elements, graphic, identifier, image, num_item,
    num_item_with, outline, text_item,
};
use crate::export::dicom::context::{by_series, equipment, file, patient_and_study, timestamp};
use crate::export::dicom::elements::{Code, item, sequence, text, uid};
use crate::export::dicom::referable;
use crate::image::decode::dicom_source::DicomSource;
use crate::report::lungs::LungSlice;
use crate::report::measurements::{Measurement, Shape, Unit, Values, axes};
use crate::report::{Lesion, ModelsInfo, NOTICE, Origin, SliceReport};

const REPORT: Code = ("126000", "DCM", "Imaging Measurement Report");
const LANGUAGE: Code = ("121049", "DCM", "Language of Content Item and Descendants");
const ENGLISH: Code = ("en", "RFC5646", "English");
const OBSERVER_TYPE: Code = ("121005", "DCM", "Observer Type");
const DEVICE: Code = ("121007", "DCM", "Device");
const DEVICE_UID: Code = ("121012", "DCM", "Device Observer UID");
const DEVICE_NAME: Code = ("121013", "DCM", "Device Observer Name");
const PROCEDURE: Code = ("121058", "DCM", "Procedure reported");
const CHEST_CT: Code = ("24627-2", "LN", "CT Chest");
const MEASUREMENTS: Code = ("126010", "DCM", "Imaging Measurements");
const GROUP: Code = ("125007", "DCM", "Measurement Group");
const TRACKING: Code = ("112039", "DCM", "Tracking Identifier");
const TRACKING_UID: Code = ("112040", "DCM", "Tracking Unique Identifier");
const FINDING: Code = ("121071", "DCM", "Finding");
const SITE: Code = ("363698007", "SCT", "Finding Site");
const REGION: Code = ("111030", "DCM", "Image Region");
const SOURCE: Code = ("121112", "DCM", "Source of Measurement");
const COMMENT: Code = ("121106", "DCM", "Comment");
const AREA: Code = ("42798000", "SCT", "Area");
const LENGTH: Code = ("410668003", "SCT", "Length");
const ATTENUATION: Code = ("112031", "DCM", "Attenuation Coefficient");
const DERIVATION: Code = ("121401", "DCM", "Derivation");
const MEAN: Code = ("373098007", "SCT", "Mean");
const DEVIATION: Code = ("386136009", "SCT", "Standard Deviation");
const MILLIMETRES: Code = ("mm", "UCUM", "millimeter");
const HOUNSFIELD: Code = ("[hnsf'U]", "UCUM", "Hounsfield unit");
const SQUARE_MILLIMETRES: Code = ("mm2", "UCUM", "square millimeter");
const NO_UNITS: Code = ("1", "UCUM", "no units");
const PERCENT: Code = ("%", "UCUM", "percent");
const COVERED: Code = ("covered", "99GROUNDGLASS", "Share of the lung covered by lesions");
/// Neither DICOM nor SNOMED has codes for the class probabilities of a network; these are ours.
const SCORE: Code = ("score", "99GROUNDGLASS", "Detection score");
const CONTROL: Code = ("control", "99GROUNDGLASS", "Probability of Control");
const PNEUMONIA: Code = ("pneumonia", "99GROUNDGLASS", "Probability of Common Pneumonia");
const COVID: Code = ("covid19", "99GROUNDGLASS", "Probability of COVID-19");

/// Writes what was found on a series, whose slices come with their sources.
///
/// # Errors
/// If there is no slice or the slices come from several studies.
pub fn structured_report(
    slices: &[(&SliceReport, DicomSource)],
    models: &ModelsInfo,
    identity: Identity,
    now: SystemTime,
) -> Result<Vec<u8>, ExportError> {
    let slices = &referable(slices, identity)?[..];
    let (_, source) = slices.first().ok_or(ExportError::Empty)?;
    if slices.iter().any(|(_, other)| other.study != source.study) {
        return Err(ExportError::Slices("the slices come from several studies".into()));
    }
    let timestamp = timestamp(now);
    let groups: Vec<InMemDicomObject> = slices
        .iter()
        .flat_map(|(slice, source)| {
            let lesions = slice.lesions.iter().enumerate();
            let lesions =
                lesions.filter_map(|(index, lesion)| group(index, lesion, source, models));
            let lungs = lungs_of(slice, source);
            let measured = measurements_of(slice, source);
            let class = class_of(slice, source, models);
            lesions.chain(class).chain(lungs).chain(measured).collect::<Vec<_>>()
        })
        .collect();
    let instances: Vec<&str> = slices.iter().map(|(_, s)| s.instance.as_str()).collect();
    let instance = uid(&["SR", &source.series, &timestamp, &instances.join(" ")]);

    let model = models.segmentation.as_ref().or(models.classifier.as_ref());
    let names: Vec<String> = [&models.segmentation, &models.classifier]
        .into_iter()
        .flatten()
        .map(|model| format!("{} (SHA-256 {})", model.name, model.sha256))
        .collect();
    let device = uid(&["device", env!("CARGO_PKG_VERSION"), &names.join(" ")]);
    let (context, modifier) = (Relation::ObservationContext, Relation::ConceptModifier);
    let name = format!("groundglass {}, {}", env!("CARGO_PKG_VERSION"), names.join(", "));
    let content = vec![
        code_item(modifier, LANGUAGE, ENGLISH),
        code_item(context, OBSERVER_TYPE, DEVICE),
        identifier(context, DEVICE_UID, &device),
        text_item(context, DEVICE_NAME, &name),
        code_item(modifier, PROCEDURE, CHEST_CT),
        container(MEASUREMENTS, None, groups),
    ];
    let mut object = item(patient_and_study(source, identity)?);
    for element in equipment(model, &timestamp)
        .into_iter()
        .chain(container_elements(REPORT, Some("1500"), content))
        .chain([
            text(tags::SOP_CLASS_UID, VR::UI, uids::COMPREHENSIVE_SR_STORAGE),
            text(tags::SOP_INSTANCE_UID, VR::UI, &instance),
            text(tags::MODALITY, VR::CS, "SR"),
            text(tags::SERIES_INSTANCE_UID, VR::UI, uid(&["SR series", &instance])),
            text(tags::SERIES_NUMBER, VR::IS, "9001"),
            text(tags::SERIES_DESCRIPTION, VR::LO, "groundglass findings, research use only"),
            text(tags::COMPLETION_FLAG, VR::CS, "PARTIAL"),
            text(tags::COMPLETION_FLAG_DESCRIPTION, VR::LO, NOTICE),
            text(tags::VERIFICATION_FLAG, VR::CS, "UNVERIFIED"),
            sequence(tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE, Vec::new()),
            sequence(tags::PERFORMED_PROCEDURE_CODE_SEQUENCE, Vec::new()),
            sequence(
                tags::CURRENT_REQUESTED_PROCEDURE_EVIDENCE_SEQUENCE,
                vec![evidence(slices, &source.study)],
            ),
        ])
    {
        object.put(element);
    }
    file(object, uids::COMPREHENSIVE_SR_STORAGE, &instance)
}

/// The group of a lesion; `None` for one without a mask, which has no outline.
fn group(
    index: usize,
    lesion: &Lesion,
    source: &DicomSource,
    models: &ModelsInfo,
) -> Option<InMemDicomObject> {
    let outline_of = lesion.mask.as_ref()?;
    let mask = outline_of.decode().ok()?;
    let outlines = contours(&mask);
    // A lesion in several parts is outlined by the largest; its area counts all of them.
    let largest = outlines.iter().max_by(|a, b| signed_area(a).total_cmp(&signed_area(b)))?;
    let points: Vec<(f32, f32)> = largest.iter().map(|(x, y)| (*x as f32, *y as f32)).collect();
    let place = source.frame.map(|frame| format!(" {frame}")).unwrap_or_default();
    let number = (index + 1).to_string();
    // Another model, threshold or mask is another finding: nothing may link the two.
    let model = models.segmentation.as_ref().map_or("", |model| &model.sha256);
    let drawn = format!("{outline_of:?} {}", lesion.score);
    let tracked =
        uid(&["lesion", &source.instance, &place, &number, model, lesion.label.key(), &drawn]);
    let mut items = vec![
        text_item(Relation::ObservationContext, TRACKING, &format!("Lesion {number}")),
        identifier(Relation::ObservationContext, TRACKING_UID, &tracked),
        code_item(Relation::Contains, FINDING, codes::of_kind(lesion.label)),
        code_item(Relation::ConceptModifier, SITE, LUNG),
        outline(REGION, &points, source),
    ];
    // What a reader drew has no score.
    if lesion.origin != Origin::Reader {
        items.push(num_item(SCORE, f64::from(lesion.score), NO_UNITS));
    }
    if let Some(area) = lesion.area_mm2 {
        items.push(num_item(AREA, area, SQUARE_MILLIMETRES));
    }
    if let Some(origin) = lesion.origin.summary() {
        items.push(text_item(Relation::Contains, COMMENT, origin));
    }
    if outlines.len() > 1 {
        let parts = format!("The outline is that of the largest of {} parts.", outlines.len());
        items.push(text_item(Relation::Contains, COMMENT, &parts));
    }
    Some(container(GROUP, Some("1410"), items))
}

/// The group of a slice's class.
fn class_of(
    slice: &SliceReport,
    source: &DicomSource,
    models: &ModelsInfo,
) -> Option<InMemDicomObject> {
    let corrections = slice.corrections_summary();
    let said: Vec<String> = slice.verdict_summary().into_iter().chain(corrections).collect();
    let verdict = (!said.is_empty()).then(|| said.join(". "))?;
    let place = source.frame.map(|frame| format!(" {frame}")).unwrap_or_default();
    let model = models.classifier.as_ref().map_or("", |model| &model.sha256);
    let tracked = uid(&["class", &source.instance, &place, model, &verdict]);
    let probability = |concept, value: f32| num_item(concept, f64::from(value), NO_UNITS);
    let mut items = vec![
        text_item(Relation::ObservationContext, TRACKING, "Class of the slice"),
        identifier(Relation::ObservationContext, TRACKING_UID, &tracked),
        code_item(Relation::ConceptModifier, SITE, LUNG),
        image(Relation::Contains, Some(SOURCE), source),
    ];
    if let Some(classes) = slice.classes {
        items.extend([
            probability(CONTROL, classes.control),
            probability(PNEUMONIA, classes.common_pneumonia),
            probability(COVID, classes.covid19),
        ]);
    }
    items.push(text_item(Relation::Contains, COMMENT, &verdict));
    Some(container(GROUP, Some("1501"), items))
}

/// The groups of a slice's lungs.
fn lungs_of(slice: &SliceReport, source: &DicomSource) -> Vec<InMemDicomObject> {
    let Some(lungs) = &slice.lungs else { return Vec::new() };
    let place = source.frame.map(|frame| format!(" {frame}")).unwrap_or_default();
    let group = |(lung, site): (&LungSlice, Code)| {
        let tracked = uid(&["lung", &source.instance, &place, site.0, &format!("{lung:?}")]);
        let mut items = vec![
            text_item(Relation::ObservationContext, TRACKING, site.2),
            identifier(Relation::ObservationContext, TRACKING_UID, &tracked),
            code_item(Relation::ConceptModifier, SITE, site),
            image(Relation::Contains, Some(SOURCE), source),
        ];
        if let Some([row, column]) = slice.spacing_mm {
            items.push(num_item(AREA, lung.area_px as f64 * row * column, SQUARE_MILLIMETRES));
        }
        let share = lung.affected_px as f64 / lung.area_px.max(1) as f64;
        items.push(num_item(COVERED, share * 100.0, PERCENT));
        let doubt = "The lung was found by thresholds, which can be wrong.";
        items.push(text_item(Relation::Contains, COMMENT, doubt));
        container(GROUP, Some("1501"), items)
    };
    let sides = lungs.sides().into_iter().zip([RIGHT_LUNG, LEFT_LUNG]);
    sides.filter(|(lung, _)| lung.area_px > 0).map(group).collect()
}

/// The groups of what a reader measured: rulers in millimetres, ellipses.
fn measurements_of(slice: &SliceReport, source: &DicomSource) -> Vec<InMemDicomObject> {
    let place = source.frame.map(|frame| format!(" {frame}")).unwrap_or_default();
    let group = |(index, measurement): (usize, &Measurement)| {
        let name = format!("Measurement {}", index + 1);
        let drawn = format!("{:?}", measurement.shape);
        let tracked = uid(&["measurement", &source.instance, &place, &name, &drawn]);
        let mut items = vec![
            text_item(Relation::ObservationContext, TRACKING, &name),
            identifier(Relation::ObservationContext, TRACKING_UID, &tracked),
        ];
        let single = |(x, y): (f64, f64)| (x as f32, y as f32);
        match measurement.shape {
            Shape::Ruler(ends) => {
                let ends = ends.map(single);
                let line = graphic(Relation::InferredFrom, None, "POLYLINE", &ends, source);
                items.push(image(Relation::Contains, Some(SOURCE), source));
                items.push(num_item_with(LENGTH, measurement.length_mm?, MILLIMETRES, vec![line]));
            }
            Shape::Ellipse(corners) => {
                let [(x, y), (across, down)] = axes(corners);
                let [horizontal, vertical] =
                    [[(x - across, y), (x + across, y)], [(x, y - down), (x, y + down)]];
                // The ends of the longer axis come first (PS3.3 C.18.6.1.2).
                let ends = match across >= down {
                    true => [horizontal, vertical],
                    false => [vertical, horizontal],
                };
                let ends: Vec<(f32, f32)> =
                    ends.as_flattened().iter().copied().map(single).collect();
                items.push(graphic(Relation::Contains, Some(REGION), "ELLIPSE", &ends, source));
                if let Some(area) = measurement.area_mm2 {
                    items.push(num_item(AREA, area, SQUARE_MILLIMETRES));
                }
                let values = measurement.values.filter(|values| values.unit == Unit::Hounsfield);
                if let Some(Values { mean, deviation, .. }) = values {
                    for (value, derivation) in [(mean, MEAN), (deviation, DEVIATION)] {
                        let how = code_item(Relation::ConceptModifier, DERIVATION, derivation);
                        items.push(num_item_with(ATTENUATION, value, HOUNSFIELD, vec![how]));
                    }
                }
            }
        }
        items.push(text_item(Relation::Contains, COMMENT, "Measured by a reader."));
        let template = match measurement.shape {
            Shape::Ruler(_) => "1501",
            Shape::Ellipse(_) => "1410",
        };
        Some(container(GROUP, Some(template), items))
    };
    slice.measurements.iter().enumerate().filter_map(group).collect()
}

/// Twice the area within an outline.
fn signed_area(outline: &Polygon) -> f64 {
    let next = outline.iter().cycle().skip(1);
    let cross = outline.iter().zip(next).map(|((x1, y1), (x2, y2))| {
        let [x1, y1, x2, y2] = [*x1, *y1, *x2, *y2].map(f64::from);
        x1 * y2 - x2 * y1
    });
    cross.sum::<f64>().abs()
}

/// Every slice that the report refers to.
fn evidence(slices: &[(&SliceReport, DicomSource)], study: &str) -> InMemDicomObject {
    item([
        text(tags::STUDY_INSTANCE_UID, VR::UI, study),
        sequence(
            tags::REFERENCED_SERIES_SEQUENCE,
            by_series(slices, tags::REFERENCED_SOP_SEQUENCE),
        ),
    ])
}
