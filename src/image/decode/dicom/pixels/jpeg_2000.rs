//! JPEG 2000, by a decoder in safe Rust; its header is checked before.

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use crate::image::ImageError;
use crate::image::decode::dicom::damaged_because;
use crate::image::decode::dicom::pixels::{CodestreamInfo, Layout};
use crate::image::decode::limits::MAX_TILES;

/// Start of a codestream and of its first segment, the sizes.
const START: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];
/// The segment of the coding style.
const CODING_STYLE: u8 = 0x52;
/// The segment of a component's own.
const COMPONENT_STYLE: u8 = 0x53;
/// The start of a tile's part, its data, and the end of all.
const TILE: u8 = 0x90;
const DATA: u8 = 0x93;
const END: u8 = 0xd9;

fn broken(reason: impl ToString) -> ImageError {
    damaged_because(format!("JPEG 2000: {}", reason.to_string()))
}

pub fn decode(bytes: &[u8], layout: &Layout) -> Result<Vec<i32>, ImageError> {
    // Within the boxes of a JP2 file, or alone. What is checked is what is decoded: the boxes may say otherwise.
    let start = bytes.windows(4).take(4096).position(|window| window == START);
    let stream = &bytes[start.ok_or_else(|| broken("no codestream"))?..];
    let is_signed = check(stream, layout)?;
    let settings = DecodeSettings { strict: true, ..DecodeSettings::default() };
    let image = Image::new(stream, &settings).map_err(broken)?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(broken)?;
    let component = decoded.components().first().ok_or_else(|| broken("no component"))?;
    // The decoder shifts signed samples up by half their range. Lossy ones may lie beyond either end.
    let highest = ((1u32 << component.bit_depth()) - 1) as f32;
    let shift = if is_signed { 1i32 << (component.bit_depth() - 1) } else { 0 };
    let sample = |sample: &f32| (sample.round().clamp(0.0, highest) as i32 - shift) as u16;
    Ok(layout.values_of_samples(component.samples().iter().map(sample)))
}

/// Compares the codestream's header with the file's; says whether its samples are signed.
fn check(stream: &[u8], layout: &Layout) -> Result<bool, ImageError> {
    let long = |at: usize| {
        let bytes = stream.get(at..at + 4).ok_or_else(|| broken("the header is cut off"))?;
        Ok::<u64, ImageError>(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into())
    };
    let byte = |at: usize| stream.get(at).copied().ok_or_else(|| broken("the header is cut off"));
    let [right, bottom, left, top] = [long(8)?, long(12)?, long(16)?, long(20)?];
    let [tile_width, tile_height, tile_left, tile_top] =
        [long(24)?, long(28)?, long(32)?, long(36)?];
    let components = u16::from_be_bytes([byte(40)?, byte(41)?]);
    let (size, steps) = (byte(42)?, (byte(43)?, byte(44)?));
    let picture = CodestreamInfo {
        kind: "JPEG 2000",
        width: right.saturating_sub(left),
        height: bottom.saturating_sub(top),
        components,
        precision: (size & 0x7f) + 1,
    };
    layout.check(&picture)?;
    if steps != (1, 1) {
        return Err(broken(format!("its samples lie {} x {} pixels apart", steps.0, steps.1)));
    }
    if tile_width == 0 || tile_height == 0 {
        return Err(broken("its tiles have no size"));
    }
    let along = |end: u64, start: u64, size: u64| end.saturating_sub(start).div_ceil(size);
    let tiles = along(right, tile_left, tile_width) * along(bottom, tile_top, tile_height);
    if tiles > MAX_TILES {
        return Err(broken(format!("{tiles} tiles; at most {MAX_TILES} are read")));
    }
    let precincts = precincts(stream, layout, tiles)?;
    if precincts > MAX_TILES.max(tiles * 4) {
        return Err(broken(format!("{precincts} precincts, which is more than is read")));
    }
    Ok(size & 0x80 != 0)
}

/// Most precincts that any coding style asks for, of the main header or of a tile's, for the picture or for its
/// component.
fn precincts(stream: &[u8], layout: &Layout, tiles: u64) -> Result<u64, ImageError> {
    let cut_off = || broken("a header is cut off");
    let (mut most, mut at, mut tile_start) = (0, 2, None);
    while let Some(&[0xff, marker]) = stream.get(at..at + 2) {
        match marker {
            // The data of a tile: its header says where the next begins.
            DATA => {
                let start: usize = tile_start.take().ok_or_else(cut_off)?;
                let length = stream.get(start + 6..start + 10).ok_or_else(cut_off)?;
                let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
                if (length as usize) < at + 2 - start {
                    break;
                }
                at = start + length as usize;
                continue;
            }
            END => break,
            TILE => tile_start = Some(at),
            _ => {}
        }
        let length = stream.get(at + 2..at + 4).ok_or_else(cut_off)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let segment = stream.get(at + 4..at + 2 + length).ok_or_else(cut_off)?;
        // Style, levels, and the sizes behind them.
        let style = match (marker, segment) {
            (CODING_STYLE, &[style, _, _, _, _, levels, _, _, _, _, ref sizes @ ..]) => {
                Some((style, levels, sizes))
            }
            (COMPONENT_STYLE, &[_, style, levels, _, _, _, _, ref sizes @ ..]) => {
                Some((style, levels, sizes))
            }
            (CODING_STYLE | COMPONENT_STYLE, _) => return Err(cut_off()),
            _ => None,
        };
        if let Some((style, levels, sizes)) = style {
            most = most.max(of_style(layout, tiles, style, levels, sizes));
        }
        at += 2 + length;
    }
    if most == 0 { Err(broken("no coding style")) } else { Ok(most) }
}

fn of_style(layout: &Layout, tiles: u64, style: u8, levels: u8, sizes: &[u8]) -> u64 {
    if style & 1 == 0 {
        return tiles * (u64::from(levels) + 1);
    }
    let along = |length: usize, reduced: u32, exponent: u8| {
        (length as u64).div_ceil(1 << reduced).div_ceil(1 << exponent)
    };
    let of_resolution = |(resolution, size): (usize, &u8)| {
        let reduced = u32::from(levels).saturating_sub(resolution as u32).min(32);
        let across = along(layout.columns, reduced, size & 0xf);
        across * along(layout.rows, reduced, size >> 4) + tiles
    };
    sizes.iter().enumerate().map(of_resolution).sum()
}
