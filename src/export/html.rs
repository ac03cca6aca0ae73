//! A report to read: one HTML file that holds its pictures and asks for nothing else.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::report::{ModelInfo, Report, SliceReport};

/// Most slices shown with their picture.
pub const MOST_PICTURES: usize = 60;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
.notice{border:2px solid #a40000;padding:.5rem 1rem}table{border-collapse:collapse}\
td,th{border:1px solid #767676;padding:.2rem .6rem;text-align:left}figure{margin:1rem 0}\
img{max-width:100%;height:auto}pre{white-space:pre-wrap;background:#f4f4f4;padding:1rem}";

/// Writes the report. `picture` gives a slice's overlay as PNG, by its place in the report; `card` is the
/// model card.
pub fn html(
    report: &Report,
    mut picture: impl FnMut(usize) -> Option<Vec<u8>>,
    card: Option<&str>,
) -> String {
    let mut page = String::new();
    page.push_str("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n");
    let _ = writeln!(
        page,
        "<title>groundglass report</title><style>{STYLE}</style></head><body>\n<h1>groundglass report</h1>\n<p class=\"notice\"><strong>{}</strong> Lesions were found and classes estimated by a program, which is often wrong.</p>",
        escape(&report.notice)
    );
    models(&mut page, report);
    summary(&mut page, report);
    let mut shown = 0;
    for (index, slice) in report.slices.iter().enumerate() {
        let wanted = !slice.lesions.is_empty() || report.slices.len() == 1;
        let png = if wanted && shown < MOST_PICTURES { picture(index) } else { None };
        shown += usize::from(png.is_some());
        if wanted {
            of_slice(&mut page, slice, png.as_deref());
        }
    }
    if shown == MOST_PICTURES {
        let _ = writeln!(
            page,
            "<p>Pictures are shown for the first {MOST_PICTURES} slices with lesions.</p>"
        );
    }
    if !report.errors.is_empty() {
        page.push_str("<h2>Not read</h2>\n<ul>\n");
        for error in &report.errors {
            let _ =
                writeln!(page, "<li>{}: {}</li>", escape(&error.source), escape(&error.message));
        }
        page.push_str("</ul>\n");
    }
    if let Some(card) = card {
        let _ = writeln!(page, "<h2>Model card</h2>\n<pre>{}</pre>", escape(card));
    }
    page.push_str("</body></html>\n");
    page
}

fn models(page: &mut String, report: &Report) {
    let of = |task: &str, info: &Option<ModelInfo>| {
        info.as_ref()
            .map(|info| format!("{task} {} (SHA-256 {})", escape(&info.name), escape(&info.sha256)))
    };
    let parts = [
        of("segmentation", &report.model.segmentation),
        of("classifier", &report.model.classifier),
    ];
    let _ = writeln!(
        page,
        "<p>groundglass {}, computed on {}. Models: {}.</p>",
        env!("CARGO_PKG_VERSION"),
        escape(&report.device),
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    );
}

fn summary(page: &mut String, report: &Report) {
    for series in &report.series {
        let _ = writeln!(
            page,
            "<h2>{}</h2>\n<p>{}</p>",
            escape(&series.name),
            escape(&series.summary())
        );
        for warning in &series.warnings {
            let _ = writeln!(page, "<p>Note: {}.</p>", escape(warning));
        }
    }
    if let Some(measured) = report.model.calibration.as_ref().and_then(|c| c.measured) {
        let _ = writeln!(page, "<p>{}</p>", measured.summary());
    }
    page.push_str("<table><thead><tr><th>Slice</th><th>Lesions</th><th>Verdict</th><th>Control</th><th>Common Pneumonia</th><th>COVID-19</th></tr></thead><tbody>\n");
    for slice in &report.slices {
        let verdict = slice.verdict_summary().unwrap_or_default();
        let contradiction = slice.contradiction().map(|c| c.summary()).unwrap_or_default();
        let _ = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{} {contradiction}</td>",
            escape(&slice.source),
            slice.lesions.len(),
            escape(&verdict)
        );
        match &slice.classes {
            Some(c) => {
                for value in [c.control, c.common_pneumonia, c.covid19] {
                    let _ = write!(page, "<td>{:.1} %</td>", value * 100.0);
                }
            }
            None => page.push_str("<td></td><td></td><td></td>"),
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table>\n");
}

fn of_slice(page: &mut String, slice: &SliceReport, png: Option<&[u8]>) {
    let _ = writeln!(page, "<h3>{}</h3>", escape(&slice.source));
    if let Some(png) = png {
        let _ = writeln!(
            page,
            "<figure><img alt=\"{} with {} outlined lesions\" src=\"data:image/png;base64,{}\"></figure>",
            escape(&slice.source),
            slice.lesions.len(),
            STANDARD.encode(png)
        );
    }
    if !slice.lesions.is_empty() {
        page.push_str("<ol>\n");
        for lesion in &slice.lesions {
            let area = match lesion.area_mm2 {
                Some(area) => format!("{area:.0} mm²"),
                None => format!("{} px", lesion.area_px),
            };
            let label = lesion.label.name();
            let _ = writeln!(page, "<li>{label}, score {:.2}, {area}</li>", lesion.score);
        }
        page.push_str("</ol>\n");
    }
    for warning in &slice.warnings {
        let _ = writeln!(page, "<p>Note: {}.</p>", escape(warning));
    }
}

/// Text as HTML shows it, whatever a file calls itself.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_markup() {
        assert_eq!(
            escape("<img src=x onerror='a'>&\""),
            "&lt;img src=x onerror=&#39;a&#39;&gt;&amp;&quot;"
        );
    }
}
