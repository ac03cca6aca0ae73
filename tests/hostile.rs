//! Strangers' files, crafted or broken at random: every reader refuses them or reads them, none panics, and none
//! takes more memory or time than it may.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use common::dicom::{JPEG_2000, SIDE, Small, rle};
use groundglass::image::Study;
use groundglass::image::decode::{AllFormats, Budget, Formats, ImageError};
use groundglass::image::slice::Values;
use groundglass::image::study::FileBytes;
use groundglass::inference::manifest::Manifest;
use groundglass::network::StateDict;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Broken files of each kind; GROUNDGLASS_HOSTILE asks for more.
fn rounds() -> u64 {
    std::env::var("GROUNDGLASS_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// Breaks a file: bytes changed, a piece repeated or left out, the end cut off.
fn broken(whole: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            break;
        }
        // Headers are at the front: half of the changes hit there.
        let length = bytes.len();
        let reach = if rng.random_bool(0.5) { length.min(600) } else { length };
        let at = rng.random_range(0..reach);
        match rng.random_range(0..6) {
            0 => bytes[at] = rng.random(),
            1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes[at] = [0, 0xff, 0x7f, 0x80][rng.random_range(0..4)],
            3 => bytes.truncate(at),
            4 => {
                let end = (at + rng.random_range(1..64)).min(length);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = (at + rng.random_range(1..64)).min(length);
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

/// The system's allocator, which remembers the largest block that was asked for.
struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait; it hands everything on")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Largest block that any of these small files may cost: a picture of 4096 x 4096 pixels, 16 bytes each.
const MOST_BYTES: usize = 256 << 20;
/// Longest time that any may take, on a busy machine.
const MOST_TIME: Duration = Duration::from_secs(5);

/// Fails if a block larger than the budget was asked for since the last look.
fn check_memory(what: &str, most: usize) {
    let largest = LARGEST.swap(0, Ordering::Relaxed);
    assert!(largest <= most, "{what}: a block of {largest} bytes was asked for");
}

/// Breaks `whole` many times and hands it to `read`; a panic fails with what to look for.
fn attack(name: &str, whole: &[u8], read: impl Fn(&[u8])) {
    read(whole);
    if let Some(folder) = std::env::var_os("GROUNDGLASS_SEEDS") {
        // Whole files for the fuzzer to start from.
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(name.replace([' ', '/'], "_")), whole)
            .unwrap();
    }
    for seed in 0..rounds() {
        let bytes = broken(whole, &mut ChaCha8Rng::seed_from_u64(seed));
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
        assert!(outcome.is_ok(), "{name}, seed {seed}: the reader panicked");
        let seconds = started.elapsed();
        assert!(seconds < MOST_TIME, "{name}, seed {seed}: {seconds:?}");
        check_memory(&format!("{name}, seed {seed}"), MOST_BYTES);
    }
}

/// Opens a file and decodes what it offers, as the page and the command line do. Says how many reads a panic
/// behind the wall ended.
fn look(bytes: &[u8]) -> usize {
    let is_broken = |error: &ImageError| {
        assert!(!error.to_string().is_empty());
        usize::from(matches!(error, ImageError::Broken { .. }))
    };
    let found = Study::open([("file".to_owned(), bytes.to_vec())]);
    let mut panics: usize = found.refused.iter().map(|(_, error)| is_broken(error)).sum();
    for series in &found.series {
        for slice in series.slices.iter().take(3) {
            panics += slice.read().map_or_else(|error| is_broken(&error), |_| 0);
            panics += slice.dicom_source().map_or_else(|error| is_broken(&error), |_| 0);
        }
    }
    panics
}

/// Attacks the readers of slices. Libraries below may panic, which the wall turns into an error; it is counted.
fn attack_slices(name: &str, whole: &[u8]) {
    let panics = AtomicUsize::new(0);
    attack(name, whole, |bytes| {
        panics.fetch_add(look(bytes), Ordering::Relaxed);
    });
    println!("{name}: {} of {} ended at the wall", panics.into_inner(), rounds());
}

fn grey(side: u32) -> image::GrayImage {
    image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x * 3 + y * 5) as u8]))
}

fn png() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    grey(48).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn jpeg() -> Vec<u8> {
    let (grey, sampling) = (grey(48), libjpeg_turbo_rs::Subsampling::S444);
    let format = libjpeg_turbo_rs::PixelFormat::Grayscale;
    libjpeg_turbo_rs::compress(&grey, 48, 48, format, 90, sampling).unwrap()
}

