//! What helps to find a fault: device, model, times. No picture, no name.

use std::fmt::Write;

use crate::web::browser;
use crate::web::state::State;

/// The text to copy.
pub fn text(state: &State) -> String {
    let mut text = format!("groundglass {}\n{}\n", env!("CARGO_PKG_VERSION"), browser::browser());
    if let Some(model) = &state.model {
        writeln!(text, "device: {}\n  {}", model.device, model.details).ok();
        let is_of_site = state.models_of_site.contains(&model.name);
        let name = if is_of_site { model.name.as_str() } else { "a file of the user's" };
        writeln!(text, "model: {name}").ok();
        let parts = [&model.models.segmentation, &model.models.classifier];
        for part in parts.into_iter().flatten() {
            writeln!(text, "  SHA-256 {}", part.sha256).ok();
        }
        for download in browser::downloads().iter().chain(&model.downloads) {
            let (name, size) = (&download.name, download.decoded_bytes);
            // Programs and weights only: what a user opened is no download.
            writeln!(
                text,
                "download: {name}, {size:.0} bytes, sent as {:.0}",
                download.transferred_bytes
            )
            .ok();
        }
    }
    writeln!(
        text,
        "series: {}, slices: {}, done: {}, refused files: {}",
        state.contents.series.len(),
        state.contents.slices(),
        state.reports.len(),
        state.contents.refused.len()
    )
    .ok();
    if let Some(report) = state.reports.get(&state.shown) {
        writeln!(text, "shown slice: {} x {}", report.width, report.height).ok();
        for (stage, milliseconds) in &report.milliseconds {
            writeln!(text, "  {stage}: {milliseconds:.1} ms").ok();
        }
    }
    if let Some(notice) = &state.notice {
        writeln!(text, "notice: {notice}").ok();
    }
    text
}
