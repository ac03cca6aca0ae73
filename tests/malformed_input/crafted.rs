//! Files crafted to kill, to hang, to fill the memory, or to be read as what they are not.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Instant;

use groundglass::image::Study;
use groundglass::image::decode::{AllFormats, Budget, Formats};

use crate::attack::*;
use crate::common::dicom::{Small, rle};
use crate::common::files::zip_of;
use crate::samples::*;

/// A JPEG header of any size and precision with a scan that is hardly there.
fn jpeg_claim(process: u8, side: u16, components: u8, precision: u8) -> Vec<u8> {
    let [high, low] = side.to_be_bytes();
    let mut bytes = vec![0xff, 0xd8, 0xff, process, 0, 8 + 3 * components, precision];
    bytes.extend([high, low, high, low, components]);
    bytes.extend((1..=components).flat_map(|id| [id, 0x11, 0]));
    bytes.extend([0xff, 0xda, 0, 8, 1, 1, 0, 1, 0, 0, 0x12, 0x34, 0xff, 0xd9]);
    bytes
}

/// A JPEG 2000 header that claims components, tiles and precincts.
fn jpeg_2000_claim(side: u32, tile: u32, components: u16, precinct: Option<u8>) -> Vec<u8> {
    let mut bytes = vec![0xff, 0x4f, 0xff, 0x51];
    bytes.extend((38 + 3 * components).to_be_bytes());
    bytes.extend([0, 0]);
    for number in [side, side, 0, 0, tile, tile, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(components.to_be_bytes());
    bytes.extend((0..components).flat_map(|_| [15, 1, 1]));
    let style = u8::from(precinct.is_some());
    let length = 12 + if precinct.is_some() { 6 } else { 0 };
    bytes.extend([0xff, 0x52, 0, length, style, 0, 0, 1, 0, 5, 4, 4, 0, 1]);
    bytes.extend(precinct.iter().flat_map(|size| [*size; 6]));
    bytes.extend([0xff, 0x5c, 0, 19, 0x40]);
    bytes.extend([0x80; 16]);
    bytes.extend([0xff, 0x90, 0, 10, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0x93, 0xff, 0xd9]);
    bytes
}

/// Files that were crafted to kill, to hang, to fill the memory, or to be read as what they are not.
fn crafted() -> Vec<(&'static str, Vec<u8>)> {
    let compressed = |syntax, picture| Small::compressed(syntax, picture).bytes();
    let eight = |picture| {
        Small { bits: (8, 8), ..Small::compressed("1.2.840.10008.1.2.4.50", picture) }.bytes()
    };
    let format = libjpeg_turbo_rs::PixelFormat::Grayscale;
    let sampling = libjpeg_turbo_rs::Subsampling::S444;
    let grey = |width: usize, height: usize| {
        libjpeg_turbo_rs::compress(&vec![9; width * height], width, height, format, 90, sampling)
    };
    let rgb = libjpeg_turbo_rs::PixelFormat::Rgb;
    let colour = libjpeg_turbo_rs::compress(&[9; 40 * 40 * 3], 40, 40, rgb, 90, sampling).unwrap();
    let good = rle(&Small::values());
    let mut long = good.clone();
    long.extend([0xff, 7, 0xff, 7]);
    let mut bits = Small::compressed("1.2.840.10008.1.2.4.50", grey(40, 40).unwrap());
    bits.bits = (16, 16);
    let nested = |depth: usize| {
        let mut bytes = Small::native().bytes();
        let start = [0x40, 0, 0x75, 2, b'S', b'Q', 0, 0, 255, 255, 255, 255];
        let item = [0xfe, 0xff, 0, 0xe0, 255, 255, 255, 255];
        (0..depth).for_each(|_| {
            bytes.extend(start);
            bytes.extend(item);
        });
        bytes
    };
    let mut items = Small::native().bytes();
    items.extend([0x40, 0, 0x75, 2, b'S', b'Q', 0, 0, 255, 255, 255, 255]);
    items.extend([0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0].repeat(3_000_000));
    let (jpeg, ll, j2k) =
        ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90");
    vec![
        ("JPEG with more rows", eight(grey(40, 48).unwrap())),
        ("JPEG with fewer rows", eight(grey(40, 33).unwrap())),
        ("colour JPEG", eight(colour)),
        ("JPEG of 8 bits as 16", bits.bytes()),
        ("JPEG of 65500 x 65500", compressed(jpeg, jpeg_claim(0xc0, 65500, 1, 8))),
        ("JPEG of 16000 x 16000", compressed(jpeg, jpeg_claim(0xc0, 16000, 1, 8))),
        ("lossless JPEG of 65500 x 65500", compressed(ll, jpeg_claim(0xc3, 65500, 1, 16))),
        (
            "JPEG-LS of 65500 x 65500",
            compressed("1.2.840.10008.1.2.4.80", jpeg_claim(0xf7, 65500, 1, 16)),
        ),
        ("JPEG 2000 of 200 components", compressed(j2k, jpeg_2000_claim(40, 40, 200, None))),
        ("JPEG 2000 of another size", compressed(j2k, jpeg_2000_claim(4096, 4096, 1, None))),
        ("JPEG 2000 in tiles of one pixel", compressed(j2k, jpeg_2000_claim(40, 0, 1, None))),
        ("JPEG 2000 without packets", compressed(j2k, jpeg_2000_claim(40, 40, 1, None))),
        ("RLE of four bytes", compressed("1.2.840.10008.1.2.5", vec![2, 0, 0, 0])),
        (
            "RLE segments too short",
            compressed("1.2.840.10008.1.2.5", good[..good.len() - 40].to_vec()),
        ),
        ("RLE segments too long", compressed("1.2.840.10008.1.2.5", long)),
        ("5000 nested sequences", nested(5000)),
        ("20000 nested sequences", nested(20_000)),
        ("three million items", items),
    ]
}

#[test]
fn crafted_files_are_refused_quickly_within_memory_and_by_what_is_wrong() {
    for (name, bytes) in crafted() {
        LARGEST.store(0, Ordering::Relaxed);
        let started = Instant::now();
        let opened = AllFormats::open(&bytes, &mut Budget::default());
        let outcome = opened.and_then(|_| AllFormats::decode(&bytes, 0));
        let error = match outcome {
            Ok(_) => panic!("{name}: read without a word"),
            Err(error) => error.to_string(),
        };
        assert!(started.elapsed() < MOST_TIME, "{name}: {:?}", started.elapsed());
        println!("{name}: {error}");
        check_memory(name, MOST_BYTES);
    }
}

/// In a picture of the greatest size, tiles, precincts and code blocks are counted before they are made.
#[test]
fn large_pictures_in_small_pieces_are_refused_before_they_are_decoded() {
    let large = |picture| {
        let short = |tag, value: u16| {
            dicom_core::DataElement::new(
                tag,
                dicom_core::VR::US,
                dicom_core::PrimitiveValue::from(value),
            )
        };
        let sides = [0x0010, 0x0011].map(|element| short(dicom_object::Tag(0x0028, element), 4096));
        let small = Small::compressed("1.2.840.10008.1.2.4.90", picture);
        Small { more: sides.into(), ..small }.bytes()
    };
    for (name, picture) in [
        ("tiles", jpeg_2000_claim(4096, 1, 1, None)),
        ("precincts", jpeg_2000_claim(4096, 4096, 1, Some(0x11))),
    ] {
        let started = Instant::now();
        let refused = AllFormats::decode(&large(picture), 0).unwrap_err().to_string();
        assert!(refused.contains(name), "{refused}");
        assert!(started.elapsed() < MOST_TIME, "{name}: {:?}", started.elapsed());
        check_memory(name, MOST_BYTES);
    }
}

/// A header that is checked and another that is decoded; small pieces asked for where nobody looks.
#[test]
fn headers_within_a_picture_cannot_hide_others() {
    let sides = |side: u16| {
        [0x0010, 0x0011].map(|element| {
            let tag = dicom_object::Tag(0x0028, element);
            let value = dicom_core::PrimitiveValue::from(side);
            dicom_core::DataElement::new(tag, dicom_core::VR::US, value)
        })
    };
    let large = |picture| {
        let small = Small::compressed("1.2.840.10008.1.2.4.90", picture);
        Small { more: sides(4096).into(), ..small }.bytes()
    };
    // A JP2 file whose first codestream lies in a box of its own; the second is larger than any machine.
    let decoy = jpeg_2000_claim(4096, 4096, 1, None);
    let real = jpeg_2000_claim(60_000, 60_000, 1, None);
    let mut jp2 = vec![0, 0, 0, 12, b'j', b'P', b' ', b' ', 13, 10, 0x87, 10];
    jp2.extend((decoy.len() as u32 + 24).to_be_bytes());
    jp2.extend(b"uuid");
    jp2.extend([7; 16]);
    jp2.extend(&decoy);
    jp2.extend([0, 0, 0, 0, b'j', b'p', b'2', b'c']);
    jp2.extend(&real);
    // Precincts of two pixels, by a component's own style, a second style, and a tile's.
    let plain = jpeg_2000_claim(4096, 4096, 1, None);
    let tile = plain.windows(2).position(|pair| pair == [0xff, 0x90]).unwrap();
    let small_style =
        [0xff, 0x52, 0, 18, 1, 0, 0, 1, 0, 5, 4, 4, 0, 1, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11];
    let small_component =
        [0xff, 0x53, 0, 15, 0, 1, 5, 4, 4, 0, 1, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11];
    let inserted = |place: usize, segment: &[u8]| {
        let mut bytes = plain.clone();
        bytes.splice(place..place, segment.iter().copied());
        bytes
    };
    for (name, picture) in [
        ("a JP2 file within a box", jp2),
        ("a component's style", inserted(tile, &small_component)),
        ("a second style", inserted(tile, &small_style)),
        ("a tile's style", inserted(tile + 12, &small_style)),
    ] {
        let started = Instant::now();
        let refused = AllFormats::decode(&large(picture), 0).unwrap_err().to_string();
        println!("{name}: {refused}");
        assert!(started.elapsed() < MOST_TIME, "{name}: {:?}", started.elapsed());
        check_memory(name, MOST_BYTES);
    }
}

/// An archive or volume that is refused leaves room for those after it.
#[test]
fn what_is_refused_takes_nothing_from_the_budget() {
    let mut budget = Budget::new(1 << 20);
    let large = vec![0; 700 << 10];
    let bomb = zip_of([("a", &large), ("b", &large)], zip::CompressionMethod::Deflated);
    assert!(AllFormats::open(&bomb, &mut budget).is_err());
    assert_eq!(budget.left(), 1 << 20);
    let mut wide = nifti();
    wide[42..46].copy_from_slice(&[0xff, 0x7f, 0xff, 0x7f]);
    assert!(AllFormats::open(&wide, &mut budget).is_err());
    let cut = nifti();
    assert!(AllFormats::open(&cut[..cut.len() - 1], &mut budget).is_err());
    assert_eq!(budget.left(), 1 << 20);
    assert!(AllFormats::open(&zip_archive(), &mut budget).is_ok());
}

/// What a reader costs whose stream continues long after what its header announces.
#[test]
fn a_compressed_volume_is_unpacked_no_further_than_its_header_says() {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&nifti()).unwrap();
    (0..300).for_each(|_| packer.write_all(&[0; 1 << 20]).unwrap());
    let packed = packer.finish().unwrap();
    let started = Instant::now();
    let mut budget = Budget::new(10_000);
    assert!(AllFormats::open(&packed, &mut budget).is_ok(), "8640 bytes fit");
    assert_eq!(Study::open([("bomb.nii.gz".to_owned(), packed)]).slices(), 3);
    assert!(started.elapsed() < MOST_TIME);
}

/// Found by fuzzing: the library panics at no bits and makes a table of 16 GiB for 32.
#[test]
fn bits_that_cannot_be_are_refused() {
    for bits in [0, 17, 32, 65535] {
        let bytes = dicom(bits);
        let refused = AllFormats::decode(&bytes, 0).unwrap_err().to_string();
        assert!(refused.contains(&format!("{bits} of 16 bits are stored")), "{refused}");
    }
}
