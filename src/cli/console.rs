//! What `predict` says on standard output.

use std::io::Write;

use crate::cli::outputs::plain;
use crate::report::{SeriesReport, SliceReport};

/// Standard output, which may be closed: that ends the words and nothing else.
#[derive(Debug)]
pub struct Console {
    silent: bool,
}

impl Console {
    /// One that says nothing if `silent`.
    pub fn new(silent: bool) -> Self {
        Self { silent }
    }

    /// Writes a line.
    pub fn line(&mut self, text: &str) {
        if !self.silent && writeln!(std::io::stdout(), "{}", plain(text)).is_err() {
            self.silent = true;
        }
    }

    /// Says what was found in a series.
    pub fn series(&mut self, series: &SeriesReport) {
        self.line(&format!("{}: {}", series.name, series.summary()));
        for warning in &series.warnings {
            self.line(&format!("  warning: {warning}"));
        }
    }

    /// Says what was found on a slice.
    pub fn slice(&mut self, slice: &SliceReport) {
        self.line(&format!("{} ({} x {})", slice.source, slice.width, slice.height));
        if let Some(verdict) = slice.verdict_summary() {
            self.line(&format!("  {verdict}"));
        }
        if let Some(contradiction) = slice.contradiction() {
            self.line(&format!("  {}", contradiction.summary()));
        }
        if let Some(classes) = &slice.classes {
            self.line(&format!("  {classes}"));
        }
        for lesion in &slice.lesions {
            let b = lesion.bbox;
            let area = match lesion.area_mm2 {
                Some(area) => format!("{} px, {area:.0} mm2", lesion.area_px),
                None => format!("{} px", lesion.area_px),
            };
            self.line(&format!(
                "  {} {:.3}  [{:.1}, {:.1}, {:.1}, {:.1}]  {area}",
                lesion.label.name(),
                lesion.score,
                b.x1,
                b.y1,
                b.x2,
                b.y2
            ));
        }
        if slice.segmented && slice.lesions.is_empty() {
            self.line("  no lesion above the score threshold");
        }
        for warning in &slice.warnings {
            self.line(&format!("  warning: {warning}"));
        }
    }
}
