//! Values of a frame, from every transfer syntax that is read.
//!
//! What a compressed picture says of itself is compared with the file's header before it is decoded.

mod jpeg;
mod jpeg_2000;
mod rle;

use dicom_dictionary_std::{tags, uids};
use dicom_object::DefaultDicomObject;

use crate::image::ImageError;
use crate::image::decode::dicom::{
    damaged_because, functional_group, functional_number, number, text,
};
use crate::image::decode::limits::{MAX_FRAMES, check_size};

/// What a file says of its pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Layout {
    pub columns: usize,
    pub rows: usize,
    pub frames: usize,
    /// Bits that a value takes: 8 or 16.
    pub allocated: u32,
    /// Bits of it that count.
    pub stored: u32,
    /// The highest of them, from 0.
    pub high_bit: u32,
    pub is_signed: bool,
}

/// How the pixels are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Native,
    Rle,
    Jpeg,
    JpegLs,
    Jpeg2000,
}

/// The encoding of a transfer syntax; `None` for one that is not read.
fn encoding(transfer_syntax: &str) -> Option<Encoding> {
    Some(match transfer_syntax {
        uids::IMPLICIT_VR_LITTLE_ENDIAN
        | uids::EXPLICIT_VR_LITTLE_ENDIAN
        | "1.2.840.10008.1.2.2"
        | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Encoding::Native,
        uids::RLE_LOSSLESS => Encoding::Rle,
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1 => Encoding::Jpeg,
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => Encoding::JpegLs,
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => Encoding::Jpeg2000,
        _ => return None,
    })
}

fn transfer_syntax(object: &DefaultDicomObject) -> &str {
    object.meta().transfer_syntax().trim_end_matches(['\0', ' '])
}

/// Whether what was stored may differ from what was measured.
pub(super) fn is_lossy(object: &DefaultDicomObject) -> bool {
    let lossy = [
        uids::JPEG_BASELINE8_BIT,
        uids::JPEG_EXTENDED12_BIT,
        uids::JPEGLS_NEAR_LOSSLESS,
        uids::JPEG2000,
    ];
    lossy.contains(&transfer_syntax(object))
        || text(object, tags::LOSSY_IMAGE_COMPRESSION).is_some_and(|value| value == "01")
}

