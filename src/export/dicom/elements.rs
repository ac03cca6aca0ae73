//! Short ways to write DICOM elements.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::mem::InMemElement;
use dicom_object::{InMemDicomObject, Tag};
use sha2::{Digest, Sha256};

/// A data set of elements.
pub fn item(elements: impl IntoIterator<Item = InMemElement>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

/// A text element; several values are separated by a backslash.
pub fn text(tag: Tag, vr: VR, value: impl AsRef<str>) -> InMemElement {
    DataElement::new(tag, vr, PrimitiveValue::from(value.as_ref()))
}

/// An unsigned 16-bit number.
pub fn short(tag: Tag, value: u16) -> InMemElement {
    DataElement::new(tag, VR::US, PrimitiveValue::from(value))
}

/// A sequence.
pub fn sequence(tag: Tag, items: Vec<InMemDicomObject>) -> InMemElement {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

/// Decimal strings. They hold 16 characters at most, so a value has as many digits as fit.
pub fn decimals(tag: Tag, values: &[f64]) -> InMemElement {
    text(tag, VR::DS, values.iter().map(|value| decimal(*value)).collect::<Vec<_>>().join("\\"))
}

fn decimal(value: f64) -> String {
    let plain = format!("{value}");
    if plain.len() <= 16 {
        return plain;
    }
    // Plain digits of a value small enough for them, else the shortest exponent form that fits.
    (0..=14)
        .rev()
        .map(|digits| format!("{value:.digits$}"))
        .find(|text| text.len() <= 16)
        .filter(|_| value.abs() >= 1e-4)
        .unwrap_or_else(|| format!("{value:.8e}"))
}

/// A code: value, scheme, meaning.
pub type Code = (&'static str, &'static str, &'static str);

/// A sequence of one code.
pub fn code(tag: Tag, code: Code) -> InMemElement {
    sequence(tag, vec![code_item(code)])
}

/// An item of such a sequence.
pub fn code_item((value, scheme, meaning): Code) -> InMemDicomObject {
    use dicom_dictionary_std::tags;
    item([
        text(tags::CODE_VALUE, VR::SH, value),
        text(tags::CODING_SCHEME_DESIGNATOR, VR::SH, scheme),
        text(tags::CODE_MEANING, VR::LO, meaning),
    ])
}

/// A unique identifier made from what it identifies: `2.25.` and the number of a UUID (version 8,
/// RFC 9562) that is a hash of `parts`.
pub fn uid(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    format!("2.25.{}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_decimal_string_fits_and_keeps_its_value(value in prop_oneof![-1e6f64..1e6, -1.0f64..1.0, -1e-6f64..1e-6]) {
            let text = decimal(value);
            prop_assert!(text.len() <= 16, "{text}");
            let back: f64 = text.parse().unwrap();
            prop_assert!((back - value).abs() <= 1e-7 * value.abs().max(1e-3), "{value} {text}");
        }

        #[test]
        fn an_identifier_is_valid_and_differs_with_its_parts(a in ".+", b in ".+") {
            let one = uid(&[&a, &b]);
            prop_assert!(one.len() <= 64 && one.starts_with("2.25."));
            // Not even where the parts are the same letters, cut elsewhere.
            prop_assert_ne!(&one, &uid(&[&format!("{a}{b}")]));
            prop_assert_ne!(&one, &uid(&[&a, &b, ""]));
        }
    }
}
