//! PNG.

use std::io::Cursor;

use png::{BitDepth, Decoder, Transformations};

use super::Picture;
use crate::image::decode::ImageError;
use crate::image::decode::limits::check_size;

fn damaged(error: impl ToString) -> ImageError {
    ImageError::Damaged { format: "PNG", reason: error.to_string() }
}

/// Columns and rows, from the header alone.
pub fn size(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let reader = Decoder::new(Cursor::new(bytes)).read_info().map_err(damaged)?;
    Ok(reader.info().size())
}

/// Decodes to 8 bits a channel.
pub fn decode(bytes: &[u8]) -> Result<Picture, ImageError> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    // Palettes, few bits and transparent colours become channels of 8 bits; 16 bits stay.
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(damaged)?;
    // A picture of a billion pixels must not be allocated.
    let (width, height) = reader.info().size();
    check_size(width.into(), height.into())?;
    let length = reader.output_buffer_size().ok_or_else(|| damaged("it is too large"))?;
    let mut values = vec![0; length];
    let frame = reader.next_frame(&mut values).map_err(damaged)?;
    values.truncate(frame.buffer_size());
    if frame.bit_depth == BitDepth::Sixteen {
        let wide = values.as_chunks::<2>().0.iter().map(|bytes| u16::from_be_bytes(*bytes));
        values = wide.map(|value| ((u32::from(value) + 128) / 257) as u8).collect();
    }
    let (width, height) = (width as usize, height as usize);
    let channels = frame.color_type.samples();
    if values.len() != width * height * channels {
        return Err(damaged("fewer pixels than its header says"));
    }
    Ok(Picture { width, height, channels, values })
}
