//! DICOM CT slices, of one frame or many.

use std::io::Cursor;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::{Codec, TransferSyntaxIndex};
use dicom_object::file::ReadPreamble;
use dicom_object::{DefaultDicomObject, FileMetaTable, InMemDicomObject, OpenFileOptions, Tag};
use dicom_pixeldata::PixelDecoder;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::dicom_lengths;
use super::{ImageError, RawSlice, SliceHeader, Values, Window, check_size};
use crate::image::Plane;
use crate::image::plane::unit;

/// Offset of the `DICM` mark behind the preamble.
const MARK: std::ops::Range<usize> = 128..132;

/// Whether the bytes start like a DICOM file: with a preamble or straight with the meta group.
pub fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(MARK) == Some(b"DICM")
        || bytes.starts_with(b"DICM")
        || bytes.starts_with(&[2, 0, 0, 0])
}

/// Most bits of a stored value.
const MOST_BITS: f64 = 16.0;
/// Most frames of one file.
const MAX_FRAMES: f64 = 10_000.0;

/// Describes the frames without decoding them.
pub fn headers(bytes: &[u8]) -> Result<Vec<SliceHeader>, ImageError> {
    let object = open(bytes)?;
    let (width, height) = checked_geometry(&object)?;
    let header = SliceHeader {
        width,
        height,
        frame: 0,
        series: text(&object, tags::SERIES_INSTANCE_UID),
        number: number(&object, tags::INSTANCE_NUMBER, 0).map(|number| number as i64),
        plane: None,
    };
    let of_frame = |frame| SliceHeader { frame, plane: plane(&object, frame), ..header.clone() };
    Ok((0..frames(&object)?).map(of_frame).collect())
}

/// Decodes frame `frame`, from 0.
pub fn decode(bytes: &[u8], frame: usize) -> Result<RawSlice, ImageError> {
    let mut object = open(bytes)?;
    fill_in_pixel_description(&mut object);
    let (width, height) = checked_geometry(&object)?;
    let frames = frames(&object)?;
    if frame >= frames {
        let reason = format!("frame {} of {frames} was asked for", frame + 1);
        return Err(ImageError::Damaged { format: "DICOM", reason });
    }
    let values = match object.meta().transfer_syntax().trim_end_matches('\0') {
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => jpeg_2000_values(&object, frame, frames)?,
        _ => {
            let pixels =
                object.decode_pixel_data_frame(frame as u32).map_err(|error| damaged(&error))?;
            // Rescale slope and intercept are applied here: Hounsfield units.
            pixels.to_vec_frame::<f32>(0).map_err(|error| damaged(&error))?
        }
    };
    if values.len() != width * height {
        let reason = format!("{} values for {width} x {height} pixels", values.len());
        return Err(ImageError::Damaged { format: "DICOM", reason });
    }
    let window = number(&object, tags::WINDOW_CENTER, 0)
        .zip(number(&object, tags::WINDOW_WIDTH, 0))
        .filter(|(center, width)| center.is_finite() && *width > 0.0)
        .map(|(center, width)| Window { center, width });
    Ok(RawSlice {
        width,
        height,
        values: Values::Hounsfield(values),
        inverted: text(&object, tags::PHOTOMETRIC_INTERPRETATION)
            .is_some_and(|p| p == "MONOCHROME1"),
        window,
        spacing_mm: spacing(&object, frame),
        warnings: Vec::new(),
    })
}

pub(super) fn open(bytes: &[u8]) -> Result<DefaultDicomObject, ImageError> {
    let (file, data) = with_plain_meta_group(bytes);
    // Its own errors say more about a meta group that cannot be read.
    if let Ok(meta) = FileMetaTable::from_reader(Cursor::new(&file))
        && let Some(syntax) = TransferSyntaxRegistry.get(meta.transfer_syntax())
    {
        dicom_lengths::check(&file[data..], syntax)
            .map_err(|reason| ImageError::Damaged { format: "DICOM", reason })?;
    }
    OpenFileOptions::new()
        .read_preamble(ReadPreamble::Never)
        .from_reader(Cursor::new(&file))
        .map_err(|error| unreadable(&file, &error))
}

