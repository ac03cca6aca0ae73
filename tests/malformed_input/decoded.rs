//! What is read gives the values that were stored, or is refused for what contradicts itself.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use groundglass::image::decode::{AllFormats, Budget, Formats, ImageError};
use groundglass::image::slice::Values;
use groundglass::image::{FileBytes, Study, Warning};

use crate::common::dicom::{SIDE, Small};
use crate::samples::*;

#[test]
fn every_transfer_syntax_gives_the_values_that_were_stored() {
    for (name, bytes, tolerance) in syntaxes() {
        let frames = AllFormats::open(&bytes, &mut Budget::default());
        assert!(frames.is_ok(), "{name}: {}", frames.unwrap_err());
        let last = usize::from(name.contains("two frames"));
        let raw = AllFormats::decode(&bytes, last);
        let raw = raw.unwrap_or_else(|error| panic!("{name}: {error}"));
        let Values::Hounsfield(found) = raw.values else { panic!("{name}: grey values") };
        let off = found.iter().zip(Small::values()).map(|(a, b)| (a - f32::from(b)).abs());
        let off = off.fold(0.0, f32::max);
        assert!(off <= f32::from(tolerance), "{name}: off by {off}");
    }
}

/// A file that counts how often it is read, and may change.
struct Watched {
    bytes: RefCell<Vec<u8>>,
    readings: Cell<usize>,
}

impl FileBytes for &Watched {
    type Formats = AllFormats;

    fn bytes(&self) -> Result<Cow<'_, [u8]>, ImageError> {
        self.readings.set(self.readings.get() + 1);
        Ok(Cow::Owned(self.bytes.borrow().clone()))
    }
}

fn watched(bytes: Vec<u8>) -> Watched {
    Watched { bytes: RefCell::new(bytes), readings: Cell::new(0) }
}

#[test]
fn a_file_of_many_frames_is_parsed_once() {
    let file = watched(Small { frames: 100, ..Small::native() }.bytes());
    let found = Study::open([("many.dcm".to_owned(), &file)]);
    assert_eq!(found.slices(), 100);
    for slice in &found.series[0].slices {
        assert_eq!(slice.read().unwrap().width, usize::from(SIDE));
        assert_eq!(slice.dicom_source().unwrap().frame, Some(slice.header.frame + 1));
    }
    assert_eq!(file.readings.get(), 1);
}

#[test]
fn a_file_that_changed_since_it_was_opened_is_refused() {
    for whole in [png(), Small::native().bytes()] {
        let file = watched(whole);
        let found = Study::open([("slice".to_owned(), &file)]);
        let slice = &found.series[0].slices[0];
        assert!(slice.read().is_ok());
        // Another picture of the same size, under the same name and identifiers.
        let last = file.bytes.borrow().len() - 1;
        file.bytes.borrow_mut()[last] ^= 1;
        let refused = slice.read().unwrap_err().to_string();
        assert!(refused.contains("changed since it was opened"), "{refused}");
        assert!(matches!(slice.dicom_source(), Err(ImageError::Unreadable { .. })));
    }
}

#[test]
fn slices_without_a_series_identifier_and_of_other_patients_are_no_series() {
    let text = |tag, vr, value: &str| {
        dicom_core::DataElement::new(tag, vr, dicom_core::PrimitiveValue::from(value))
    };
    let slice = |series: &str, patient: &str| {
        let more = vec![
            text(dicom_object::Tag(0x0020, 0x000E), dicom_core::VR::UI, series),
            text(dicom_object::Tag(0x0010, 0x0020), dicom_core::VR::LO, patient),
        ];
        Small { more, ..Small::native() }.bytes()
    };
    let opened = |files: [(&str, Vec<u8>); 2]| {
        Study::open(files.map(|(name, bytes)| (name.to_owned(), bytes))).series.len()
    };
    // As anonymisers leave them.
    assert_eq!(opened([("a/1.dcm", slice("", "")), ("b/1.dcm", slice("", ""))]), 2);
    assert_eq!(opened([("a/1.dcm", slice("", "")), ("a/2.dcm", slice("", ""))]), 1);
    assert_eq!(opened([("a/1.dcm", slice("1.2", "X")), ("a/2.dcm", slice("1.2", "Y"))]), 2);
}