/// Four frames of which `bits` are stored.
fn dicom(bits: u16) -> Vec<u8> {
    Small { frames: 4, bits: (16, bits), ..Small::native() }.bytes()
}

fn lossless_jpeg(values: &[u16], side: usize) -> Vec<u8> {
    libjpeg_turbo_rs::precision::compress_lossless_arbitrary(values, side, side, 1, 16, 1, 0)
        .unwrap()
}

fn jpeg_ls(values: &[u16], side: u32, near: u8) -> Vec<u8> {
    let mut options = jpegls::EncodeOptions::default();
    options.near = near;
    let mut bytes = Vec::new();
    jpegls::encode_with_options(values, side, side, &options, &mut bytes).unwrap();
    bytes
}

/// A CT slice in every transfer syntax that is read, and by how much its values may be off.
fn syntaxes() -> Vec<(&'static str, Vec<u8>, u16)> {
    let values = Small::values();
    let side = usize::from(SIDE);
    let low: Vec<u8> = values.iter().map(|value| (value >> 3) as u8).collect();
    let format = libjpeg_turbo_rs::PixelFormat::Grayscale;
    let sampling = libjpeg_turbo_rs::Subsampling::S444;
    let baseline = libjpeg_turbo_rs::compress(&low, side, side, format, 95, sampling).unwrap();
    let signed: Vec<i16> = values.iter().map(|value| *value as i16).collect();
    let extended =
        libjpeg_turbo_rs::precision::compress_12bit(&signed, side, side, 1, 95, sampling).unwrap();
    let jpeg_2000 = base64::engine::general_purpose::STANDARD.decode(JPEG_2000).unwrap();
    let compressed = |syntax, picture| Small::compressed(syntax, picture);
    vec![
        ("explicit", Small::native().bytes(), 0),
        ("deflated", Small::deflated(), 0),
        ("RLE", compressed("1.2.840.10008.1.2.5", rle(&values)).bytes(), 0),
        (
            "JPEG baseline",
            Small { bits: (8, 8), ..compressed("1.2.840.10008.1.2.4.50", baseline) }.bytes(),
            u16::MAX,
        ),
        (
            "JPEG extended",
            Small { bits: (16, 12), ..compressed("1.2.840.10008.1.2.4.51", extended) }.bytes(),
            16,
        ),
        (
            "JPEG lossless",
            compressed("1.2.840.10008.1.2.4.57", lossless_jpeg(&values, side)).bytes(),
            0,
        ),
        (
            "JPEG lossless SV1",
            compressed("1.2.840.10008.1.2.4.70", lossless_jpeg(&values, side)).bytes(),
            0,
        ),
        (
            "JPEG-LS",
            compressed("1.2.840.10008.1.2.4.80", jpeg_ls(&values, SIDE.into(), 0)).bytes(),
            0,
        ),
        (
            "JPEG-LS near",
            compressed("1.2.840.10008.1.2.4.81", jpeg_ls(&values, SIDE.into(), 2)).bytes(),
            2,
        ),
        ("JPEG 2000", compressed("1.2.840.10008.1.2.4.90", jpeg_2000.clone()).bytes(), 0),
        ("JPEG 2000 lossy", compressed("1.2.840.10008.1.2.4.91", jpeg_2000).bytes(), 0),
        (
            "RLE, two frames",
            Small {
                fragments: vec![rle(&values), rle(&values)],
                frames: 2,
                ..compressed("1.2.840.10008.1.2.5", Vec::new())
            }
            .bytes(),
            0,
        ),
    ]
}

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
        assert!(matches!(slice.dicom_source(), Err(ImageError::Gone { .. })));
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
    assert!(
        found.series[0].slices[0].read().unwrap().warnings.iter().any(|w| w.contains("goes on"))
    );
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
    assert!(open(&second).unwrap_err().to_string().contains("NIfTI-2"));
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

#[test]
fn broken_dicom_files_of_every_transfer_syntax_are_refused_without_a_panic() {
    for (name, bytes, _) in syntaxes() {
        attack_slices(name, &bytes);
    }
}

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
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["a", "b"] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(&vec![0; 700 << 10]).unwrap();
    }
    let bomb = writer.finish().unwrap().into_inner();
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

/// What a reader costs whose stream goes on long after what its header announces.
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

