//! Checks what a DICOM data set says of its lengths, and how deep and long it is, before anything is read by
//! it: the reader takes memory for as many bytes as an element claims, whether the file has them or not, and
//! calls itself for every sequence in a sequence.

use std::io::Cursor;

use dicom_core::VR;
use dicom_encoding::transfer_syntax::TransferSyntax;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_parser::stateful::decode::StatefulDecode;
use thiserror::Error;

use crate::image::decode::limits::{MAX_DEPTH, MAX_ELEMENTS};

/// Bytes of one number of an offset table.
const OFFSET: usize = 4;

/// Why a data set is not read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LengthError {
    /// Sequences in sequences.
    #[error("sequences lie more than {MAX_DEPTH} deep in each other")]
    Depth,
    /// Too many.
    #[error("more than {MAX_ELEMENTS} elements")]
    Elements,
    /// A length that the file has not.
    #[error("{name} claims {length} bytes, {left} are left")]
    Beyond {
        /// Which element.
        name: String,
        /// Bytes that it claims.
        length: u32,
        /// Bytes that are there.
        left: u64,
    },
}

/// Bytes of one value of a representation: the reader takes whole values only, and continues behind them.
fn unit(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW => 2,
        VR::AT | VR::FL | VR::OF | VR::OL | VR::SL | VR::UL => 4,
        VR::FD | VR::OD | VR::OV | VR::SV | VR::UV => 8,
        _ => 1,
    }
}

