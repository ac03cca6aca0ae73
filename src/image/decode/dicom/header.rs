//! The elements of a DICOM file, to be read by people.

use dicom_core::dictionary::DataDictionary;
use dicom_core::header::Header;
use dicom_core::value::Value;
use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::{DefaultDicomObject, InMemDicomObject, Tag};
use serde::{Deserialize, Serialize};

/// Elements that are listed: a file of many frames, or a hostile one, may have more.
const MOST_ELEMENTS: usize = 5_000;
/// Characters of a value that are listed.
const MOST_CHARACTERS: usize = 200;
/// Numbers of a value that are listed.
const MOST_NUMBERS: usize = 64;

/// Elements that say nothing of a person, beside those that [`is_technical`] knows by their kind.
const TECHNICAL: [Tag; 9] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::IMAGE_TYPE,
    tags::SOP_CLASS_UID,
    tags::MODALITY,
    tags::MANUFACTURER,
    tags::MANUFACTURER_MODEL_NAME,
    tags::SOFTWARE_VERSIONS,
    tags::CONVOLUTION_KERNEL,
    tags::PIXEL_DATA,
];

/// An element of a file's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderElement {
    /// Tag, such as `(0010,0010)`; `>` before it for every sequence that it lies in.
    pub tag: String,
    /// Its keyword in the standard, such as `PatientName`; none for a private or unknown element.
    pub keyword: Option<String>,
    /// Its value; of sequences the number of items, of binary values that of bytes.
    pub value: String,
    /// Whether it may say who the patient is, or lead there.
    pub may_identify: bool,
}

/// The elements of a file's data set in the order of their tags, those of sequences below them.
pub(super) fn of(object: &DefaultDicomObject) -> Vec<HeaderElement> {
    let mut found = Vec::new();
    list(object, 0, false, &mut found);
    found
}

fn list(object: &InMemDicomObject, depth: usize, is_hidden: bool, found: &mut Vec<HeaderElement>) {
    for element in object {
        if found.len() >= MOST_ELEMENTS {
            return;
        }
        let tag = element.tag();
        // What lies within a sequence that is hidden is hidden as well.
        let is_hidden = is_hidden || !is_technical(tag, element.vr());
        let keyword = StandardDataDictionary.by_tag(tag).map(|entry| entry.alias.to_owned());
        let nesting = "> ".repeat(depth);
        found.push(HeaderElement {
            tag: format!("{nesting}({:04X},{:04X})", tag.group(), tag.element()),
            keyword,
            value: display_value(element.vr(), element.value()),
            may_identify: is_hidden,
        });
        for item in element.items().into_iter().flatten() {
            list(item, depth + 1, is_hidden, found);
        }
    }
}

/// Whether an element is about the picture and how it was made, not about a person, place or time. Everything that is
/// not known to be so is not: there is no complete list of what identifies people.
fn is_technical(tag: Tag, vr: VR) -> bool {
    if TECHNICAL.contains(&tag) {
        return true;
    }
    let is_about_pictures = matches!(tag.group(), 0x0018 | 0x0020 | 0x0028 | 0x5200)
        && StandardDataDictionary.by_tag(tag).is_some();
    let is_number_or_code = matches!(
        vr,
        VR::AT
            | VR::CS
            | VR::DS
            | VR::FD
            | VR::FL
            | VR::IS
            | VR::SL
            | VR::SQ
            | VR::SS
            | VR::UL
            | VR::US
    );
    is_about_pictures && is_number_or_code
}

fn display_value<P>(vr: VR, value: &Value<InMemDicomObject, P>) -> String {
    match value {
        Value::Sequence(sequence) => format!("× {}", sequence.items().len()),
        Value::PixelSequence(sequence) => format!("× {}", sequence.fragments().len()),
        Value::Primitive(value) if is_binary(vr) => format!("{} B", value.calculate_byte_len()),
        Value::Primitive(value @ (PrimitiveValue::Str(_) | PrimitiveValue::Strs(_))) => {
            cut(&value.to_str())
        }
        // Whatever is written of a number takes many times its memory.
        Value::Primitive(value) if value.multiplicity() as usize > MOST_NUMBERS => {
            format!("{} B", value.calculate_byte_len())
        }
        Value::Primitive(value) => cut(&value.to_str()),
    }
}

fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN)
}

fn cut(text: &str) -> String {
    let text = text.trim_matches([' ', '\0']);
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::DataElement;
    use dicom_core::value::DataSetSequence;

    use super::*;

    fn listed(elements: Vec<DataElement<InMemDicomObject>>) -> Vec<HeaderElement> {
        let mut found = Vec::new();
        list(&InMemDicomObject::from_element_iter(elements), 0, false, &mut found);
        found
    }

    #[test]
    fn elements_are_listed_with_those_of_sequences_below_them() {
        let measures = InMemDicomObject::from_element_iter([DataElement::new(
            tags::SLICE_THICKNESS,
            VR::DS,
            "1.25",
        )]);
        let sequence = DataSetSequence::from(vec![measures]);
        let found = listed(vec![
            DataElement::new(tags::MODALITY, VR::CS, "CT"),
            DataElement::new(tags::PIXEL_MEASURES_SEQUENCE, VR::SQ, sequence),
            DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::from(vec![0u8; 512])),
        ]);
        let words: Vec<_> = found
            .iter()
            .map(|element| (&*element.tag, element.keyword.as_deref(), &*element.value))
            .collect();
        assert_eq!(
            words,
            [
                ("(0008,0060)", Some("Modality"), "CT"),
                ("(0028,9110)", Some("PixelMeasuresSequence"), "× 1"),
                ("> (0018,0050)", Some("SliceThickness"), "1.25"),
                ("(7FE0,0010)", Some("PixelData"), "512 B"),
            ]
        );
        assert!(found.iter().all(|element| !element.may_identify));
    }

    #[test]
    fn what_may_identify_somebody_is_marked_wherever_it_lies() {
        let operator = InMemDicomObject::from_element_iter([
            DataElement::new(tags::PERSON_NAME, VR::PN, "Nobody^Drawn"),
            DataElement::new(tags::MODALITY, VR::CS, "CT"),
        ]);
        let private = DataSetSequence::from(vec![operator]);
        let found = listed(vec![
            DataElement::new(Tag(0x0009, 0x1001), VR::SQ, private),
            DataElement::new(tags::SERIES_DATE, VR::DA, "20261128"),
            DataElement::new(tags::PATIENT_ID, VR::LO, "17"),
            DataElement::new(tags::PROTOCOL_NAME, VR::LO, "Dr. Nobody's thorax"),
            DataElement::new(Tag(0x0018, 0xFFF0), VR::CS, "UNKNOWN"),
            DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3"),
            DataElement::new(tags::IMAGE_COMMENTS, VR::LT, "seen by Nobody"),
        ]);
        assert_eq!(found.len(), 9);
        assert!(found.iter().all(|element| element.may_identify), "{found:?}");
        let found =
            listed(vec![DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(512u16))]);
        assert!(!found[0].may_identify);
    }

    #[test]
    fn long_values_are_cut_and_too_many_elements_left_out() {
        let found = listed(vec![DataElement::new(tags::IMAGE_COMMENTS, VR::LT, "ü".repeat(999))]);
        assert_eq!(found[0].value.chars().count(), MOST_CHARACTERS + 1);
        let numbers = PrimitiveValue::F64(vec![f64::MAX; 100].into());
        let found = listed(vec![DataElement::new(tags::LUT_DATA, VR::FD, numbers)]);
        assert_eq!(found[0].value, "800 B");
        let many = (0..0x3000u16).map(|number| {
            DataElement::new(Tag(0x0011 + 2 * (number / 256), number % 256), VR::LO, "")
        });
        assert_eq!(listed(many.collect()).len(), MOST_ELEMENTS);
    }
}