fn frames(object: &DefaultDicomObject) -> Result<usize, ImageError> {
    let frames = number(object, tags::NUMBER_OF_FRAMES, 0).unwrap_or(1.0);
    if (1.0..=MAX_FRAMES).contains(&frames) {
        return Ok(frames as usize);
    }
    let reason = format!("{frames} frames; from 1 to {MAX_FRAMES} are read");
    Err(ImageError::Damaged { format: "DICOM", reason })
}

/// The item that describes `frame` in a sequence of the functional groups: the frame's own, else the
/// one that all share.
fn functional_group(
    object: &DefaultDicomObject,
    frame: usize,
    sequence: Tag,
) -> Option<&InMemDicomObject> {
    let own = object
        .get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
        .and_then(|groups| groups.items()?.get(frame));
    let shared = object
        .get(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)
        .and_then(|groups| groups.items()?.first());
    [own, shared]
        .into_iter()
        .flatten()
        .find_map(|group| group.get(sequence).and_then(|sequence| sequence.items()?.first()))
}

fn numbers<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    let values = object.get(tag)?.to_multi_float64().ok()?;
    let values: [f64; N] = values.get(..N)?.try_into().ok()?;
    values.iter().all(|value| value.is_finite()).then_some(values)
}

pub(super) fn plane(object: &DefaultDicomObject, frame: usize) -> Option<Plane> {
    let origin = numbers::<3>(object, tags::IMAGE_POSITION_PATIENT).or_else(|| {
        numbers(
            functional_group(object, frame, tags::PLANE_POSITION_SEQUENCE)?,
            tags::IMAGE_POSITION_PATIENT,
        )
    })?;
    let [a, b, c, d, e, f] =
        numbers::<6>(object, tags::IMAGE_ORIENTATION_PATIENT).or_else(|| {
            numbers(
                functional_group(object, frame, tags::PLANE_ORIENTATION_SEQUENCE)?,
                tags::IMAGE_ORIENTATION_PATIENT,
            )
        })?;
    Some(Plane { origin, along_row: unit([a, b, c])?, along_column: unit([d, e, f])? })
}

/// The file without preamble, its meta group reduced to what reading needs; and where the data begins.
///
/// Some writers pad titles beyond their type's length or miscount the group; the elements
/// themselves are sound, so they are laid out anew. Bytes that are no such group stay as they are.
fn with_plain_meta_group(bytes: &[u8]) -> (Vec<u8>, usize) {
    let start = if bytes.get(MARK) == Some(b"DICM") {
        MARK.end
    } else if bytes.starts_with(b"DICM") {
        4
    } else {
        0
    };
    let mut kept = Vec::new();
    let mut position = start;
    while let Some(header) = bytes.get(position..position + 8) {
        if header[..2] != [2, 0] {
            break;
        }
        let element = u16::from_le_bytes([header[2], header[3]]);
        let (header_length, value_length) = if matches!(&header[4..6], b"OB" | b"UN" | b"OW") {
            let Some(long) = bytes.get(position + 8..position + 12) else { break };
            (12, u32::from_le_bytes([long[0], long[1], long[2], long[3]]) as usize)
        } else {
            (8, u16::from_le_bytes([header[6], header[7]]) as usize)
        };
        let end = position.saturating_add(header_length).saturating_add(value_length);
        let Some(whole) = bytes.get(position..end) else { break };
        // Version; SOP class and instance, transfer syntax, implementation. Of another representation the
        // reader takes the length to have four bytes, and memory for it.
        if matches!(
            (element, &header[4..6]),
            (0x0001, b"OB") | (0x0002 | 0x0003 | 0x0010 | 0x0012, b"UI")
        ) {
            kept.extend_from_slice(whole);
        }
        position = end;
    }
    let mut file = b"DICM".to_vec();
    file.extend_from_slice(&[2, 0, 0, 0, b'U', b'L', 4, 0]);
    file.extend_from_slice(&(kept.len() as u32).to_le_bytes());
    file.extend_from_slice(&kept);
    let data = file.len();
    file.extend_from_slice(&bytes[position..]);
    (file, data)
}

