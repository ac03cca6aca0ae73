//! The masks of a series as a DICOM segmentation (PS3.3 A.51): binary, a segment for each kind of
//! lesion, a frame for each slice where the segment is.

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;
use web_time::SystemTime;

use crate::classes::LesionKind;
use crate::export::ExportError;
use crate::export::dicom::Identity;
use crate::export::dicom::codes::{GROUND_GLASS, LESION, LUNG};
use crate::export::dicom::colour::cielab;
use crate::export::dicom::context::{
    by_series, equipment, file, patient_and_study, reference, timestamp,
};
use crate::export::dicom::elements::{Code, code, decimals, item, sequence, short, text, uid};
use crate::export::dicom::referable;
use crate::image::decode::dicom_source::DicomSource;
use crate::image::plane::is_same_spacing;
use crate::report::{ModelsInfo, NOTICE, Origin, SliceReport};

const ABNORMAL: Code = ("49755003", "SCT", "Morphologically Abnormal Structure");
const DERIVED_BY_SEGMENTATION: Code = ("113076", "DCM", "Segmentation");
const SOURCE_FOR_PROCESSING: Code =
    ("121322", "DCM", "Source image for image processing operation");
/// Slice thickness where neither file nor series tells.
const THICKNESS_MM: f64 = 1.0;

/// A segment that no program had a part in.
const MANUAL: &str = "MANUAL";

/// A kind of lesion.
struct Segment {
    label: &'static str,
    description: &'static str,
    kind: Code,
}

const SEGMENTS: [(LesionKind, Segment); 3] = [
    (
        LesionKind::Lesion,
        Segment { label: "Lesion", description: "Ground glass or consolidation", kind: LESION },
    ),
    (
        LesionKind::GroundGlass,
        Segment { label: "Ground glass", description: "Ground-glass opacity", kind: GROUND_GLASS },
    ),
    (
        LesionKind::Consolidation,
        // DICOM's own context groups have no code for it.
        Segment { label: "Consolidation", description: "Consolidation", kind: LESION },
    ),
];

struct Frame<'a> {
    segment: usize,
    slice: usize,
    source: &'a DicomSource,
    pixels: Vec<bool>,
}

/// Writes the masks of a series, whose slices come with their sources in the order of their places.
///
/// # Errors
/// If there is no lesion, or the slices do not belong together.
pub fn segmentation(
    slices: &[(&SliceReport, DicomSource)],
    models: &ModelsInfo,
    identity: Identity,
    now: SystemTime,
) -> Result<Vec<u8>, ExportError> {
    let unfit = |reason: &str| ExportError::Slices(reason.to_owned());
    let slices = &referable(slices, identity)?[..];
    let (first, source) = slices.first().ok_or(ExportError::Empty)?;
    let size = (first.width, first.height);
    let orientation =
        source.plane.ok_or_else(|| unfit("the file does not say where the slice lies"))?;
    for (slice, other) in slices {
        if (slice.width, slice.height) != size || other.study != source.study {
            return Err(unfit("the slices differ in size or come from several studies"));
        }
        if !other.plane.is_some_and(|plane| plane.is_parallel_to(&orientation)) {
            return Err(unfit("the slices are not parallel"));
        }
        if !is_same_spacing(other.spacing_mm, source.spacing_mm) {
            return Err(unfit("the slices have pixels of different sizes"));
        }
        if other.frame_of_reference != source.frame_of_reference {
            return Err(unfit("the slices lie in different frames of reference"));
        }
    }
    let side = |length| u16::try_from(length).map_err(|_| unfit("the slices are too large"));
    let (columns, rows) = (side(size.0)?, side(size.1)?);
    let mut segments = Vec::new();
    let mut frames = Vec::new();
    for (kind, segment) in &SEGMENTS {
        let of_segment: Vec<Frame<'_>> = slices
            .iter()
            .enumerate()
            .filter_map(|(slice, (report, source))| {
                let pixels = union(report, *kind)?;
                Some(Frame { segment: segments.len(), slice, source, pixels })
            })
            .collect();
        if !of_segment.is_empty() {
            frames.extend(of_segment);
            segments.push((*kind, segment));
        }
    }
    if frames.is_empty() {
        return Err(ExportError::NoLesions);
    }
    let timestamp = timestamp(now);
    let content = frames.iter().map(|frame| fingerprint(frame)).collect::<Vec<_>>().join(" ");
    let instance = uid(&["SEG", &source.series, &timestamp, &content]);
    let mut object = item(patient_and_study(source, identity)?);
    for element in equipment(models.segmentation.as_ref(), &timestamp) {
        object.put(element);
    }
    let is_lossy = slices.iter().any(|(_, source)| source.lossy);
    for element in series(source, &timestamp, &content, is_lossy) {
        object.put(element);
    }
    for element in [
        text(tags::SOP_INSTANCE_UID, VR::UI, &instance),
        short(tags::ROWS, rows),
        short(tags::COLUMNS, columns),
        text(tags::NUMBER_OF_FRAMES, VR::IS, frames.len().to_string()),
        sequence(
            tags::SEGMENT_SEQUENCE,
            segments
                .iter()
                .enumerate()
                .map(|(index, segment)| describe(index, *segment, slices, models))
                .collect(),
        ),
        sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared(slices)]),
        sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.iter().map(of_frame).collect()),
        sequence(
            tags::REFERENCED_SERIES_SEQUENCE,
            by_series(slices, tags::REFERENCED_INSTANCE_SEQUENCE),
        ),
        DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(pack(&frames).into())),
    ] {
        object.put(element);
    }
    for element in dimensions(&uid(&["dimensions", &instance])) {
        object.put(element);
    }
    file(object, uids::SEGMENTATION_STORAGE, &instance)
}

