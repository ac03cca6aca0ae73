//! PNG and JPEG.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, ImageReader, Limits, RgbImage};
use libjpeg_turbo_rs::{Decoder, PixelFormat};

use super::{ImageError, MAX_SIDE, RawSlice, Values, check_size};

/// Largest difference between colour channels that still counts as grey.
const GREY_TOLERANCE: u8 = 24;

/// Whether a file that begins so is a PNG or JPEG file.
pub fn is_picture(head: &[u8]) -> bool {
    matches!(image::guess_format(head), Ok(ImageFormat::Png | ImageFormat::Jpeg))
}

/// Decodes to 8-bit grey; alpha shows black behind.
pub fn decode(bytes: &[u8]) -> Result<RawSlice, ImageError> {
    let picture = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => decode_png(bytes)?,
        Ok(ImageFormat::Jpeg) => decode_jpeg(bytes)?,
        _ => return Err(ImageError::UnknownFormat),
    };
    let mut warnings = Vec::new();
    if picture.color().has_color() && is_coloured(&picture) {
        warnings.push("the picture is coloured and was read as grey; annotations on a scan disturb the result".into());
    }
    let grey = to_grey(picture);
    if grey.pixels().all(|pixel| pixel.0[0] < 16) {
        warnings.push("the picture is almost black; was it saved without a window?".into());
    }
    Ok(RawSlice {
        width: grey.width() as usize,
        height: grey.height() as usize,
        values: Values::Grey(grey.into_raw()),
        inverted: false,
        window: None,
        spacing_mm: None,
        warnings,
    })
}

/// Columns and rows, from the header alone.
pub fn size(bytes: &[u8]) -> Result<(usize, usize), ImageError> {
    let damaged = |format, reason| ImageError::Damaged { format, reason };
    let (width, height) = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png)
            .into_dimensions()
            .map_err(|error| damaged("PNG", error.to_string()))?,
        Ok(ImageFormat::Jpeg) => {
            let decoder =
                Decoder::new(bytes).map_err(|error| damaged("JPEG", error.to_string()))?;
            (decoder.header().width.into(), decoder.header().height.into())
        }
        _ => return Err(ImageError::UnknownFormat),
    };
    check_size(width.into(), height.into())?;
    Ok((width as usize, height as usize))
}

fn decode_png(bytes: &[u8]) -> Result<DynamicImage, ImageError> {
    let damaged =
        |error: image::ImageError| ImageError::Damaged { format: "PNG", reason: error.to_string() };
    // The header alone first: a picture of a billion pixels must not be allocated.
    let (width, height) = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png)
        .into_dimensions()
        .map_err(damaged)?;
    check_size(width.into(), height.into())?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    reader.limits(limits);
    reader.decode().map_err(damaged)
}

fn decode_jpeg(bytes: &[u8]) -> Result<DynamicImage, ImageError> {
    let damaged = |reason: String| ImageError::Damaged { format: "JPEG", reason };
    let mut decoder = Decoder::new(bytes).map_err(|error| damaged(error.to_string()))?;
    let header = decoder.header();
    let (width, height) = (header.width, header.height);
    let is_grey = header.components.len() == 1;
    check_size(width.into(), height.into())?;
    decoder.set_output_format(if is_grey { PixelFormat::Grayscale } else { PixelFormat::Rgb });
    decoder.set_stop_on_warning(true);
    let image = decoder.decode_image().map_err(|error| damaged(error.to_string()))?;
    let (width, height) = (width.into(), height.into());
    let picture = if is_grey {
        GrayImage::from_raw(width, height, image.data).map(DynamicImage::from)
    } else {
        RgbImage::from_raw(width, height, image.data).map(DynamicImage::from)
    };
    picture.ok_or_else(|| damaged("fewer pixels than its header says".into()))
}

fn is_coloured(picture: &DynamicImage) -> bool {
    picture.to_rgb8().pixels().any(|pixel| {
        let [r, g, b] = pixel.0;
        r.max(g).max(b) - r.min(g).min(b) > GREY_TOLERANCE
    })
}

fn to_grey(picture: DynamicImage) -> GrayImage {
    if !picture.color().has_alpha() {
        return picture.into_luma8();
    }
    let with_alpha = picture.into_luma_alpha8();
    GrayImage::from_fn(with_alpha.width(), with_alpha.height(), |x, y| {
        let [value, alpha] = with_alpha.get_pixel(x, y).0;
        image::Luma([(u16::from(value) * u16::from(alpha) / 255) as u8])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Luma, LumaA, Rgb, Rgba};

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
        assert!(decode(&png(red)).unwrap().warnings[0].contains("coloured"));
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
