//! Small whole files of every kind.

use std::io::{Cursor, Write};

use base64::Engine;

use crate::common::dicom::{JPEG_2000, SIDE, Small, rle};
use crate::common::files;

pub fn grey(side: u32) -> image::GrayImage {
    image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x * 3 + y * 5) as u8]))
}

pub fn png() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    grey(48).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

pub fn jpeg() -> Vec<u8> {
    let (grey, sampling) = (grey(48), libjpeg_turbo_rs::Subsampling::S444);
    let format = libjpeg_turbo_rs::PixelFormat::Grayscale;
    libjpeg_turbo_rs::compress(&grey, 48, 48, format, 90, sampling).unwrap()
}

/// Four frames of which `bits` are stored.
pub fn dicom(bits: u16) -> Vec<u8> {
    Small { frames: 4, bits: (16, bits), ..Small::native() }.bytes()
}

pub fn lossless_jpeg(values: &[u16], side: usize) -> Vec<u8> {
    libjpeg_turbo_rs::precision::compress_lossless_arbitrary(values, side, side, 1, 16, 1, 0)
        .unwrap()
}

pub fn jpeg_ls(values: &[u16], side: u32, near: u8) -> Vec<u8> {
    let mut options = jpegls::EncodeOptions::default();
    options.near = near;
    let mut bytes = Vec::new();
    jpegls::encode_with_options(values, side, side, &options, &mut bytes).unwrap();
    bytes
}

/// A CT slice in every transfer syntax that is read, and by how much its values may be off.
pub fn syntaxes() -> Vec<(&'static str, Vec<u8>, u16)> {
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

/// 40 x 36 x 3 voxels of 16 bits.
pub fn nifti() -> Vec<u8> {
    let values = (0..40 * 36 * 3).map(|index| index % 900);
    files::nifti([40, 36, 3], [0.5, 0.75, 2.0], None, values)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zip_archive() -> Vec<u8> {
    files::zip_of([("a/1.png", png()), ("a/2.dcm", dicom(16))], zip::CompressionMethod::Deflated)
}