#[test]
fn what_would_be_copied_for_every_frame_is_short() {
    let long = "1".repeat(1_000_000);
    let more = vec![dicom_core::DataElement::new(
        dicom_object::Tag(0x0020, 0x000E),
        dicom_core::VR::UT,
        dicom_core::PrimitiveValue::from(long.as_str()),
    )];
    let bytes = Small { frames: 1000, more, ..Small::native() }.bytes();
    let refused = AllFormats::open(&bytes, &mut Budget::default()).unwrap_err().to_string();
    assert!(refused.contains("identifier of 1000000 characters"), "{refused}");
}

#[test]
fn more_pixels_than_the_file_speaks_of_are_a_contradiction() {
    let mut bytes = Small { frames: 3, ..Small::native() }.bytes();
    let place = bytes.windows(8).position(|part| part == b"\x28\0\x08\0IS\x02\0").unwrap();
    bytes[place + 8..place + 10].copy_from_slice(b"1 ");
    let refused = AllFormats::open(&bytes, &mut Budget::default()).unwrap_err().to_string();
    assert!(refused.contains("3200 bytes of pixels were expected, 9600 are there"), "{refused}");
}

#[test]
fn the_end_of_a_compressed_volume_is_checked() {
    let whole = gzip(&nifti());
    assert_eq!(Study::open([("v.nii.gz".to_owned(), whole.clone())]).slices(), 3);
    // Padding behind the end is no damage.
    let padded = [whole.clone(), vec![0; 512]].concat();
    let found = Study::open([("v.nii.gz".to_owned(), padded)]);
    assert_eq!(found.slices(), 3);
    assert!(found.series[0].slices[0].read().unwrap().warnings.contains(&Warning::TrailingData));
    for place in [whole.len() - 8, whole.len() - 4] {
        let mut broken = whole.clone();
        broken[place] ^= 1;
        let found = Study::open([("v.nii.gz".to_owned(), broken)]);
        assert_eq!(found.slices(), 0, "a wrong checksum or length at {place}");
    }
}

#[test]
fn offsets_units_and_versions_of_volumes() {
    let open = |bytes: &[u8]| AllFormats::open(bytes, &mut Budget::default());
    let good = nifti();
    let mut unplaced = good.clone();
    unplaced[108..112].copy_from_slice(&0f32.to_le_bytes());
    let first = |bytes: &[u8]| {
        let found = Study::open([("v.nii".to_owned(), bytes.to_vec())]);
        found.series[0].slices[0].read().unwrap()
    };
    assert_eq!(first(&unplaced).values, first(&good).values);
    let mut early = good.clone();
    early[108..112].copy_from_slice(&348f32.to_le_bytes());
    assert!(open(&early).unwrap_err().to_string().contains("byte 348"));
    let mut metres = good.clone();
    for (k, size) in [0.0005f32, 0.00075, 0.002].iter().enumerate() {
        metres[80 + 4 * k..][..4].copy_from_slice(&size.to_le_bytes());
    }
    metres[123] = 1;
    let [rows, columns] = first(&metres).spacing_mm.unwrap();
    assert!((rows - 0.75).abs() < 1e-4 && (columns - 0.5).abs() < 1e-4, "{rows} {columns}");
    let mut second = good;
    second[..8].copy_from_slice(b"\x1c\x02\0\0n+2\0");
    let said = open(&second).unwrap_err().to_string();
    assert!(said.contains("not supported: NIfTI-2") && !said.contains("damaged"), "{said}");
}

#[test]
fn encodings_that_are_not_read_are_refused_by_name() {
    for (syntax, name) in [
        ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.201"),
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.840.10008.1.2.4.110", "JPEG XL"),
    ] {
        let bytes = Small::compressed(syntax, vec![1, 2, 3, 4]).bytes();
        let refused = AllFormats::open(&bytes, &mut Budget::default()).unwrap_err().to_string();
        assert!(refused.contains("not supported") && refused.contains(name), "{refused}");
    }
}

/// Compressed volumes in parts, as bgzip writes them, and slopes that are no numbers.
#[test]
fn odd_but_good_volumes_are_read() {
    let whole = nifti();
    let parts = [gzip(&whole[..1000]), gzip(&whole[1000..])].concat();
    assert_eq!(Study::open([("parts.nii.gz".to_owned(), parts)]).slices(), 3);
    let mut scaled = whole;
    scaled[112..116].copy_from_slice(&f32::NAN.to_le_bytes());
    let opened = Study::open([("nan.nii".to_owned(), scaled)]);
    let Values::Hounsfield(values) = opened.series[0].slices[0].read().unwrap().values else {
        panic!("grey values")
    };
    assert!(values.iter().all(|value| value.is_finite()));
}
