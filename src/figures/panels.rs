//! Figure 3: a slice with its lesions, the map of mask logits, the truth, and the verdict.

use image::{Rgb, RgbImage};
use plotters::prelude::*;
use plotters::style::Color;

use crate::classes::LesionKind;
use crate::export::overlay::score_colour;
use crate::figures::{FAMILY, FigureError, encode, load_font};

/// Side of a panel in pixels.
const PANEL: u32 = 512;
/// Space between panels and around them.
const GAP: u32 = 12;
/// Width of the colour bar with its numbers.
const BAR: u32 = 70;
/// Height of the titles.
const TITLE: u32 = 28;

/// What the four panels show.
#[derive(Clone, Debug)]
pub struct SliceFigure {
    /// The slice with masks and boxes.
    pub overlay: RgbImage,
    /// Mask logits pasted at the slice's size, NaN where there is none; row-major.
    pub logits: Vec<f32>,
    /// True mask values 0 background, 1 lung, 2 ground glass, 3 consolidation, if known.
    pub truth: Option<Vec<u8>>,
    /// Lines of the last panel with their colours.
    pub lines: Vec<(String, [u8; 3])>,
}

impl SliceFigure {
    /// As PNG.
    ///
    /// # Errors
    /// If drawing fails.
    pub fn png(&self) -> Result<Vec<u8>, FigureError> {
        load_font();
        let (width, height) = (4 * PANEL + BAR + 5 * GAP, PANEL + TITLE + 2 * GAP);
        let mut canvas = RgbImage::from_pixel(width, height, Rgb([255; 3]));
        let columns =
            [0, 1, 2, 3].map(|index| GAP + index * (PANEL + GAP) + if index > 1 { BAR } else { 0 });
        let (low, high) = self.range();
        let (source_width, source_height) = self.overlay.dimensions();
        for y in 0..PANEL {
            for x in 0..PANEL {
                let (sx, sy) = (x * source_width / PANEL, y * source_height / PANEL);
                let index = (sy * source_width + sx) as usize;
                let mut put = |panel: usize, colour: [u8; 3]| {
                    canvas.put_pixel(columns[panel] + x, GAP + TITLE + y, Rgb(colour));
                };
                put(0, self.overlay.get_pixel(sx, sy).0);
                let logit = self.logits.get(index).copied().unwrap_or(f32::NAN);
                let logit = if logit.is_nan() { low } else { logit };
                put(1, score_colour((logit - low) / (high - low)));
                let value = self.truth.as_ref().and_then(|truth| truth.get(index)).copied();
                put(2, truth_colour(value));
            }
        }
        let bar_left = columns[1] + PANEL + GAP / 2;
        for y in 0..PANEL {
            for x in 0..16 {
                let colour = score_colour(1.0 - y as f32 / (PANEL - 1) as f32);
                canvas.put_pixel(bar_left + x, GAP + TITLE + y, Rgb(colour));
            }
        }
        self.write(&mut canvas, columns, (bar_left, [low, high]))?;
        encode(&canvas)
    }

    /// The PNG inside an SVG, for documents that want one.
    ///
    /// # Errors
    /// If drawing fails.
    pub fn svg(&self) -> Result<String, FigureError> {
        use base64::Engine;
        let (width, height) = (4 * PANEL + BAR + 5 * GAP, PANEL + TITLE + 2 * GAP);
        let data = base64::engine::general_purpose::STANDARD.encode(self.png()?);
        Ok(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\"><image width=\"{width}\" height=\"{height}\" href=\"data:image/png;base64,{data}\"/></svg>\n"
        ))
    }

    /// Lowest and highest logit.
    fn range(&self) -> (f32, f32) {
        let known = || self.logits.iter().copied().filter(|logit| !logit.is_nan());
        let (low, high) = (known().fold(0.0, f32::min), known().fold(0.0, f32::max));
        (low, high.max(low + 1.0))
    }

    fn write(
        &self,
        canvas: &mut RgbImage,
        columns: [u32; 4],
        (bar_left, [low, high]): (u32, [f32; 2]),
    ) -> Result<(), FigureError> {
        let size = canvas.dimensions();
        let area = BitMapBackend::with_buffer(canvas, size).into_drawing_area();
        let text = |text: &str, (x, y): (u32, u32), size: u32, colour: RGBColor| {
            let style = (FAMILY, size).into_font().color(&colour.to_rgba());
            area.draw_text(text, &style, (x as i32, y as i32))
                .map_err(|error| FigureError(error.to_string()))
        };
        let truth = if self.truth.is_some() { "Truth" } else { "Truth: unknown" };
        for (title, x) in ["Lesions", "Mask logits", truth, "Class"].into_iter().zip(columns) {
            text(title, (x, GAP / 2), 20, BLACK)?;
        }
        for (share, value) in [(0.0, high), (0.5, (low + high) / 2.0), (1.0, low)] {
            let y = GAP + TITLE + (share * (PANEL - 14) as f32) as u32;
            text(&format!("{value:.1}"), (bar_left + 20, y), 14, BLACK)?;
        }
        for (row, (line, [red, green, blue])) in self.lines.iter().enumerate() {
            let at = (columns[3] + 8, GAP + TITLE + 16 + 30 * row as u32);
            text(line, at, 18, RGBColor(*red, *green, *blue))?;
        }
        area.present().map_err(|error| FigureError(error.to_string()))
    }
}

fn truth_colour(value: Option<u8>) -> [u8; 3] {
    match value {
        None => [235; 3],
        Some(0) => [0; 3],
        Some(1) => [90; 3],
        Some(2) => LesionKind::GroundGlass.rgb(),
        Some(_) => LesionKind::Consolidation.rgb(),
    }
}
