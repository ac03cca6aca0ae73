//! PNG and JPEG.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, ImageReader, Limits};

use super::{CtSlice, ImageError, MAX_SIDE, check_size};

/// Largest difference between colour channels that still counts as grey.
const GREY_TOLERANCE: u8 = 24;

/// Decodes to 8-bit grey; alpha shows black behind.
pub fn decode(bytes: &[u8]) -> Result<CtSlice, ImageError> {
    let format = image::guess_format(bytes).map_err(|_| ImageError::UnknownFormat)?;
    let name = match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        _ => return Err(ImageError::UnknownFormat),
    };
    let damaged =
        |error: image::ImageError| ImageError::Damaged { format: name, reason: error.to_string() };
    // The header alone first: a picture of a billion pixels must not be allocated.
    let (width, height) = ImageReader::with_format(Cursor::new(bytes), format)
        .into_dimensions()
        .map_err(damaged)?;
    check_size(width.into(), height.into())?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    reader.limits(limits);
    let picture = reader.decode().map_err(damaged)?;

    let mut warnings = Vec::new();
    if picture.color().has_color() && is_coloured(&picture) {
        warnings.push("the picture is coloured and was read as grey; annotations on a scan disturb the result".into());
    }
    let grey = to_grey(picture);
    if grey.pixels().all(|pixel| pixel.0[0] < 16) {
        warnings.push("the picture is almost black; was it saved without a window?".into());
    }
    Ok(CtSlice {
        source: String::new(),
        width: width as usize,
        height: height as usize,
        pixels: grey.into_raw(),
        spacing_mm: None,
        warnings,
    })
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
            let slice = decode(&png(picture)).unwrap();
            assert_eq!((slice.width, slice.height), (40, 33));
            assert_eq!(slice.pixels, expected, "{layout:?}");
            assert!(slice.warnings.is_empty(), "{layout:?}: {:?}", slice.warnings);
        }
    }

    #[test]
    fn transparent_pixels_are_black_and_colours_are_warned_of() {
        let clear: DynamicImage = ImageBuffer::from_pixel(40, 40, LumaA([200u8, 0])).into();
        let slice = decode(&png(clear)).unwrap();
        assert!(slice.pixels.iter().all(|p| *p == 0));
        let red: DynamicImage = ImageBuffer::from_pixel(40, 40, Rgb([250u8, 0, 0])).into();
        assert!(decode(&png(red)).unwrap().warnings[0].contains("coloured"));
    }

    #[test]
    fn a_picture_that_is_cut_off_or_tiny_is_refused() {
        let bytes = png(ImageBuffer::from_fn(64, 64, |x, y| Luma([(x * y) as u8])).into());
        assert!(matches!(decode(&bytes[..bytes.len() / 2]), Err(ImageError::Damaged { .. })));
        let dot = png(ImageBuffer::from_pixel(1, 1, Luma([9u8])).into());
        assert!(matches!(decode(&dot), Err(ImageError::Size { width: 1, height: 1 })));
    }
}
