//! Checks what a DICOM data set says of its lengths before anything is read by it: the reader takes
//! memory for as many bytes as an element claims, whether the file has them or not.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_object::StandardDataDictionary;

const EXPLICIT_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const IMPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2";
const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
const ITEM: Tag = Tag(0xFFFE, 0xE000);
const SEQUENCE_END: Tag = Tag(0xFFFE, 0xE0DD);
const DELIMITERS: u16 = 0xFFFE;
const UNDEFINED: usize = u32::MAX as usize;
/// Value representations whose length has two bytes in explicit encodings; all others have four.
const SHORT: [&[u8]; 21] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
    b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
];

/// Bytes of one value of a representation: the reader takes whole values only, and goes on behind them.
fn unit(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW => 2,
        VR::AT | VR::FL | VR::OF | VR::OL | VR::SL | VR::UL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

/// Walks through the elements of a data set, into its sequences, without reading a value.
///
/// # Errors
/// If an element claims more bytes than are left, in words.
pub fn check(data: &[u8], transfer_syntax: &str) -> Result<(), String> {
    let is_big = transfer_syntax == EXPLICIT_BIG_ENDIAN;
    let all_implicit = transfer_syntax == IMPLICIT_LITTLE_ENDIAN;
    let number = |bytes: &[u8]| {
        let digits = bytes.iter().map(|byte| usize::from(*byte));
        let join = |value: usize, byte: usize| value << 8 | byte;
        if is_big { digits.fold(0, join) } else { digits.rev().fold(0, join) }
    };
    let mut position = 0;
    // Inside pixel data in fragments, whose items hold bytes and no elements.
    let mut fragments = false;
    // Depth within a value of unknown representation, which is always encoded implicitly.
    let mut unknown_depth = 0usize;
    while let Some(header) = data.get(position..position + 8) {
        let tag = Tag(number(&header[..2]) as u16, number(&header[2..4]) as u16);
        let is_implicit = all_implicit || unknown_depth > 0;
        let mut vr = VR::UN;
        let mut is_delimiter = false;
        let (header_length, length) = if tag.group() == DELIMITERS {
            is_delimiter = tag != ITEM || !fragments;
            if tag == SEQUENCE_END {
                fragments = false;
                unknown_depth = unknown_depth.saturating_sub(1);
            }
            (8, number(&header[4..8]))
        } else if is_implicit {
            vr = StandardDataDictionary.by_tag(tag).map_or(VR::UN, |entry| entry.vr().relaxed());
            (8, number(&header[4..8]))
        } else if SHORT.contains(&&header[4..6]) {
            vr = VR::from_binary([header[4], header[5]]).unwrap_or(VR::UN);
            (8, number(&header[6..8]))
        } else {
            let Some(long) = data.get(position + 8..position + 12) else { break };
            vr = VR::from_binary([header[4], header[5]]).unwrap_or(VR::UN);
            (12, number(long))
        };
        position += header_length;
        if length == UNDEFINED {
            fragments |= tag == PIXEL_DATA;
            let is_value = tag.group() != DELIMITERS && tag != PIXEL_DATA;
            if is_value && (vr == VR::UN || unknown_depth > 0) {
                unknown_depth += 1;
            }
            continue;
        }
        let left = data.len() - position;
        if length > left {
            return Err(format!("element {tag} claims {length} bytes, {left} are left"));
        }
        if !is_delimiter && vr != VR::SQ {
            position += length - length % unit(vr);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An explicit little endian element.
    fn element(tag: Tag, vr: &[u8; 2], length: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat();
        bytes.extend(vr);
        bytes.extend([0, 0]);
        bytes.extend(length.to_le_bytes());
        bytes.extend(value);
        bytes
    }

    fn item(tag: Tag, length: u32, value: &[u8]) -> Vec<u8> {
        let mut bytes = [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat();
        bytes.extend(length.to_le_bytes());
        bytes.extend(value);
        bytes
    }

    const EXPLICIT: &str = "1.2.840.10008.1.2.1";
    const END: Tag = SEQUENCE_END;

    #[test]
    fn a_length_beyond_the_file_is_refused_at_any_depth() {
        let long = element(PIXEL_DATA, b"OW", 3_000_000_000, &[1, 2, 3, 4]);
        let refused = check(&long, EXPLICIT).unwrap_err();
        assert!(refused.contains("3000000000 bytes, 4 are left"), "{refused}");
        let inside = item(ITEM, u32::MAX, &long);
        let sequence = element(Tag(0x0040, 0x0275), b"SQ", u32::MAX, &inside);
        assert!(check(&sequence, EXPLICIT).is_err());
        // The same element without representation, as in an unknown sequence.
        let implicit = item(PIXEL_DATA, 3_000_000_000, &[]);
        let unknown =
            element(Tag(0x0099, 0x1010), b"UN", u32::MAX, &item(ITEM, u32::MAX, &implicit));
        assert!(check(&unknown, EXPLICIT).is_err());
        assert!(check(&implicit, IMPLICIT_LITTLE_ENDIAN).is_err());
    }

    #[test]
    fn the_walk_goes_on_where_the_reader_does() {
        // Found by fuzzing: of one byte the reader makes no number of four, and reads the byte again.
        let mut data = item(Tag(0, 0), 1, &[]);
        data.extend(item(PIXEL_DATA, 3_000_000_000, &[]));
        data.push(0);
        assert!(check(&data, IMPLICIT_LITTLE_ENDIAN).is_err());
    }

    #[test]
    fn lengths_of_two_bytes_are_read_as_such() {
        for vr in SHORT {
            let mut data = vec![8, 0, 0, 0, vr[0], vr[1], 8, 0];
            data.extend([0xff; 8]);
            data.extend(element(PIXEL_DATA, b"OW", 4, &[1, 2, 3, 4]));
            assert_eq!(check(&data, EXPLICIT), Ok(()));
            data.truncate(data.len() - 1);
            assert!(check(&data, EXPLICIT).is_err(), "{vr:?}");
        }
    }

    #[test]
    fn fragments_hold_bytes_and_no_elements() {
        let mut data = element(PIXEL_DATA, b"OB", u32::MAX, &item(ITEM, 0, &[]));
        // A fragment whose bytes look like an element of great length.
        data.extend(item(ITEM, 12, &element(PIXEL_DATA, b"OW", 3_000_000_000, &[])));
        data.extend(item(END, 0, &[]));
        data.extend(element(Tag(0xFFFC, 0xFFFC), b"OB", 2, &[0, 0]));
        assert_eq!(check(&data, EXPLICIT), Ok(()));
    }

    #[test]
    fn elements_after_an_unknown_sequence_are_explicit_again() {
        let implicit = item(Tag(0x0010, 0x0010), 4, b"A^B ");
        let mut inside = item(ITEM, u32::MAX, &implicit);
        inside.extend(item(Tag(0xFFFE, 0xE00D), 0, &[]));
        inside.extend(item(END, 0, &[]));
        let mut data = element(Tag(0x0099, 0x1010), b"UN", u32::MAX, &inside);
        data.extend(element(PIXEL_DATA, b"OW", 4, &[1, 2, 3, 4]));
        assert_eq!(check(&data, EXPLICIT), Ok(()));
        data.truncate(data.len() - 1);
        assert!(check(&data, EXPLICIT).is_err());
    }
}
