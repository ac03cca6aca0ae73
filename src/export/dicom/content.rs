//! Content items of structured reports (PS3.3 C.17.3).

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use crate::export::dicom::context::reference;
use crate::export::dicom::elements::{Code, code, decimals, item, sequence, text};
use crate::image::decode::dicom_source::DicomSource;

/// How an item stands to the one that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Is a part of it.
    Contains,
    /// Says more about its concept.
    ConceptModifier,
    /// Says who observed it, and what.
    ObservationContext,
    /// Is what it was read from.
    SelectedFrom,
    /// Is what it was measured by.
    InferredFrom,
}

impl Relation {
    fn value(self) -> &'static str {
        match self {
            Self::Contains => "CONTAINS",
            Self::ConceptModifier => "HAS CONCEPT MOD",
            Self::ObservationContext => "HAS OBS CONTEXT",
            Self::SelectedFrom => "SELECTED FROM",
            Self::InferredFrom => "INFERRED FROM",
        }
    }
}

fn content(
    relation: Relation,
    kind: &str,
    concept: Option<Code>,
    values: impl IntoIterator<Item = InMemElement>,
) -> InMemDicomObject {
    let mut content = item([
        text(tags::RELATIONSHIP_TYPE, VR::CS, relation.value()),
        text(tags::VALUE_TYPE, VR::CS, kind),
    ]);
    if let Some(concept) = concept {
        content.put(code(tags::CONCEPT_NAME_CODE_SEQUENCE, concept));
    }
    for value in values {
        content.put(value);
    }
    content
}

/// Elements of a container: what it is, how it is laid out, what it holds.
pub fn container_elements(
    concept: Code,
    template: Option<&str>,
    items: Vec<InMemDicomObject>,
) -> Vec<InMemElement> {
    let mut elements = vec![
        text(tags::VALUE_TYPE, VR::CS, "CONTAINER"),
        code(tags::CONCEPT_NAME_CODE_SEQUENCE, concept),
        text(tags::CONTINUITY_OF_CONTENT, VR::CS, "SEPARATE"),
        sequence(tags::CONTENT_SEQUENCE, items),
    ];
    if let Some(template) = template {
        let template = [
            text(tags::MAPPING_RESOURCE, VR::CS, "DCMR"),
            text(tags::TEMPLATE_IDENTIFIER, VR::CS, template),
        ];
        elements.push(sequence(tags::CONTENT_TEMPLATE_SEQUENCE, vec![item(template)]));
    }
    elements
}

/// A container within another item.
pub fn container(
    concept: Code,
    template: Option<&str>,
    items: Vec<InMemDicomObject>,
) -> InMemDicomObject {
    let mut container = item(container_elements(concept, template, items));
    container.put(text(tags::RELATIONSHIP_TYPE, VR::CS, Relation::Contains.value()));
    container
}

/// A code.
pub fn code_item(relation: Relation, concept: Code, value: Code) -> InMemDicomObject {
    content(relation, "CODE", Some(concept), [code(tags::CONCEPT_CODE_SEQUENCE, value)])
}

/// A text.
pub fn text_item(relation: Relation, concept: Code, value: &str) -> InMemDicomObject {
    content(relation, "TEXT", Some(concept), [text(tags::TEXT_VALUE, VR::UT, value)])
}

/// A unique identifier.
pub fn identifier(relation: Relation, concept: Code, value: &str) -> InMemDicomObject {
    content(relation, "UIDREF", Some(concept), [text(tags::UID, VR::UI, value)])
}

/// A number with its unit.
pub fn num_item(concept: Code, value: f64, unit: Code) -> InMemDicomObject {
    num_item_with(concept, value, unit, Vec::new())
}

/// The same with items that say more of it.
pub fn num_item_with(
    concept: Code,
    value: f64,
    unit: Code,
    more: Vec<InMemDicomObject>,
) -> InMemDicomObject {
    let value = item([
        decimals(tags::NUMERIC_VALUE, &[value]),
        code(tags::MEASUREMENT_UNITS_CODE_SEQUENCE, unit),
    ]);
    let value = sequence(tags::MEASURED_VALUE_SEQUENCE, vec![value]);
    let mut content = content(Relation::Contains, "NUM", Some(concept), [value]);
    if !more.is_empty() {
        content.put(sequence(tags::CONTENT_SEQUENCE, more));
    }
    content
}

/// A slice, or one frame of a file of many.
pub fn image(relation: Relation, concept: Option<Code>, source: &DicomSource) -> InMemDicomObject {
    let mut referenced = reference(source);
    if let Some(frame) = source.frame {
        referenced.push(text(tags::REFERENCED_FRAME_NUMBER, VR::IS, frame.to_string()));
    }
    content(
        relation,
        "IMAGE",
        concept,
        [sequence(tags::REFERENCED_SOP_SEQUENCE, vec![item(referenced)])],
    )
}

/// A closed outline on a slice; points are columns and rows, the first pixel's centre at (0.5, 0.5).
pub fn outline(concept: Code, points: &[(f32, f32)], source: &DicomSource) -> InMemDicomObject {
    let closed: Vec<(f32, f32)> = points.iter().chain(points.first()).copied().collect();
    graphic(Relation::Contains, Some(concept), "POLYLINE", &closed, source)
}

/// Points on a slice, and what is drawn through them.
pub fn graphic(
    relation: Relation,
    concept: Option<Code>,
    kind: &str,
    points: &[(f32, f32)],
    source: &DicomSource,
) -> InMemDicomObject {
    let values: Vec<f32> = points.iter().flat_map(|(x, y)| [*x, *y]).collect();
    content(
        relation,
        "SCOORD",
        concept,
        [
            text(tags::GRAPHIC_TYPE, VR::CS, kind),
            DataElement::new(tags::GRAPHIC_DATA, VR::FL, PrimitiveValue::F32(values.into())),
            sequence(tags::CONTENT_SEQUENCE, vec![image(Relation::SelectedFrom, None, source)]),
        ],
    )
}
