//! DICOM CT slices, of one frame or many.

pub mod header;
mod lengths;
mod pixels;
pub mod source;

use std::io::{Cursor, Read};

use dicom_dictionary_std::tags;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::file::ReadPreamble;
use dicom_object::{DefaultDicomObject, FileMetaTable, InMemDicomObject, OpenFileOptions, Tag};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use self::header::HeaderElement;
use self::pixels::Layout;
use self::source::DicomSource;
use crate::image::decode::limits::MAX_MEMBER;
use crate::image::decode::{ImageError, RawSlice, SliceHeader, Values, Window};
use crate::image::plane::unit;
use crate::image::{NotChestCt, Plane, Warning};

/// Characters of an identifier (PS3.5 9.1), with room for those who take more.
const MAX_UID: usize = 128;
/// Memory that an element takes beside its value.
const BYTES_PER_ELEMENT: u64 = 300;

/// Offset of the `DICM` mark behind the preamble.
const MARK: std::ops::Range<usize> = 128..132;

/// Whether the bytes start like a DICOM file: with a preamble or straight with the meta group.
pub fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(MARK) == Some(b"DICM")
        || bytes.starts_with(b"DICM")
        || bytes.starts_with(&[2, 0, 0, 0])
}

/// A parsed file.
#[derive(Debug)]
pub struct DicomFile {
    object: DefaultDicomObject,
    layout: Layout,
    size: u64,
}

impl DicomFile {
    /// Parses a file and checks what it says of its pixels, without decoding them.
    ///
    /// # Errors
    /// If it is damaged, holds no grey-value slices, or is encoded as is not read here.
    pub fn open(bytes: &[u8]) -> Result<Self, ImageError> {
        let (object, size) = open(bytes)?;
        for tag in [tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID, tags::STUDY_INSTANCE_UID] {
            let length = text(&object, tag).map_or(0, |uid| uid.len());
            if length > MAX_UID {
                return Err(damaged_because(format!("an identifier of {length} characters")));
            }
        }
        Ok(Self { layout: Layout::of(&object)?, object, size })
    }

    /// Bytes that it takes in memory.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Describes the frames.
    pub fn headers(&self) -> Vec<SliceHeader> {
        let object = &self.object;
        let origin = |tag| identifier(object, tag).unwrap_or_default();
        let header = SliceHeader {
            width: self.layout.columns,
            height: self.layout.rows,
            series: identifier(object, tags::SERIES_INSTANCE_UID),
            instance: identifier(object, tags::SOP_INSTANCE_UID),
            origin: [tags::STUDY_INSTANCE_UID, tags::FRAME_OF_REFERENCE_UID, tags::PATIENT_ID]
                .map(origin),
            number: number(object, tags::INSTANCE_NUMBER, 0).map(|number| number as i64),
            ..SliceHeader::default()
        };
        let of_frame = |frame| SliceHeader {
            frame,
            plane: plane(object, frame),
            spacing_mm: spacing(object, frame),
            ..header.clone()
        };
        (0..self.layout.frames).map(of_frame).collect()
    }

    /// Decodes frame `frame`, from 0.
    ///
    /// # Errors
    /// If there is no such frame, or its pixels are damaged.
    pub fn read(&self, frame: usize) -> Result<RawSlice, ImageError> {
        let Self { object, layout, .. } = self;
        if frame >= layout.frames {
            let reason = format!("frame {} of {} was asked for", frame + 1, layout.frames);
            return Err(damaged_because(reason));
        }
        let values = pixels::hounsfield(object, layout, frame)?;
        let of_window = |tag| {
            functional_number(object, frame, tags::FRAME_VOILUT_SEQUENCE, tag)
                .or_else(|| number(object, tag, 0))
        };
        let window = of_window(tags::WINDOW_CENTER)
            .zip(of_window(tags::WINDOW_WIDTH))
            .filter(|(center, width)| center.is_finite() && width.is_finite() && *width > 0.0)
            .map(|(center, width)| Window { center, width });
        // Values in Hounsfield units are the same however they are to be shown.
        let modality = text(object, tags::MODALITY).filter(|modality| !modality.is_empty());
        let is_ct = modality.as_ref().is_some_and(|modality| modality == "CT");
        let is_inverted = text(object, tags::PHOTOMETRIC_INTERPRETATION)
            .is_some_and(|interpretation| interpretation == "MONOCHROME1");
        let (says_units, other_units) =
            (pixels::says_units(object, frame), pixels::other_units(object, frame));
        let says_hounsfield = (is_ct || modality.is_none()) && says_units && other_units.is_none();
        let mut warnings = Vec::new();
        if !says_units {
            warnings.push(Warning::UnknownUnits);
        }
        if let Some(units) = other_units {
            warnings.push(Warning::OtherUnits(units));
        }
        Ok(RawSlice {
            width: layout.columns,
            height: layout.rows,
            values: Values::Hounsfield(values),
            says_hounsfield,
            inverted: is_inverted && !is_ct,
            window,
            spacing_mm: spacing(object, frame),
            plane: plane(object, frame),
            not_chest_ct: not_ct(object).or_else(|| plane(object, frame).and_then(not_axial)),
            warnings,
        })
    }

    /// What frame `frame`, from 0, can be referred to by.
    ///
    /// # Errors
    /// If the file has no identifiers.
    pub fn source(&self, frame: usize) -> Result<DicomSource, ImageError> {
        source::of_frame(&self.object, frame)
    }

    /// All elements of the file.
    pub fn header(&self) -> Vec<HeaderElement> {
        header::of(&self.object)
    }
}

