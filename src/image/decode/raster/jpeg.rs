//! JPEG.

use libjpeg_turbo_rs::{Decoder, PixelFormat};

use super::Picture;
use crate::image::decode::ImageError;
use crate::image::decode::limits::check_size;

fn damaged(error: impl ToString) -> ImageError {
    ImageError::Damaged { format: "JPEG", reason: error.to_string() }
}

/// Columns and rows, from the header alone.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let decoder = Decoder::new(bytes).map_err(damaged)?;
    Ok((decoder.header().width.into(), decoder.header().height.into()))
}

/// Decodes to grey or RGB.
pub fn decode(bytes: &[u8]) -> Result<Picture, ImageError> {
    let mut decoder = Decoder::new(bytes).map_err(damaged)?;
    let header = decoder.header();
    let (width, height) = (header.width, header.height);
    let is_grey = header.components.len() == 1;
    check_size(width.into(), height.into())?;
    decoder.set_output_format(if is_grey { PixelFormat::Grayscale } else { PixelFormat::Rgb });
    decoder.set_stop_on_warning(true);
    let values = decoder.decode_image().map_err(damaged)?.data;
    let (width, height) = (usize::from(width), usize::from(height));
    let channels = if is_grey { 1 } else { 3 };
    if values.len() < width * height * channels {
        return Err(damaged("fewer pixels than its header says"));
    }
    Ok(Picture { width, height, channels, values })
}
