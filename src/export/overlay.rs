//! A picture of a slice with its lesions drawn on it.

use image::{Rgb, RgbImage};

use crate::detection::mask::contour::contours;
use crate::export::label_map::comment;
use crate::image::CtSlice;
use crate::report::measurements::{Shape, ellipse_outline};
use crate::report::{Lesion, SliceReport};

/// Share of the lesion's colour inside its mask.
const OPACITY: f32 = 0.35;

/// Colour of a score from 0 to 1: blue over green and yellow to red, as in the paper's Figure 3.
pub fn score_colour(share: f32) -> [u8; 3] {
    let share = share.clamp(0.0, 1.0);
    let wave = |centre: f32| ((1.5 - (4.0 * share - centre).abs()).clamp(0.0, 1.0) * 255.0) as u8;
    [wave(3.0), wave(2.0), wave(1.0)]
}

/// Draws masks (filled and outlined) and boxes over the slice.
pub fn draw(slice: &CtSlice, report: &SliceReport) -> RgbImage {
    let mut picture = RgbImage::from_fn(slice.width as u32, slice.height as u32, |x, y| {
        Rgb([slice.pixels[y as usize * slice.width + x as usize]; 3])
    });
    for lesion in &report.lesions {
        draw_lesion(&mut picture, lesion);
    }
    for measurement in &report.measurements {
        match measurement.shape {
            Shape::Ruler([from, to]) => draw_line(&mut picture, from, to),
            Shape::Ellipse(corners) => {
                let outline: Vec<(f64, f64)> = ellipse_outline(corners).collect();
                for (from, to) in outline.iter().zip(outline.iter().cycle().skip(1)) {
                    draw_line(&mut picture, *from, *to);
                }
            }
        }
    }
    picture
}

/// The same as PNG.
///
/// # Errors
/// If the encoder refuses.
pub fn png(slice: &CtSlice, report: &SliceReport) -> Result<Vec<u8>, png::EncodingError> {
    let picture = draw(slice, report);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_itxt_chunk("Comment".into(), comment(report))?;
    let mut writer = encoder.write_header()?;
    writer.write_image_data(picture.as_raw())?;
    writer.finish()?;
    Ok(bytes)
}

/// Colour of what a reader measured: none of the lesions'.
const MEASURED: [u8; 3] = [255; 3];

/// A line that is a pixel wide, as far as it lies on the picture.
fn draw_line(picture: &mut RgbImage, from: (f64, f64), to: (f64, f64)) {
    let (across, down) = (to.0 - from.0, to.1 - from.1);
    let steps = across.abs().max(down.abs()).ceil().clamp(1.0, 1e5);
    for step in 0..=steps as u32 {
        let share = f64::from(step) / steps;
        let (x, y) = (from.0 + share * across, from.1 + share * down);
        if x >= 0.0
            && y >= 0.0
            && let Some(pixel) = picture.get_pixel_mut_checked(x as u32, y as u32)
        {
            *pixel = Rgb(MEASURED);
        }
    }
}

fn draw_lesion(picture: &mut RgbImage, lesion: &Lesion) {
    let colour = lesion.label.rgb();
    let mut put = |x: u32, y: u32, share: f32| {
        if let Some(pixel) = picture.get_pixel_mut_checked(x, y) {
            for (value, wanted) in pixel.0.iter_mut().zip(colour) {
                *value = (f32::from(*value) * (1.0 - share) + f32::from(wanted) * share) as u8;
            }
        }
    };
    if let Some(mask) = lesion.mask.as_ref().and_then(|rle| rle.decode().ok()) {
        for (index, _) in mask.pixels.iter().enumerate().filter(|(_, set)| **set) {
            put((index % mask.width) as u32, (index / mask.width) as u32, OPACITY);
        }
        for polygon in contours(&mask) {
            for (i, &(x1, y1)) in polygon.iter().enumerate() {
                let (x2, y2) = polygon[(i + 1) % polygon.len()];
                for y in y1.min(y2)..=y1.max(y2) {
                    for x in x1.min(x2)..=x1.max(x2) {
                        put(x, y, 1.0);
                    }
                }
            }
        }
    }
    let corner = |value: f32| value.round().max(0.0) as u32;
    let bbox = lesion.bbox;
    let (x1, y1, x2, y2) = (corner(bbox.x1), corner(bbox.y1), corner(bbox.x2), corner(bbox.y2));
    // Dashes of four pixels, to tell the box from the outline.
    let dashed = |position: u32| (position / 4).is_multiple_of(2);
    for x in (x1..=x2).filter(|x| dashed(*x)) {
        put(x, y1, 1.0);
        put(x, y2, 1.0);
    }
    for y in (y1..=y2).filter(|y| dashed(*y)) {
        put(x1, y, 1.0);
        put(x2, y, 1.0);
    }
}