/// Why a file is no axial CT slice, by its own words.
fn not_ct(object: &DefaultDicomObject) -> Option<NotChestCt> {
    let modality = text(object, tags::MODALITY).filter(|modality| !modality.is_empty());
    if let Some(modality) = modality.filter(|modality| modality != "CT") {
        return Some(NotChestCt::Modality(modality));
    }
    let kind = object.element_opt(tags::IMAGE_TYPE).ok().flatten()?.to_multi_str().ok()?;
    let is_localizer = kind.iter().any(|value| value.trim() == "LOCALIZER");
    is_localizer.then_some(NotChestCt::Localizer)
}

/// Why a slice that lies so is no axial one.
fn not_axial(plane: Plane) -> Option<NotChestCt> {
    let degrees = plane.degrees_from_axial();
    (degrees > 45.0).then_some(NotChestCt::Turned(degrees.round() as u32))
}

/// The parsed data set, with the memory that it takes.
fn open(bytes: &[u8]) -> Result<(DefaultDicomObject, u64), ImageError> {
    let (file, data) = with_plain_meta_group(bytes);
    let (file, data) = inflated(file, data)?;
    let mut elements = 0;
    // Its own errors say more about a meta group that cannot be read.
    if let Ok(meta) = FileMetaTable::from_reader(Cursor::new(&file))
        && let Some(syntax) = TransferSyntaxRegistry.get(meta.transfer_syntax())
    {
        elements = lengths::check(&file[data..], syntax)
            .map_err(|error| damaged_because(error.to_string()))?;
    }
    let object = OpenFileOptions::new()
        .read_preamble(ReadPreamble::Never)
        .from_reader(Cursor::new(&file))
        .map_err(|error| unreadable(&file, &error))?;
    Ok((object, file.len() as u64 + elements as u64 * BYTES_PER_ELEMENT))
}

/// A file with its data set unpacked, if it was deflated.
fn inflated(file: Vec<u8>, data: usize) -> Result<(Vec<u8>, usize), ImageError> {
    const DEFLATED: &[u8] = b"1.2.840.10008.1.2.1.99";
    const PLAIN: &[u8] = b"1.2.840.10008.1.2.1\0\0\0";
    let Some(place) = file[..data].windows(DEFLATED.len()).position(|text| text == DEFLATED) else {
        return Ok((file, data));
    };
    let mut plain = file[..data].to_vec();
    plain[place..][..DEFLATED.len()].copy_from_slice(PLAIN);
    let mut packed = flate2::read::DeflateDecoder::new(&file[data..]).take(MAX_MEMBER + 1);
    packed.read_to_end(&mut plain).map_err(|error| damaged_because(format!("deflate: {error}")))?;
    if (plain.len() - data) as u64 > MAX_MEMBER {
        return Err(ImageError::TooLarge { limit: MAX_MEMBER });
    }
    Ok((plain, data))
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

/// A number that a sequence of the functional groups says of `frame`.
fn functional_number(
    object: &DefaultDicomObject,
    frame: usize,
    sequence: Tag,
    tag: Tag,
) -> Option<f64> {
    let element = functional_group(object, frame, sequence)?.get(tag)?;
    element.to_multi_float64().ok()?.first().copied()
}

fn numbers<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    let values = object.get(tag)?.to_multi_float64().ok()?;
    let values: [f64; N] = values.get(..N)?.try_into().ok()?;
    values.iter().all(|value| value.is_finite()).then_some(values)
}

/// Numbers that the functional groups say of `frame`, else the file of all its frames.
fn of_frame<const N: usize>(
    object: &DefaultDicomObject,
    frame: usize,
    (sequence, tag): (Tag, Tag),
) -> Option<[f64; N]> {
    let own = functional_group(object, frame, sequence).and_then(|group| numbers(group, tag));
    own.or_else(|| numbers(object, tag))
}

fn plane(object: &DefaultDicomObject, frame: usize) -> Option<Plane> {
    let position = (tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT);
    let orientation = (tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT);
    let origin = of_frame::<3>(object, frame, position)?;
    let [a, b, c, d, e, f] = of_frame::<6>(object, frame, orientation)?;
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

fn spacing(object: &DefaultDicomObject, frame: usize) -> Option<[f64; 2]> {
    let measures = (tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING);
    let values = of_frame::<2>(object, frame, measures)?;
    values.iter().all(|value| *value > 0.0).then_some(values)
}

fn text(object: &DefaultDicomObject, tag: Tag) -> Option<String> {
    let element = object.element_opt(tag).ok()??;
    Some(element.to_str().ok()?.trim_matches([' ', '\0']).to_owned())
}

/// An identifier; none for an empty one, as anonymisers leave them.
fn identifier(object: &DefaultDicomObject, tag: Tag) -> Option<String> {
    text(object, tag).filter(|uid| !uid.is_empty())
}

/// Value `index` of a numeric element.
fn number(object: &DefaultDicomObject, tag: Tag, index: usize) -> Option<f64> {
    let element = object.element_opt(tag).ok()??;
    element.to_multi_float64().ok()?.get(index).copied()
}

fn damaged_because(reason: String) -> ImageError {
    ImageError::Damaged { format: "DICOM", reason }
}

/// A file that could not be opened: an unknown transfer syntax, or damage.
fn unreadable(file: &[u8], error: &dyn std::error::Error) -> ImageError {
    let reason = chain(error);
    if reason.to_lowercase().contains("transfer syntax") {
        let uid = FileMetaTable::from_reader(Cursor::new(file))
            .map(|meta| meta.transfer_syntax().trim_end_matches('\0').to_owned());
        if let Ok(uid) = uid {
            return ImageError::transfer_syntax(&uid);
        }
    }
    damaged_because(reason)
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
