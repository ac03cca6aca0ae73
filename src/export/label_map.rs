//! Masks as pictures: 0 background, 1 ground glass or lesion, 2 consolidation.

use crate::classes::LesionKind;
use crate::report::{NOTICE, SliceReport};

/// What stands in a picture of a slice for programs that show comments.
pub fn comment(slice: &SliceReport) -> String {
    match slice.corrections_summary() {
        Some(corrections) => format!("{NOTICE} {corrections}."),
        None => NOTICE.into(),
    }
}

/// The classes as a PNG whose palette shows them to people and whose values programs read.
///
/// # Errors
/// If the encoder refuses.
pub fn png(slice: &SliceReport) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, slice.width as u32, slice.height as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    let palette = [[0; 3], LesionKind::GroundGlass.rgb(), LesionKind::Consolidation.rgb()];
    encoder.set_palette(palette.concat());
    encoder.add_itxt_chunk("Comment".into(), comment(slice))?;
    encoder.write_header()?.write_image_data(&slice.label_map())?;
    Ok(bytes)
}
