//! Drawings for papers and run folders, as SVG and PNG from one description.

pub mod lines;
pub mod panels;
pub mod rois;

use std::io::Cursor;
use std::sync::Once;

use image::{ImageFormat, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use thiserror::Error;

pub use lines::{LineChart, Series};

/// Glyphs of every figure: DejaVu Sans, Latin only.
static FONT: &[u8] = include_bytes!("DejaVuSans.ttf");
/// Its name to plotters, and in SVG files.
pub const FAMILY: &str = "sans-serif";

/// Colours that stay apart for colour-blind readers (Okabe and Ito).
pub const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// A figure that could not be drawn.
#[derive(Debug, Error)]
#[error("the figure cannot be drawn: {0}")]
pub struct FigureError(String);

/// Something that draws itself on any surface.
pub trait Drawing {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws.
    ///
    /// # Errors
    /// If the surface fails.
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>>;
}

/// Makes the embedded font known to plotters, once.
pub fn load_font() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        // It is embedded and tested: an unreadable font would only leave the text out.
        let _ = register_font(FAMILY, FontStyle::Normal, FONT);
    });
}

/// As SVG.
///
/// # Errors
/// If drawing fails.
pub fn svg(drawing: &impl Drawing) -> Result<String, FigureError> {
    load_font();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, drawing.size()).into_drawing_area();
        drawing.draw(&area).map_err(|error| FigureError(error.to_string()))?;
        area.present().map_err(|error| FigureError(error.to_string()))?;
    }
    Ok(text)
}

/// As PNG.
///
/// # Errors
/// If drawing fails.
pub fn png(drawing: &impl Drawing) -> Result<Vec<u8>, FigureError> {
    load_font();
    let (width, height) = drawing.size();
    let mut canvas = RgbImage::new(width, height);
    {
        let area = BitMapBackend::with_buffer(&mut canvas, (width, height)).into_drawing_area();
        drawing.draw(&area).map_err(|error| FigureError(error.to_string()))?;
        area.present().map_err(|error| FigureError(error.to_string()))?;
    }
    encode(&canvas)
}

/// A picture as PNG.
///
/// # Errors
/// If the encoder fails.
pub fn encode(canvas: &RgbImage) -> Result<Vec<u8>, FigureError> {
    let mut bytes = Cursor::new(Vec::new());
    let written = canvas.write_to(&mut bytes, ImageFormat::Png);
    written.map_err(|error| FigureError(error.to_string()))?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_drawn_with_the_embedded_font() {
        let chart = |title: &str| LineChart {
            title: title.into(),
            labels: ["step".into(), "loss".into()],
            series: vec![Series { name: "a".into(), points: vec![(0.0, 1.0), (1.0, 2.0)] }],
            logarithmic: true,
        };
        let (some, none) = (png(&chart("Losses")).unwrap(), png(&chart("")).unwrap());
        assert_ne!(some, none);
        assert!(svg(&chart("Losses")).unwrap().contains("Losses"));
    }
}