/// The pixels of all lesions of a kind; `None` without any.
fn union(report: &SliceReport, kind: LesionKind) -> Option<Vec<bool>> {
    let mut pixels = vec![false; report.width * report.height];
    for lesion in report.lesions.iter().filter(|lesion| lesion.label == kind) {
        let Some(mask) = lesion.mask.as_ref().and_then(|rle| rle.decode().ok()) else { continue };
        for (pixel, inside) in pixels.iter_mut().zip(&mask.pixels) {
            *pixel |= *inside;
        }
    }
    pixels.contains(&true).then_some(pixels)
}

/// One bit a pixel, the first lowest; frames follow each other without a gap (PS3.5 8.1.1).
fn pack(frames: &[Frame<'_>]) -> Vec<u8> {
    let bits: Vec<bool> = frames.iter().flat_map(|frame| frame.pixels.iter().copied()).collect();
    let mut bytes: Vec<u8> = bits
        .chunks(8)
        .map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
        .collect();
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
    bytes
}

fn fingerprint(frame: &Frame<'_>) -> String {
    let bytes = pack(std::slice::from_ref(frame));
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    format!("{} {} {}", frame.segment, frame.source.instance, uid(&[&text]))
}

fn series(
    source: &DicomSource,
    timestamp: &str,
    content: &str,
    is_lossy: bool,
) -> Vec<InMemElement> {
    let frame_of_reference = source.frame_of_reference.clone();
    // Slices with places but no name for their coordinates share those of their series.
    let frame_of_reference =
        frame_of_reference.unwrap_or_else(|| uid(&["frame of reference", &source.series]));
    vec![
        text(tags::SOP_CLASS_UID, VR::UI, uids::SEGMENTATION_STORAGE),
        text(tags::MODALITY, VR::CS, "SEG"),
        text(
            tags::SERIES_INSTANCE_UID,
            VR::UI,
            uid(&["SEG series", &source.series, timestamp, content]),
        ),
        text(tags::SERIES_NUMBER, VR::IS, "9000"),
        text(tags::SERIES_DESCRIPTION, VR::LO, "groundglass lesions, research use only"),
        text(tags::FRAME_OF_REFERENCE_UID, VR::UI, frame_of_reference),
        text(tags::POSITION_REFERENCE_INDICATOR, VR::LO, ""),
        text(tags::IMAGE_TYPE, VR::CS, "DERIVED\\PRIMARY"),
        text(tags::CONTENT_LABEL, VR::CS, "LESIONS"),
        text(tags::CONTENT_DESCRIPTION, VR::LO, NOTICE),
        text(tags::CONTENT_CREATOR_NAME, VR::PN, ""),
        short(tags::SAMPLES_PER_PIXEL, 1),
        text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        short(tags::BITS_ALLOCATED, 1),
        short(tags::BITS_STORED, 1),
        short(tags::HIGH_BIT, 0),
        short(tags::PIXEL_REPRESENTATION, 0),
        // What is made from pictures that lost something has lost it too (PS3.3 C.7.6.1.1.5).
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, if is_lossy { "01" } else { "00" }),
        text(tags::SEGMENTATION_TYPE, VR::CS, "BINARY"),
        text(tags::SEGMENTS_OVERLAP, VR::CS, "UNDEFINED"),
    ]
}