/// Walks through the elements of a data set as the reader does, but skips the values; gives their number.
///
/// # Errors
/// If an element claims more bytes than are left, or there are too many elements or too deep sequences. Of what
/// else is wrong the reader's own errors say more.
pub fn check(data: &[u8], syntax: &TransferSyntax) -> Result<usize, LengthError> {
    let Ok(mut reader) = LazyDataSetReader::new_with_ts(Cursor::new(data), syntax) else {
        return Ok(0);
    };
    let mut is_offset_table = false;
    let (mut elements, mut depth) = (0usize, 0usize);
    while let Some(Ok(token)) = reader.advance() {
        let (name, length, unit, decoder) = match token {
            LazyDataToken::PixelSequenceStart => {
                depth += 1;
                is_offset_table = true;
                continue;
            }
            LazyDataToken::SequenceStart { .. } => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(LengthError::Depth);
                }
                continue;
            }
            LazyDataToken::SequenceEnd => {
                depth = depth.saturating_sub(1);
                continue;
            }
            LazyDataToken::ElementHeader(_) | LazyDataToken::ItemStart { .. } => {
                elements += 1;
                if elements > MAX_ELEMENTS {
                    return Err(LengthError::Elements);
                }
                continue;
            }
            // An empty offset table.
            LazyDataToken::ItemEnd => {
                is_offset_table = false;
                continue;
            }
            LazyDataToken::LazyValue { header, decoder } => {
                let unit = unit(header.vr);
                (format!("element {}", header.tag), header.len.0, unit, decoder)
            }
            LazyDataToken::LazyItemValue { len, decoder } => {
                let unit = if std::mem::take(&mut is_offset_table) { OFFSET } else { 1 };
                ("a fragment of the pixels".to_owned(), len, unit, decoder)
            }
            _ => continue,
        };
        let left = data.len() as u64 - decoder.position();
        if u64::from(length) > left {
            return Err(LengthError::Beyond { name, length, left });
        }
        if decoder.skip_bytes(length - length % unit as u32).is_err() {
            break;
        }
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_core::Tag;
    use dicom_transfer_syntax_registry::entries::{
        EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN,
    };

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

    const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);
    const ITEM: Tag = Tag(0xFFFE, 0xE000);
    const END: Tag = Tag(0xFFFE, 0xE0DD);
    /// Value representations whose length has two bytes in explicit encodings; all others have four.
    const SHORT: [&[u8; 2]; 21] = [
        b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN",
        b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
    ];

    fn explicit(data: &[u8]) -> Result<usize, LengthError> {
        check(data, &EXPLICIT_VR_LITTLE_ENDIAN.erased())
    }

    fn implicit(data: &[u8]) -> Result<usize, LengthError> {
        check(data, &IMPLICIT_VR_LITTLE_ENDIAN.erased())
    }

    #[test]
    fn a_length_beyond_the_file_is_refused_at_any_depth() {
        let long = element(PIXEL_DATA, b"OW", 3_000_000_000, &[1, 2, 3, 4]);
        let refused = explicit(&long).unwrap_err().to_string();
        assert!(refused.contains("3000000000 bytes, 4 are left"), "{refused}");
        let inside = item(ITEM, u32::MAX, &long);
        let sequence = element(Tag(0x0040, 0x0275), b"SQ", u32::MAX, &inside);
        assert!(explicit(&sequence).is_err());
        let claim = item(PIXEL_DATA, 3_000_000_000, &[]);
        assert!(implicit(&claim).is_err());
    }

    #[test]
    fn the_walk_goes_on_where_the_reader_does() {
        // Found by fuzzing: of one byte the reader makes no number of four, and reads the byte again.
        let mut data = item(Tag(0, 0), 1, &[]);
        data.extend(item(PIXEL_DATA, 3_000_000_000, &[]));
        data.push(0);
        assert!(implicit(&data).is_err());
    }

    #[test]
    fn an_unknown_delimiter_is_an_element_like_others() {
        // Found by fuzzing.
        let mut data = item(Tag(0xFFFE, 0x49FF), 2, &[0, 0]);
        data.extend(element(PIXEL_DATA, b"OW", 3_000_000_000, &[]));
        assert!(explicit(&data).is_err());
    }

    #[test]
    fn sequences_may_lie_in_each_other_but_not_without_end() {
        let sequence = Tag(0x0040, 0x0275);
        let nested = |depth: usize| {
            let start =
                [element(sequence, b"SQ", u32::MAX, &[]), item(ITEM, u32::MAX, &[])].concat();
            explicit(&start.repeat(depth))
        };
        assert!(nested(MAX_DEPTH).is_ok());
        let refused = nested(MAX_DEPTH + 1).unwrap_err().to_string();
        assert!(refused.contains("64 deep"), "{refused}");
    }

    #[test]
    fn items_are_counted() {
        let mut data = element(Tag(0x0040, 0x0275), b"SQ", u32::MAX, &[]);
        data.extend(item(ITEM, 0, &[]).repeat(MAX_ELEMENTS + 1));
        let refused = explicit(&data).unwrap_err().to_string();
        assert!(refused.contains("more than 500000 elements"), "{refused}");
    }

    #[test]
    fn lengths_of_two_bytes_are_read_as_such() {
        for vr in SHORT {
            let mut data = vec![8, 0, 0, 0, vr[0], vr[1], 8, 0];
            data.extend([0xff; 8]);
            data.extend(element(PIXEL_DATA, b"OW", 4, &[1, 2, 3, 4]));
            assert!(explicit(&data).is_ok());
            data.truncate(data.len() - 1);
            assert!(explicit(&data).is_err(), "{vr:?}");
        }
    }

    #[test]
    fn fragments_hold_bytes_and_no_elements() {
        let mut data = element(PIXEL_DATA, b"OB", u32::MAX, &item(ITEM, 0, &[]));
        // A fragment whose bytes look like an element of great length.
        data.extend(item(ITEM, 12, &element(PIXEL_DATA, b"OW", 3_000_000_000, &[])));
        // An odd number of pairs of bytes: only offset tables are read by fours.
        data.extend(item(ITEM, 6, &[0; 6]));
        data.extend(item(END, 0, &[]));
        data.extend(element(Tag(0xFFFC, 0xFFFC), b"OB", 2, &[0, 0]));
        assert!(explicit(&data).is_ok());
    }
}