/// Real files, if they are there, broken in the same ways.
#[test]
fn broken_copies_of_real_files_are_refused_without_a_panic() {
    let folder = common::reference().join("data/formats");
    if !folder.is_dir() {
        return println!("{}: not there, not attacked", folder.display());
    }
    let mut files = Vec::new();
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut panics = 0;
    let each = rounds().div_ceil(20);
    for path in &files {
        let whole = std::fs::read(path).unwrap();
        look(&whole);
        LARGEST.store(0, Ordering::Relaxed);
        for seed in 0..each {
            let bytes = broken(&whole, &mut ChaCha8Rng::seed_from_u64(seed));
            let started = Instant::now();
            panics += look(&bytes);
            let what = format!("{}, seed {seed}", path.display());
            assert!(started.elapsed() < MOST_TIME, "{what}: {:?}", started.elapsed());
            // A compressed volume may be as large as deflate can make it, within the budget.
            let most =
                (1100 * bytes.len()).min(groundglass::image::decode::limits::MAX_UNPACKED as usize);
            check_memory(&what, MOST_BYTES.max(most));
        }
    }
    println!("{} files, each broken {each} times: {panics} ended at the wall", files.len());
}

/// 40 x 36 x 3 voxels of 16 bits.
fn nifti() -> Vec<u8> {
    let mut bytes = vec![0u8; 352];
    bytes[..4].copy_from_slice(&348i32.to_le_bytes());
    for (k, size) in [3i16, 40, 36, 3, 1, 1, 1, 1].iter().enumerate() {
        bytes[40 + 2 * k..][..2].copy_from_slice(&size.to_le_bytes());
    }
    bytes[70..74].copy_from_slice(&[4, 0, 16, 0]);
    for (k, size) in [1.0f32, 0.5, 0.75, 2.0].iter().enumerate() {
        bytes[76 + 4 * k..][..4].copy_from_slice(&size.to_le_bytes());
    }
    bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
    bytes[252] = 1;
    bytes[344..348].copy_from_slice(b"n+1\0");
    bytes.extend((0..40 * 36 * 3).flat_map(|i: u16| (i % 900).to_le_bytes()));
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_archive() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("a/1.png", png()), ("a/2.dcm", dicom(16))] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(&bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
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

#[test]
fn broken_pictures_are_refused_without_a_panic() {
    attack_slices("png", &png());
    attack_slices("jpeg", &jpeg());
}

#[test]
fn broken_dicom_files_are_refused_without_a_panic() {
    attack_slices("dicom", &dicom(16));
}

#[test]
fn broken_volumes_are_refused_without_a_panic() {
    attack_slices("nifti", &nifti());
    attack_slices("nifti.gz", &gzip(&nifti()));
}

#[test]
fn broken_archives_are_refused_without_a_panic() {
    attack_slices("zip", &zip_archive());
}

#[test]
fn broken_weights_and_manifests_are_refused_without_a_panic() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::fs::read(root.join("models/manifest.json")).unwrap();
    attack("manifest", &manifest, |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = Manifest::parse(text);
        }
    });
    // A small container: the header is what is believed too easily.
    let mut state = StateDict::default();
    let values = (0..24).map(|i| i as f32).collect();
    let parameter = groundglass::network::weights::Parameter { shape: vec![2, 3, 4], values };
    state.tensors.insert("backbone.body.conv1.weight".into(), parameter);
    attack("bpk", &state.to_pack().unwrap(), |bytes| {
        let _ = StateDict::from_bytes(bytes);
    });
}

#[test]
fn broken_checkpoints_are_refused_without_a_panic() {
    let folder = std::env::var_os("GROUNDGLASS_REFERENCE").map(std::path::PathBuf::from);
    let folder = folder
        .unwrap_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    for name in ["resnet18t1_seg.pth", "resnet18t1_paper_seg.pth"] {
        let Ok(bytes) = std::fs::read(folder.join("golden").join(name)) else {
            println!("{name}: not there, not attacked");
            continue;
        };
        read_checkpoint(&bytes);
        for seed in 0..rounds() / 30 {
            let broken = broken(&bytes, &mut ChaCha8Rng::seed_from_u64(seed));
            let outcome = catch_unwind(|| read_checkpoint(&broken));
            assert!(outcome.is_ok(), "{name}, seed {seed}: the reader panicked");
        }
    }
}

fn read_checkpoint(bytes: &[u8]) {
    let _ = StateDict::from_bytes(bytes);
}
