//! Pictures: PNG and JPEG.

mod jpeg;
mod png;

use crate::image::Warning;
use crate::image::decode::limits::check_size;
use crate::image::decode::{ImageError, RawSlice, Values};

/// Largest difference between colour channels that still counts as grey.
const GREY_TOLERANCE: u8 = 24;
/// Brightest value of a picture that was probably saved without a window.
const ALMOST_BLACK: u8 = 16;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG: &[u8] = b"\xff\xd8\xff";

/// A decoded picture, 8 bits a channel: grey, grey and alpha, RGB, or RGB and alpha.
struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    values: Vec<u8>,
}

/// Whether a file that begins so is a PNG or JPEG file.
pub fn is_picture(head: &[u8]) -> bool {
    head.starts_with(PNG) || head.starts_with(JPEG)
}

/// A slice from pixels of red, green, blue and alpha, row by row.
///
/// # Errors
/// If there are more or fewer pixels than the size says, or the size is out of bounds.
pub fn from_rgba(width: usize, height: usize, values: Vec<u8>) -> Result<RawSlice, ImageError> {
    check_size(width as u64, height as u64)?;
    if values.len() != width * height * 4 {
        let reason = format!("{} bytes for {width} x {height} pixels", values.len());
        return Err(ImageError::Damaged { format: "RGBA", reason });
    }
    Ok(Picture { width, height, channels: 4, values }.into_slice())
}

/// Decodes to 8-bit grey; alpha shows black behind.
///
/// # Errors
/// If it is neither, or damaged, or too large.
pub fn decode(bytes: &[u8]) -> Result<RawSlice, ImageError> {
    let picture = if bytes.starts_with(PNG) {
        png::decode(bytes)?
    } else if bytes.starts_with(JPEG) {
        jpeg::decode(bytes)?
    } else {
        return Err(ImageError::UnknownFormat);
    };
    Ok(picture.into_slice())
}

/// Columns and rows, from the header alone.
pub fn size(bytes: &[u8]) -> Result<(usize, usize), ImageError> {
    let (width, height) = if bytes.starts_with(PNG) {
        png::size(bytes)?
    } else if bytes.starts_with(JPEG) {
        jpeg::size(bytes)?
    } else {
        return Err(ImageError::UnknownFormat);
    };
    check_size(width.into(), height.into())?;
    Ok((width as usize, height as usize))
}

/// Brightness of a colour by the weights of Rec. 709.
fn luma(red: u8, green: u8, blue: u8) -> u8 {
    ((2126 * u32::from(red) + 7152 * u32::from(green) + 722 * u32::from(blue)) / 10_000) as u8
}

impl Picture {
    fn into_slice(self) -> RawSlice {
        let mut warnings = Vec::new();
        if self.is_coloured() {
            warnings.push(Warning::Coloured);
        }
        let (width, height) = (self.width, self.height);
        let grey = self.into_grey();
        if grey.iter().all(|value| *value < ALMOST_BLACK) {
            warnings.push(Warning::AlmostBlack);
        }
        RawSlice {
            width,
            height,
            values: Values::Grey(grey),
            says_hounsfield: false,
            inverted: false,
            window: None,
            plane: None,
            not_chest_ct: None,
            spacing_mm: None,
            warnings,
        }
    }

    fn is_coloured(&self) -> bool {
        let differs = |pixel: &[u8]| match pixel {
            [r, g, b, ..] => r.max(g).max(b) - r.min(g).min(b) > GREY_TOLERANCE,
            _ => false,
        };
        self.values.chunks_exact(self.channels).any(differs)
    }

    fn into_grey(self) -> Vec<u8> {
        let over_black = |value: u8, alpha: u8| (u16::from(value) * u16::from(alpha) / 255) as u8;
        let grey = |pixel: &[u8]| match *pixel {
            [value] => value,
            [value, alpha] => over_black(value, alpha),
            [r, g, b] => luma(r, g, b),
            [r, g, b, alpha] => over_black(luma(r, g, b), alpha),
            _ => 0,
        };
        let pixels = self.width * self.height;
        self.values.chunks_exact(self.channels).take(pixels).map(grey).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
    use libjpeg_turbo_rs::PixelFormat;

    fn png(picture: DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_pixel_layout_gives_the_same_grey() {
        let wide = |v: u8| u16::from(v) * 257;
        let at = |x: u32, y: u32| (x * 5 + y) as u8;
        let pictures: [DynamicImage; 6] = [
            ImageBuffer::from_fn(40, 33, |x, y| Luma([at(x, y)])).into(),
            ImageBuffer::from_fn(40, 33, |x, y| Luma([wide(at(x, y))])).into(),
            ImageBuffer::from_fn(40, 33, |x, y| LumaA([at(x, y), 255])).into(),
            ImageBuffer::from_fn(40, 33, |x, y| Rgb([at(x, y); 3])).into(),
            ImageBuffer::from_fn(40, 33, |x, y| Rgb([wide(at(x, y)); 3])).into(),
            ImageBuffer::from_fn(40, 33, |x, y| {
                let v = at(x, y);
                Rgba([v, v, v, 255])
            })
            .into(),
        ];
        let expected: Vec<u8> = (0..33).flat_map(|y| (0..40).map(move |x| at(x, y))).collect();
        for picture in pictures {
            let layout = picture.color();
            let slice = decode(&png(picture)).unwrap().windowed("", None);
            assert_eq!((slice.width, slice.height), (40, 33));
            assert_eq!(slice.pixels, expected, "{layout:?}");
            assert!(slice.warnings.is_empty(), "{layout:?}: {:?}", slice.warnings);
        }
    }

    #[test]
    fn transparent_pixels_are_black_and_colours_are_warned_of() {
        let clear: DynamicImage = ImageBuffer::from_pixel(40, 40, LumaA([200u8, 0])).into();
        let slice = decode(&png(clear)).unwrap().windowed("", None);
        assert!(slice.pixels.iter().all(|p| *p == 0));
        let red: DynamicImage = ImageBuffer::from_pixel(40, 40, Rgb([250u8, 0, 0])).into();
        assert!(decode(&png(red)).unwrap().warnings == [Warning::Coloured]);
    }

    #[test]
    fn a_jpeg_is_read_grey_and_refused_when_cut_off() {
        let pixels: Vec<u8> = (0..64 * 48).map(|i| (i % 64 * 3) as u8).collect();
        let grey = libjpeg_turbo_rs::compress(
            &pixels,
            64,
            48,
            PixelFormat::Grayscale,
            95,
            libjpeg_turbo_rs::Subsampling::S444,
        );
        let bytes = grey.unwrap();
        let slice = decode(&bytes).unwrap().windowed("", None);
        assert_eq!((slice.width, slice.height), (64, 48));
        let off = slice.pixels.iter().zip(&pixels).map(|(a, e)| a.abs_diff(*e)).max();
        assert!(off < Some(12), "{off:?}");
        for length in [bytes.len() / 2, bytes.len() - 20, 30] {
            assert!(
                matches!(decode(&bytes[..length]), Err(ImageError::Damaged { .. })),
                "{length}"
            );
        }
    }

    #[test]
    fn a_picture_that_is_cut_off_or_tiny_is_refused() {
        let bytes = png(ImageBuffer::from_fn(64, 64, |x, y| Luma([(x * y) as u8])).into());
        assert!(matches!(decode(&bytes[..bytes.len() / 2]), Err(ImageError::Damaged { .. })));
        let dot = png(ImageBuffer::from_pixel(1, 1, Luma([9u8])).into());
        assert!(matches!(decode(&dot), Err(ImageError::Size { width: 1, height: 1 })));
    }
}
