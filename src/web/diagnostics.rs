//! What helps to find a fault: device, model, times. No picture, no name.

use std::fmt::Write;

use crate::web::browser;
use crate::web::state::State;

/// The text to copy.
pub fn text(state: &State) -> String {
    let mut text = format!("groundglass {}\n{}\n", env!("CARGO_PKG_VERSION"), browser::browser());
    if let Some(model) = &state.model {
        let _ = writeln!(text, "device: {}\n  {}", model.device, model.details);
        let _ = writeln!(text, "model: {}", model.name);
        let parts = [&model.models.segmentation, &model.models.classifier];
        for part in parts.into_iter().flatten() {
            let _ = writeln!(text, "  SHA-256 {}", part.sha256);
        }
        for download in browser::downloads().iter().chain(&model.downloads) {
            let (name, size) = (&download.name, download.decoded_bytes);
            // Programs and weights only: what a user opened is no download.
            let _ = writeln!(
                text,
                "download: {name}, {size:.0} bytes, sent as {:.0}",
                download.transferred_bytes
            );
        }
    }
    let _ = writeln!(
        text,
        "series: {}, slices: {}, done: {}, refused files: {}",
        state.contents.series.len(),
        state.contents.slices(),
        state.reports.len(),
        state.contents.refused.len()
    );
    if let Some(report) = state.reports.get(&state.shown) {
        let _ = writeln!(text, "shown slice: {} x {}", report.width, report.height);
        for (stage, milliseconds) in &report.milliseconds {
            let _ = writeln!(text, "  {stage}: {milliseconds:.1} ms");
        }
    }
    if let Some(notice) = &state.notice {
        let _ = writeln!(text, "notice: {notice}");
    }
    text
}
