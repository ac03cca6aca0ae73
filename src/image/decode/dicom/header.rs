//! All elements of a DICOM file, to be read by people.

use dicom_core::DataDictionary;
use dicom_core::VR;
use dicom_core::header::Header;
use dicom_core::value::Value;
use dicom_dictionary_std::StandardDataDictionary;
use dicom_object::{DefaultDicomObject, InMemDicomObject};
use serde::{Deserialize, Serialize};

use super::source::names_somebody;

/// Elements that are listed; no CT slice has as many, a hostile file may.
const MOST_ELEMENTS: usize = 5_000;
/// Characters of a value that are listed.
const MOST_CHARACTERS: usize = 200;

/// An element of a file's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderElement {
    /// Tag, such as `(0010,0010)`; `>` before it for every sequence that it lies in.
    pub tag: String,
    /// Its keyword in the standard, such as `PatientName`; none for a private or unknown element.
    pub keyword: Option<String>,
    /// Its value in words; numbers of items and bytes for sequences and binary values.
    pub value: String,
    /// Whether it names the patient or the people around, or may hold anything.
    pub names_somebody: bool,
}

/// The elements of a file in the order of their tags, those of sequences below them.
pub(super) fn of(object: &DefaultDicomObject) -> Vec<HeaderElement> {
    let mut found = Vec::new();
    list(object, 0, false, &mut found);
    found
}

fn list(object: &InMemDicomObject, depth: usize, names: bool, found: &mut Vec<HeaderElement>) {
    for element in object {
        if found.len() >= MOST_ELEMENTS {
            return;
        }
        let tag = element.tag();
        // What lies within such a sequence names somebody as well.
        let names = names || names_somebody(tag) || element.vr() == VR::PN;
        let keyword = StandardDataDictionary.by_tag(tag).map(|entry| entry.alias.to_owned());
        let nesting = "> ".repeat(depth);
        found.push(HeaderElement {
            tag: format!("{nesting}({:04X},{:04X})", tag.group(), tag.element()),
            keyword,
            value: in_words(element.vr(), element.value()),
            names_somebody: names,
        });
        for item in element.items().into_iter().flatten() {
            list(item, depth + 1, names, found);
        }
    }
}

fn in_words<P>(vr: VR, value: &Value<InMemDicomObject, P>) -> String {
    match value {
        Value::Sequence(sequence) => format!("{} items", sequence.items().len()),
        Value::PixelSequence(sequence) => format!("{} fragments", sequence.fragments().len()),
        Value::Primitive(value)
            if matches!(vr, VR::OB | VR::OW | VR::OF | VR::OD | VR::UN | VR::OL | VR::OV) =>
        {
            format!("{} bytes", value.calculate_byte_len())
        }
        Value::Primitive(value) => {
            let text = value.to_str();
            let text = text.trim_matches([' ', '\0']);
            match text.char_indices().nth(MOST_CHARACTERS) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text.to_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dicom_core::value::DataSetSequence;
    use dicom_core::{DataElement, PrimitiveValue, Tag};
    use dicom_dictionary_std::tags;

    use super::*;

    fn listed(elements: Vec<DataElement<InMemDicomObject>>) -> Vec<HeaderElement> {
        let mut found = Vec::new();
        list(&InMemDicomObject::from_element_iter(elements), 0, false, &mut found);
        found
    }

    #[test]
    fn elements_are_listed_with_those_of_sequences_below_them() {
        let referred = InMemDicomObject::from_element_iter([DataElement::new(
            tags::REFERENCED_SOP_INSTANCE_UID,
            VR::UI,
            "1.2.3",
        )]);
        let sequence = DataSetSequence::from(vec![referred]);
        let found = listed(vec![
            DataElement::new(tags::MODALITY, VR::CS, "CT"),
            DataElement::new(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, sequence),
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
                ("(0008,1140)", Some("ReferencedImageSequence"), "1 items"),
                ("> (0008,1155)", Some("ReferencedSOPInstanceUID"), "1.2.3"),
                ("(7FE0,0010)", Some("PixelData"), "512 bytes"),
            ]
        );
        assert!(found.iter().all(|element| !element.names_somebody));
    }

    #[test]
    fn what_names_somebody_is_marked_wherever_it_lies() {
        let operator = InMemDicomObject::from_element_iter([
            DataElement::new(tags::PERSON_NAME, VR::PN, "Nobody^Drawn"),
            DataElement::new(tags::MODALITY, VR::CS, "CT"),
        ]);
        let found = listed(vec![
            DataElement::new(Tag(0x0009, 0x1001), VR::SQ, DataSetSequence::from(vec![operator])),
            DataElement::new(tags::PATIENT_ID, VR::LO, "17"),
            DataElement::new(tags::ROWS, VR::US, PrimitiveValue::from(512u16)),
        ]);
        let marked: Vec<_> = found.iter().map(|element| element.names_somebody).collect();
        assert_eq!(marked, [true, true, true, true, false]);
    }

    #[test]
    fn long_values_are_cut_and_too_many_elements_left_out() {
        let found = listed(vec![DataElement::new(tags::IMAGE_COMMENTS, VR::LT, "ü".repeat(999))]);
        assert_eq!(found[0].value.chars().count(), MOST_CHARACTERS + 1);
        let many = (0..0x3000u16).map(|number| {
            DataElement::new(Tag(0x0011 + 2 * (number / 256), number % 256), VR::LO, "")
        });
        assert_eq!(listed(many.collect()).len(), MOST_ELEMENTS);
    }
}