/// Adds what sparse files leave out of the pixels' description and can be told from the rest.
fn fill_in_pixel_description(object: &mut DefaultDicomObject) {
    let allocated = number(object, tags::BITS_ALLOCATED, 0).unwrap_or(16.0) as u16;
    let stored = number(object, tags::BITS_STORED, 0).map_or(allocated, |bits| bits as u16);
    let defaults = [
        (tags::SAMPLES_PER_PIXEL, VR::US, PrimitiveValue::from(1u16)),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, PrimitiveValue::from("MONOCHROME2")),
        (tags::BITS_ALLOCATED, VR::US, PrimitiveValue::from(allocated)),
        (tags::BITS_STORED, VR::US, PrimitiveValue::from(stored)),
        (tags::HIGH_BIT, VR::US, PrimitiveValue::from(stored.saturating_sub(1))),
        (tags::PIXEL_REPRESENTATION, VR::US, PrimitiveValue::from(0u16)),
    ];
    for (tag, vr, value) in defaults {
        if !matches!(object.element_opt(tag), Ok(Some(_))) {
            object.put(DataElement::new(tag, vr, value));
        }
    }
}

/// Hounsfield units of a JPEG 2000 picture.
fn jpeg_2000_values(
    object: &DefaultDicomObject,
    frame: usize,
    frames: usize,
) -> Result<Vec<f32>, ImageError> {
    let broken = |reason: String| ImageError::Damaged {
        format: "DICOM",
        reason: format!("JPEG 2000: {reason}"),
    };
    let element = object.element(tags::PIXEL_DATA).map_err(|error| damaged(&error))?;
    let fragments = element.value().fragments().ok_or_else(|| broken("no fragments".into()))?;
    let codestream: Vec<u8> = if frames == 1 {
        fragments.concat()
    } else if fragments.len() == frames {
        fragments[frame].clone()
    } else {
        return Err(broken(format!("{} fragments for {frames} frames", fragments.len())));
    };
    let image = Image::new(&codestream, &DecodeSettings::default())
        .map_err(|error| broken(error.to_string()))?;
    check_size(image.width().into(), image.height().into())?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|error| broken(error.to_string()))?;
    let component = decoded.components().first().ok_or_else(|| broken("no component".into()))?;
    let slope = number(object, tags::RESCALE_SLOPE, 0).unwrap_or(1.0) as f32;
    let intercept = number(object, tags::RESCALE_INTERCEPT, 0).unwrap_or(0.0) as f32;
    // The decoder shifts all samples up; stored signed they belong below zero again.
    let is_signed = number(object, tags::PIXEL_REPRESENTATION, 0) == Some(1.0);
    let offset = if is_signed { (1u32 << (component.bit_depth() - 1)) as f32 } else { 0.0 };
    let rescale = |sample: &f32| (sample.round() - offset) * slope + intercept;
    Ok(component.samples().iter().map(rescale).collect())
}

/// Checks what the header says before any memory is taken for the picture.
fn checked_geometry(object: &DefaultDicomObject) -> Result<(usize, usize), ImageError> {
    let Ok(Some(pixel_data)) = object.element_opt(tags::PIXEL_DATA) else {
        return Err(ImageError::NoPixelData);
    };
    let needed = |tag, name: &str| {
        number(object, tag, 0).ok_or_else(|| ImageError::Damaged {
            format: "DICOM",
            reason: format!("{name} is missing"),
        })
    };
    let (height, width) =
        (needed(tags::ROWS, "Rows")? as u64, needed(tags::COLUMNS, "Columns")? as u64);
    check_size(width, height)?;
    let samples = number(object, tags::SAMPLES_PER_PIXEL, 0).unwrap_or(1.0);
    if samples != 1.0 {
        let reason = format!("it has {samples} colour channels");
        return Err(ImageError::NotGrey { reason });
    }
    // The library makes a table of all values that the bits allow, and panics at none.
    let allocated = number(object, tags::BITS_ALLOCATED, 0).unwrap_or(16.0);
    let stored = number(object, tags::BITS_STORED, 0).unwrap_or(allocated);
    if !(1.0..=allocated.min(MOST_BITS)).contains(&stored) {
        let reason = format!("{stored} of {allocated} bits are stored; 1 to {MOST_BITS} are read");
        return Err(ImageError::Damaged { format: "DICOM", reason });
    }
    check_transfer_syntax(object)?;
    if let Some(stored) = pixel_data.value().primitive().map(|value| value.to_bytes().len()) {
        let bits = number(object, tags::BITS_ALLOCATED, 0).unwrap_or(16.0) as u64;
        let expected = width * height * bits.div_ceil(8) * frames(object)? as u64;
        if (stored as u64) < expected {
            let reason = format!("{expected} bytes of pixels were expected, {stored} are there");
            return Err(ImageError::Damaged { format: "DICOM", reason });
        }
    }
    Ok((width as usize, height as usize))
}

