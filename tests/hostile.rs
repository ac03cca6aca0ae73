//! Strangers' files, broken at random: every reader refuses them or reads them, and none panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, Tag};
use groundglass::image::decode::{AllFormats, Formats, Opened};
use groundglass::network::StateDict;
use groundglass::predict::manifest::Manifest;
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
        assert!(seconds < Duration::from_secs(10), "{name}, seed {seed}: {seconds:?}");
    }
}

/// Opens a file and decodes what it offers, as the page does.
fn look(bytes: &[u8]) {
    match AllFormats::open(bytes) {
        Ok(Opened::Slices(headers)) => {
            for header in headers.iter().take(3) {
                let _ = AllFormats::decode(bytes, header.frame);
            }
        }
        Ok(Opened::Volume(volume)) => {
            for frame in 0..volume.headers().len().min(3) {
                let _ = volume.read(frame);
            }
        }
        Ok(Opened::Archive(files)) => files.iter().for_each(|(_, bytes)| {
            let _ = AllFormats::open(bytes);
        }),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
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

/// Four frames of 40 x 40 pixels, of which `bits` are stored.
fn dicom(bits: u16) -> Vec<u8> {
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    let short = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let pixels: Vec<u16> = (0..4 * 1600).map(|i| (i * 7 % 2000) as u16).collect();
    let mut object = InMemDicomObject::new_empty();
    for element in [
        text(Tag(0x0008, 0x0016), VR::UI, "1.2.840.10008.5.1.4.1.1.2"),
        text(Tag(0x0008, 0x0018), VR::UI, "1.2.3"),
        text(Tag(0x0020, 0x0032), VR::DS, "1\\2\\3"),
        text(Tag(0x0020, 0x0037), VR::DS, "1\\0\\0\\0\\1\\0"),
        short(Tag(0x0028, 0x0002), 1),
        text(Tag(0x0028, 0x0004), VR::CS, "MONOCHROME2"),
        text(Tag(0x0028, 0x0008), VR::IS, "4"),
        short(Tag(0x0028, 0x0010), 40),
        short(Tag(0x0028, 0x0011), 40),
        text(Tag(0x0028, 0x0030), VR::DS, "0.5\\0.5"),
        short(Tag(0x0028, 0x0100), 16),
        short(Tag(0x0028, 0x0101), bits),
        short(Tag(0x0028, 0x0102), 15),
        short(Tag(0x0028, 0x0103), 0),
        DataElement::new(Tag(0x7FE0, 0x0010), VR::OW, PrimitiveValue::U16(pixels.into())),
    ] {
        object.put(element);
    }
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax("1.2.840.10008.1.2.1")
        .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.2")
        .media_storage_sop_instance_uid("1.2.3");
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
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
        assert!(refused.contains(&format!("{bits} of 16 bits")), "{refused}");
    }
}

#[test]
fn broken_pictures_are_refused_without_a_panic() {
    attack("png", &png(), look);
    attack("jpeg", &jpeg(), look);
}

#[test]
fn broken_dicom_files_are_refused_without_a_panic() {
    attack("dicom", &dicom(16), look);
}

#[test]
fn broken_volumes_are_refused_without_a_panic() {
    attack("nifti", &nifti(), look);
    attack("nifti.gz", &gzip(&nifti()), look);
}

#[test]
fn broken_archives_are_refused_without_a_panic() {
    attack("zip", &zip_archive(), look);
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