fn describe(
    index: usize,
    (kind, segment): (LesionKind, &Segment),
    slices: &[(&SliceReport, DicomSource)],
    models: &ModelsInfo,
) -> InMemDicomObject {
    let mut lesions =
        slices.iter().flat_map(|(slice, _)| &slice.lesions).filter(|lesion| lesion.label == kind);
    let is_corrected = slices.iter().any(|(slice, _)| slice.has_edited_lesions(Some(kind)));
    let (algorithm, edited) = match is_corrected {
        false => ("AUTOMATIC", ""),
        true if lesions.all(|lesion| lesion.origin == Origin::Reader) => {
            (MANUAL, ", drawn by a reader")
        }
        true => ("SEMIAUTOMATIC", ", edited by a reader"),
    };
    let model = models.segmentation.as_ref().map_or("unknown model", |model| &model.name);
    let colour = PrimitiveValue::U16(cielab(kind.rgb()).to_vec().into());
    let mut described = item([
        short(tags::SEGMENT_NUMBER, index as u16 + 1),
        text(tags::SEGMENT_LABEL, VR::LO, segment.label),
        text(
            tags::SEGMENT_DESCRIPTION,
            VR::ST,
            format!("{}{edited}. {NOTICE}", segment.description),
        ),
        text(tags::SEGMENT_ALGORITHM_TYPE, VR::CS, algorithm),
        code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, ABNORMAL),
        code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, segment.kind),
        code(tags::ANATOMIC_REGION_SEQUENCE, LUNG),
        DataElement::new(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, VR::US, colour),
    ]);
    // What a hand drew has no algorithm.
    if algorithm != MANUAL {
        let name = format!("groundglass {model}");
        described.put(text(tags::SEGMENT_ALGORITHM_NAME, VR::LO, name));
    }
    described
}

/// What holds for all frames.
fn shared(slices: &[(&SliceReport, DicomSource)]) -> InMemDicomObject {
    let source = &slices[0].1;
    let offsets: Vec<f64> =
        slices.iter().filter_map(|(_, source)| Some(source.plane?.offset())).collect();
    let gap = offsets.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(f64::MAX, f64::min);
    let thickness = source.thickness_mm.unwrap_or(if gap < f64::MAX { gap } else { THICKNESS_MM });
    let mut measures = vec![
        decimals(tags::SLICE_THICKNESS, &[thickness]),
        decimals(tags::PIXEL_SPACING, &source.spacing_mm.unwrap_or([1.0, 1.0])),
    ];
    if gap < f64::MAX {
        measures.push(decimals(tags::SPACING_BETWEEN_SLICES, &[gap]));
    }
    let orientation = source.plane.map(|plane| [plane.along_row, plane.along_column].concat());
    item([
        sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![item(measures)]),
        sequence(
            tags::PLANE_ORIENTATION_SEQUENCE,
            vec![item([decimals(
                tags::IMAGE_ORIENTATION_PATIENT,
                &orientation.unwrap_or_default(),
            )])],
        ),
    ])
}

fn of_frame(frame: &Frame<'_>) -> InMemDicomObject {
    let mut source = reference(frame.source);
    if let Some(number) = frame.source.frame {
        source.push(text(tags::REFERENCED_FRAME_NUMBER, VR::IS, number.to_string()));
    }
    source.push(text(tags::SPATIAL_LOCATIONS_PRESERVED, VR::CS, "YES"));
    source.push(code(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE, SOURCE_FOR_PROCESSING));
    let derivation = [
        code(tags::DERIVATION_CODE_SEQUENCE, DERIVED_BY_SEGMENTATION),
        sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![item(source)]),
    ];
    let index = [frame.segment as u32 + 1, frame.slice as u32 + 1];
    let index = PrimitiveValue::U32(index.to_vec().into());
    let origin = frame.source.plane.map_or([0.0; 3], |plane| plane.origin);
    let segment = short(tags::REFERENCED_SEGMENT_NUMBER, frame.segment as u16 + 1);
    item([
        sequence(
            tags::FRAME_CONTENT_SEQUENCE,
            vec![item([DataElement::new(tags::DIMENSION_INDEX_VALUES, VR::UL, index)])],
        ),
        sequence(
            tags::PLANE_POSITION_SEQUENCE,
            vec![item([decimals(tags::IMAGE_POSITION_PATIENT, &origin)])],
        ),
        sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![item([segment])]),
        sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![item(derivation)]),
    ])
}

/// The two dimensions that frames are ordered by: segment, place.
fn dimensions(organization: &str) -> Vec<InMemElement> {
    let dimension = |pointer, group, label: &str| {
        item([
            text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization),
            DataElement::new(tags::DIMENSION_INDEX_POINTER, VR::AT, PrimitiveValue::from(pointer)),
            DataElement::new(tags::FUNCTIONAL_GROUP_POINTER, VR::AT, PrimitiveValue::from(group)),
            text(tags::DIMENSION_DESCRIPTION_LABEL, VR::LO, label),
        ])
    };
    vec![
        sequence(
            tags::DIMENSION_ORGANIZATION_SEQUENCE,
            vec![item([text(tags::DIMENSION_ORGANIZATION_UID, VR::UI, organization)])],
        ),
        sequence(
            tags::DIMENSION_INDEX_SEQUENCE,
            vec![
                dimension(
                    tags::REFERENCED_SEGMENT_NUMBER,
                    tags::SEGMENT_IDENTIFICATION_SEQUENCE,
                    "Segment",
                ),
                dimension(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Position"),
            ],
        ),
    ]
}