fn check_transfer_syntax(object: &DefaultDicomObject) -> Result<(), ImageError> {
    let uid = object.meta().transfer_syntax().trim_end_matches('\0').trim();
    match TransferSyntaxRegistry.get(uid) {
        _ if uid == uids::JPEG2000_LOSSLESS || uid == uids::JPEG2000 => Ok(()),
        None => Err(ImageError::TransferSyntax { uid: uid.into() }),
        Some(syntax) => match syntax.codec() {
            Codec::EncapsulatedPixelData(None, _) | Codec::Dataset(None) => {
                Err(ImageError::TransferSyntax { uid: format!("{uid} ({})", syntax.name()) })
            }
            _ => Ok(()),
        },
    }
}

pub(super) fn spacing(object: &DefaultDicomObject, frame: usize) -> Option<[f64; 2]> {
    let values = numbers::<2>(object, tags::PIXEL_SPACING).or_else(|| {
        numbers(
            functional_group(object, frame, tags::PIXEL_MEASURES_SEQUENCE)?,
            tags::PIXEL_SPACING,
        )
    })?;
    values.iter().all(|value| *value > 0.0).then_some(values)
}

pub(super) fn text(object: &DefaultDicomObject, tag: Tag) -> Option<String> {
    let element = object.element_opt(tag).ok()??;
    Some(element.to_str().ok()?.trim_matches([' ', '\0']).to_owned())
}

/// Value `index` of a numeric element.
pub(super) fn number(object: &DefaultDicomObject, tag: Tag, index: usize) -> Option<f64> {
    let element = object.element_opt(tag).ok()??;
    element.to_multi_float64().ok()?.get(index).copied()
}

fn damaged(error: &dyn std::error::Error) -> ImageError {
    ImageError::Damaged { format: "DICOM", reason: chain(error) }
}

/// A file that could not be opened: an unknown transfer syntax, or damage.
fn unreadable(file: &[u8], error: &dyn std::error::Error) -> ImageError {
    let reason = chain(error);
    if reason.to_lowercase().contains("transfer syntax") {
        let uid = FileMetaTable::from_reader(Cursor::new(file))
            .map(|meta| meta.transfer_syntax().trim_end_matches('\0').to_owned());
        if let Ok(uid) = uid {
            return ImageError::TransferSyntax { uid };
        }
    }
    ImageError::Damaged { format: "DICOM", reason }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !message.contains(&cause_text) {
            message = format!("{message}: {cause_text}");
        }
        source = cause.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meta_element_of_odd_representation_is_left_out() {
        // Found by fuzzing: read with a length of four bytes, it claimed four gigabytes.
        let odd = [2, 0, 2, 0, 0xb4, b'I', 4, 0, 0xf6, 0xf6, 0xf6, 0xf6];
        let syntax = b"\x02\x00\x10\x00UI\x12\x001.2.840.10008.1.2\0";
        let file = [&[0; 128][..], b"DICM", &odd, syntax].concat();
        let (plain, data) = with_plain_meta_group(&file);
        assert_eq!(data, plain.len());
        assert!(plain.ends_with(syntax) && plain.len() == 16 + syntax.len(), "{plain:?}");
    }
}