impl Layout {
    /// Reads and checks it, before any memory is taken for the picture.
    pub fn of(object: &DefaultDicomObject) -> Result<Self, ImageError> {
        let Ok(Some(pixel_data)) = object.element_opt(tags::PIXEL_DATA) else {
            return Err(ImageError::NoPixelData);
        };
        let needed = |tag, name: &str| {
            number(object, tag, 0).ok_or_else(|| damaged_because(format!("{name} is missing")))
        };
        let (rows, columns) = (needed(tags::ROWS, "Rows")?, needed(tags::COLUMNS, "Columns")?);
        check_size(columns as u64, rows as u64)?;
        let samples = number(object, tags::SAMPLES_PER_PIXEL, 0).unwrap_or(1.0);
        if samples != 1.0 {
            let reason = format!("it has {samples} colour channels");
            return Err(ImageError::NotGrey { reason });
        }
        if let Some(photometric) = text(object, tags::PHOTOMETRIC_INTERPRETATION)
            && !matches!(photometric.as_str(), "MONOCHROME1" | "MONOCHROME2" | "")
        {
            let reason = format!("its photometric interpretation is {photometric}");
            return Err(ImageError::NotGrey { reason });
        }
        let frames = frames(object)?;
        let groups = object.get(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
        let groups = groups.and_then(|groups| groups.items()).map(<[_]>::len);
        if let Some(groups) = groups.filter(|groups| *groups < frames) {
            let reason = format!("{frames} frames, and only {groups} of them are described");
            return Err(damaged_because(reason));
        }
        if object.get(tags::MODALITY_LUT_SEQUENCE).is_some() {
            return Err(unsupported("its values go through a lookup table".into()));
        }
        let allocated = number(object, tags::BITS_ALLOCATED, 0).unwrap_or(16.0);
        let stored = number(object, tags::BITS_STORED, 0).unwrap_or(allocated);
        let high_bit = number(object, tags::HIGH_BIT, 0).unwrap_or(stored - 1.0);
        if ![8.0, 16.0].contains(&allocated)
            || !(1.0..=allocated).contains(&stored)
            || !(stored - 1.0..allocated).contains(&high_bit)
        {
            return Err(unsupported(format!(
                "{stored} of {allocated} bits are stored, up to bit {high_bit}; 1 to 8 of 8 and 1 to 16 of 16 are read"
            )));
        }
        let uid = transfer_syntax(object);
        let encoding = encoding(uid).ok_or_else(|| ImageError::transfer_syntax(uid))?;
        let layout = Self {
            columns: columns as usize,
            rows: rows as usize,
            frames,
            allocated: allocated as u32,
            stored: stored as u32,
            high_bit: high_bit as u32,
            is_signed: number(object, tags::PIXEL_REPRESENTATION, 0) == Some(1.0),
        };
        if encoding == Encoding::Native {
            let Some(value) = pixel_data.value().primitive() else {
                return Err(damaged_because(
                    "the pixels are in fragments, which its transfer syntax does not have".into(),
                ));
            };
            let (found, expected) = (value.to_bytes().len(), layout.frame_bytes() * frames);
            // A row more is no padding: the file contradicts itself.
            let row = layout.frame_bytes() / layout.rows;
            if found < expected || found >= expected + row {
                return Err(damaged_because(format!(
                    "{expected} bytes of pixels were expected, {found} are there"
                )));
            }
        } else if pixel_data.value().fragments().is_some_and(|parts| parts.len() < frames) {
            return Err(damaged_because(format!("{frames} frames in fewer fragments")));
        } else if pixel_data.value().fragments().is_none() {
            return Err(damaged_because(
                "the pixels are not in fragments, which its transfer syntax asks for".into(),
            ));
        }
        Ok(layout)
    }

    fn pixels(&self) -> usize {
        self.columns * self.rows
    }

    fn frame_bytes(&self) -> usize {
        self.pixels() * self.allocated as usize / 8
    }

    /// The value of a stored word.
    fn value(&self, word: u16) -> i32 {
        let bits = i32::from(word >> (self.high_bit + 1 - self.stored));
        let bits = if self.stored < 16 { bits & ((1 << self.stored) - 1) } else { bits };
        if self.is_signed && bits >> (self.stored - 1) & 1 == 1 {
            bits - (1 << self.stored)
        } else {
            bits
        }
    }

    /// Values of little endian words.
    fn values_of(&self, bytes: &[u8]) -> Vec<i32> {
        match self.allocated {
            8 => bytes.iter().map(|byte| self.value(u16::from(*byte))).collect(),
            _ => {
                let words = bytes.as_chunks::<2>().0.iter();
                words.map(|word| self.value(u16::from_le_bytes(*word))).collect()
            }
        }
    }

    /// Values of decoded samples, which have no bits beside those that count.
    fn values_of_samples(&self, samples: impl Iterator<Item = u16>) -> Vec<i32> {
        let compact = Self { high_bit: self.stored - 1, ..*self };
        samples.map(|sample| compact.value(sample)).collect()
    }

    /// Compares what a compressed picture says of itself.
    fn check(&self, picture: &CodestreamInfo) -> Result<(), ImageError> {
        let CodestreamInfo { kind, width, height, components, precision } = *picture;
        if (width, height) != (self.columns as u64, self.rows as u64) {
            return Err(damaged_because(format!(
                "the {kind} picture has {width} x {height} pixels, the file says {} x {}",
                self.columns, self.rows
            )));
        }
        if components != 1 {
            let reason = format!("the {kind} picture has {components} components, the file says 1");
            return Err(ImageError::NotGrey { reason });
        }
        if u32::from(precision) > self.allocated || (precision <= 8) != (self.stored <= 8) {
            return Err(damaged_because(format!(
                "the {kind} picture has {precision} bits a pixel, the file says {} of {}",
                self.stored, self.allocated
            )));
        }
        Ok(())
    }
}

/// What a compressed picture says of itself.
struct CodestreamInfo {
    kind: &'static str,
    width: u64,
    height: u64,
    components: u16,
    precision: u8,
}

fn unsupported(what: String) -> ImageError {
    ImageError::Unsupported { format: "DICOM", what }
}

fn frames(object: &DefaultDicomObject) -> Result<usize, ImageError> {
    let frames = number(object, tags::NUMBER_OF_FRAMES, 0).unwrap_or(1.0);
    if (1.0..=MAX_FRAMES as f64).contains(&frames) {
        return Ok(frames as usize);
    }
    Err(unsupported(format!("{frames} frames; from 1 to {MAX_FRAMES} are read")))
}

/// What its values are, if the file says that they are no Hounsfield units.
pub(super) fn other_units(object: &DefaultDicomObject, frame: usize) -> Option<String> {
    let group = functional_group(object, frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
    let own = group.and_then(|group| group.get(tags::RESCALE_TYPE)?.to_str().ok());
    let own = own.map(|value| value.trim_matches([' ', '\0']).to_owned());
    let units = own.or_else(|| text(object, tags::RESCALE_TYPE))?;
    (!units.is_empty() && units != "HU").then_some(units)
}

/// Hounsfield units of frame `frame`, row by row.
pub(super) fn hounsfield(
    object: &DefaultDicomObject,
    layout: &Layout,
    frame: usize,
) -> Result<Vec<f32>, ImageError> {
    let values = stored_values(object, layout, frame)?;
    if values.len() != layout.pixels() {
        let (found, width, height) = (values.len(), layout.columns, layout.rows);
        return Err(damaged_because(format!("{found} values for {width} x {height} pixels")));
    }
    let is_there = |tag| {
        let group = functional_group(object, frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE);
        object.element_opt(tag).is_ok_and(|element| element.is_some())
            || group.is_some_and(|group| group.get(tag).is_some())
    };
    let rescale = |tag, default| match rescale(object, frame, tag) {
        Some(value) => Ok(value),
        // There, and no number.
        None if is_there(tag) => {
            Err(damaged_because("the numbers that make Hounsfield units cannot be read".into()))
        }
        None => Ok(default),
    };
    let slope = rescale(tags::RESCALE_SLOPE, 1.0)?;
    let intercept = rescale(tags::RESCALE_INTERCEPT, 0.0)?;
    if !(slope.is_finite() && intercept.is_finite()) || slope == 0.0 {
        return Err(damaged_because(format!("values are rescaled by {slope} and {intercept}")));
    }
    Ok(values.into_iter().map(|value| (f64::from(value) * slope + intercept) as f32).collect())
}

fn rescale(object: &DefaultDicomObject, frame: usize, tag: dicom_object::Tag) -> Option<f64> {
    let group = tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE;
    match functional_group(object, frame, group).and_then(|group| group.get(tag)) {
        // The frame's own counts, even where it cannot be read.
        Some(_) => functional_number(object, frame, group, tag),
        None => number(object, tag, 0),
    }
}

/// Whether the file says how its values become Hounsfield units.
pub(super) fn says_units(object: &DefaultDicomObject, frame: usize) -> bool {
    rescale(object, frame, tags::RESCALE_INTERCEPT).is_some()
}

fn stored_values(
    object: &DefaultDicomObject,
    layout: &Layout,
    frame: usize,
) -> Result<Vec<i32>, ImageError> {
    let element = object.element(tags::PIXEL_DATA).map_err(|_| ImageError::NoPixelData)?;
    let uid = transfer_syntax(object);
    let encoding = encoding(uid).ok_or_else(|| ImageError::transfer_syntax(uid))?;
    if encoding == Encoding::Native {
        let bytes = element.value().primitive().map(|value| value.to_bytes()).unwrap_or_default();
        let start = frame * layout.frame_bytes();
        let frame = bytes.get(start..start + layout.frame_bytes());
        return Ok(layout.values_of(frame.unwrap_or_default()));
    }
    let fragments = element.value().fragments().unwrap_or_default();
    let offsets = element.value().offset_table().unwrap_or_default();
    let picture = of_frame(fragments, offsets, frame, layout.frames)?;
    match encoding {
        Encoding::Rle => Ok(layout.values_of(&rle::decode(&picture, layout)?)),
        Encoding::Jpeg => jpeg::decode(&picture, layout),
        Encoding::JpegLs => jpeg::decode_ls(&picture, layout),
        _ => jpeg_2000::decode(&picture, layout),
    }
}

/// The compressed picture of a frame (PS3.5 A.4).
fn of_frame(
    fragments: &[Vec<u8>],
    offsets: &[u32],
    frame: usize,
    frames: usize,
) -> Result<Vec<u8>, ImageError> {
    if frames == 1 {
        return Ok(fragments.concat());
    }
    // Some writers fill the table with zeros, or count from elsewhere.
    let origin = offsets.first().copied().unwrap_or_default();
    let offsets: Vec<u32> = match offsets.iter().all(|offset| *offset == 0) {
        true => Vec::new(),
        false => offsets.iter().map(|offset| offset.wrapping_sub(origin)).collect(),
    };
    // Each is headed by tag and length.
    let starts: Vec<u64> = fragments
        .iter()
        .scan(0u64, |place, fragment| {
            let start = *place;
            *place += 8 + fragment.len() as u64;
            Some(start)
        })
        .collect();
    let is_sound = offsets.is_sorted_by(|a, b| a < b)
        && offsets.iter().all(|offset| starts.binary_search(&u64::from(*offset)).is_ok());
    if !is_sound || (!offsets.is_empty() && offsets.len() != frames) {
        return Err(damaged_because(
            "the table of offsets does not point to the frames' fragments".into(),
        ));
    }
    if fragments.len() == frames {
        return Ok(fragments[frame].clone());
    }
    if offsets.len() != frames {
        return Err(damaged_because(format!(
            "{} fragments for {frames} frames, and no table says which belong together",
            fragments.len()
        )));
    }
    let (start, end) = (offsets[frame], offsets.get(frame + 1).copied().unwrap_or(u32::MAX));
    let range = u64::from(start)..u64::from(end);
    let own = fragments.iter().zip(starts).filter(|(_, place)| range.contains(place));
    Ok(own.flat_map(|(fragment, _)| fragment.iter().copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        columns: 40,
        rows: 40,
        frames: 1,
        allocated: 16,
        stored: 12,
        high_bit: 11,
        is_signed: true,
    };

    #[test]
    fn values_are_the_stored_bits_with_their_sign() {
        assert_eq!(
            [0, 5, 0x7ff, 0x800, 0xfff, 0xf005].map(|w| LAYOUT.value(w)),
            [0, 5, 2047, -2048, -1, 5]
        );
        let unsigned = Layout { is_signed: false, ..LAYOUT };
        assert_eq!(unsigned.value(0xfff), 4095);
        let high = Layout { high_bit: 15, ..LAYOUT };
        assert_eq!(high.value(0xfff0), -1);
        let full = Layout { stored: 16, high_bit: 15, ..LAYOUT };
        assert_eq!([0x8000, 0xffff].map(|word| full.value(word)), [-32768, -1]);
    }

    #[test]
    fn fragments_belong_to_frames_by_number_or_by_table() {
        let fragments = [vec![1, 2], vec![3, 4], vec![5, 6]];
        assert_eq!(of_frame(&fragments, &[], 0, 1).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(of_frame(&fragments, &[], 1, 3).unwrap(), [3, 4]);
        assert_eq!(of_frame(&fragments, &[0, 20], 0, 2).unwrap(), [1, 2, 3, 4]);
        assert_eq!(of_frame(&fragments, &[0, 20], 1, 2).unwrap(), [5, 6]);
        assert!(of_frame(&fragments, &[], 0, 2).is_err());
        // A table that swaps frames, or points into a fragment.
        assert!(of_frame(&fragments, &[20, 0], 0, 2).is_err());
        assert!(of_frame(&fragments, &[0, 10, 18], 0, 3).is_err());
        assert_eq!(of_frame(&fragments, &[0, 10, 20], 2, 3).unwrap(), [5, 6]);
        // Tables that say nothing, and one that counts from elsewhere.
        assert_eq!(of_frame(&fragments, &[0, 0, 0], 1, 3).unwrap(), [3, 4]);
        assert_eq!(of_frame(&fragments, &[0], 1, 3).unwrap(), [3, 4]);
        assert_eq!(of_frame(&fragments, &[8, 18, 28], 1, 3).unwrap(), [3, 4]);
    }

    #[test]
    fn a_picture_that_contradicts_the_file_is_refused() {
        let good =
            CodestreamInfo { kind: "JPEG", width: 40, height: 40, components: 1, precision: 12 };
        assert!(LAYOUT.check(&good).is_ok());
        for wrong in [
            CodestreamInfo { height: 41, ..good },
            CodestreamInfo { components: 3, ..good },
            CodestreamInfo { precision: 8, ..good },
            CodestreamInfo { precision: 17, ..good },
        ] {
            assert!(LAYOUT.check(&wrong).is_err());
        }
    }
}
