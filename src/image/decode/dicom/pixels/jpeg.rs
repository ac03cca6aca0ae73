//! JPEG (baseline, extended with 12 bits, lossless) and JPEG-LS.

use libjpeg_turbo_rs::precision::{decompress_12bit_with_limits, decompress_lossless_arbitrary};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat};

use crate::image::ImageError;
use crate::image::decode::dicom::damaged_because;
use crate::image::decode::dicom::pixels::{CodestreamInfo, Layout};
use crate::image::decode::limits::{MAX_SCANS, MAX_SIDE};

/// Lossless, sequential.
const LOSSLESS: u8 = 0xc3;
/// JPEG-LS.
const LS: u8 = 0xf7;

fn broken(reason: impl ToString) -> ImageError {
    damaged_because(format!("JPEG: {}", reason.to_string()))
}

/// Values of a picture of any process but JPEG-LS.
pub fn decode(bytes: &[u8], layout: &Layout) -> Result<Vec<i32>, ImageError> {
    let (process, precision) = check(bytes, layout)?;
    let limits = DecodeLimits {
        max_width: MAX_SIDE,
        max_height: MAX_SIDE,
        max_scans: MAX_SCANS,
        ..DecodeLimits::default()
    };
    match (process, precision) {
        (LS, _) => Err(broken("it is a JPEG-LS picture, which its transfer syntax does not say")),
        (LOSSLESS, _) => {
            let picture = decompress_lossless_arbitrary(bytes).map_err(broken)?;
            Ok(layout.values_of_samples(picture.data.into_iter()))
        }
        (_, 8) => {
            let mut decoder = Decoder::new(bytes).map_err(broken)?;
            decoder.set_output_format(PixelFormat::Grayscale);
            decoder.set_stop_on_warning(true);
            let picture = decoder.decode_image().map_err(broken)?;
            Ok(layout.values_of_samples(picture.data.into_iter().map(u16::from)))
        }
        _ => {
            let picture = decompress_12bit_with_limits(bytes, &limits).map_err(broken)?;
            let samples = picture.data.into_iter().map(|sample| sample.max(0) as u16);
            Ok(layout.values_of_samples(samples))
        }
    }
}

/// Values of a JPEG-LS picture.
pub fn decode_ls(bytes: &[u8], layout: &Layout) -> Result<Vec<i32>, ImageError> {
    let (process, _) = check(bytes, layout)?;
    if process != LS {
        return Err(broken("it is no JPEG-LS picture, as its transfer syntax says"));
    }
    let (samples, ..) =
        jpegls::decode(bytes, layout.columns as u32, layout.rows as u32).map_err(broken)?;
    Ok(layout.values_of_samples(samples.into_iter()))
}

/// Compares the frame's header with the file's; gives back process and bits.
fn check(bytes: &[u8], layout: &Layout) -> Result<(u8, u8), ImageError> {
    let (process, picture) = header(bytes).ok_or_else(|| broken("no frame header"))?;
    layout.check(&picture)?;
    Ok((process, picture.precision))
}

/// The first frame header (ISO 10918-1 B.2.2, ISO 14495-1 C.2.2).
fn header(bytes: &[u8]) -> Option<(u8, CodestreamInfo)> {
    let mut rest = bytes.strip_prefix(&[0xff, 0xd8])?;
    loop {
        let (start, after) = rest.split_first()?;
        let (marker, after) = after.split_first()?;
        if *start != 0xff {
            return None;
        }
        match *marker {
            // Fill bytes.
            0xff => {
                rest = &rest[1..];
                continue;
            }
            // A scan, or the end, before any frame.
            0xda | 0xd9 => return None,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*after.first()?, *after.get(1)?]));
        let segment = after.get(2..length)?;
        // C4, C8 and CC are tables and extensions, no frames.
        if matches!(*marker, 0xc0..=0xcf if !matches!(*marker, 0xc4 | 0xc8 | 0xcc)) || *marker == LS
        {
            let &[precision, h1, h0, w1, w0, components, ..] = segment else { return None };
            let picture = CodestreamInfo {
                kind: if *marker == LS { "JPEG-LS" } else { "JPEG" },
                width: u16::from_be_bytes([w1, w0]).into(),
                height: u16::from_be_bytes([h1, h0]).into(),
                components: components.into(),
                precision,
            };
            return Some((*marker, picture));
        }
        rest = &after[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_header_is_found_behind_other_segments() {
        let bytes = [
            &[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xff, 0xc3, 0, 11][..],
            &[12, 1, 0, 2, 0, 1, 1, 0x11, 0],
        ]
        .concat();
        let (process, picture) = header(&bytes).unwrap();
        assert_eq!((process, picture.precision), (LOSSLESS, 12));
        assert_eq!((picture.width, picture.height, picture.components), (512, 256, 1));
        for length in 0..bytes.len() - 3 {
            assert!(header(&bytes[..length]).is_none(), "{length}");
        }
    }
}
