//! A report to read: one HTML file that holds its pictures and asks for nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::classes::{CLASSES, SliceClass};
use crate::report::joined_lesions::LISTED;
use crate::report::{ModelInfo, Origin, Report, SeriesReport, SliceReport};

/// Most slices shown with their picture.
pub const MOST_PICTURES: usize = 60;

const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

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
    let mut shown = 0;
    let mut slices = Vec::new();
    for (index, slice) in report.slices.iter().enumerate() {
        let has_something = !slice.lesions.is_empty()
            || slice.corrections.is_some()
            || !slice.measurements.is_empty();
        let wanted = has_something || report.slices.len() == 1;
        let png = if wanted && shown < MOST_PICTURES { picture(index) } else { None };
        shown += usize::from(png.is_some());
        if wanted {
            slices.push(of_slice(slice, png.as_deref()));
        }
    }
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "groundglass report" }
                // The policy allows this style; text of a style element is not markup.
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "groundglass report" }
                p.notice {
                    strong { (report.notice) }
                    " Lesions were found and classes estimated by a program, which is often wrong."
                    @if report.is_corrected() { " Edited by a reader where that is said." }
                }
                (models(report))
                (summary(report))
                @for slice in &slices { (slice) }
                @if shown == MOST_PICTURES {
                    p { "Pictures are shown for the first " (MOST_PICTURES) " slices with lesions." }
                }
                @if !report.errors.is_empty() {
                    h2 { "Not read" }
                    ul {
                        @for error in &report.errors { li { (error.source) ": " (error.message) } }
                    }
                }
                @if let Some(card) = card {
                    h2 { "Model card" }
                    pre { (card) }
                }
            }
        }
    };
    page.into_string()
}

fn models(report: &Report) -> Markup {
    let of = |task: &str, info: &Option<ModelInfo>| {
        info.as_ref().map(|info| format!("{task} {} (SHA-256 {})", info.name, info.sha256))
    };
    let parts = [
        of("segmentation", &report.model.segmentation),
        of("classifier", &report.model.classifier),
    ];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let version = env!("CARGO_PKG_VERSION");
    html! {
        p { "groundglass " (version) ", computed on " (report.device) ". Models: " (parts) "." }
    }
}

fn summary(report: &Report) -> Markup {
    let measured = report.model.calibration.as_ref().and_then(|c| c.measured);
    html! {
        @for series in &report.series {
            h2 { (series.name) }
            p { (series.summary()) }
            (joined_lesions(series))
            (notes(&series.warnings))
        }
        @if let Some(measured) = measured {
            p { (measured.summary()) }
        }
        table {
            thead {
                tr {
                    @for title in ["Slice", "Lesions", "Verdict"] { th { (title) } }
                    @for class in SliceClass::ALL { th { (class.title()) } }
                }
            }
            tbody {
                @for slice in &report.slices {
                    tr {
                        td { (slice.source) }
                        td { (slice.lesions.len()) }
                        td {
                            (slice.verdict_summary().unwrap_or_default())
                            " "
                            (slice.contradiction().map(|c| c.summary()).unwrap_or_default())
                            @if let Some(given) = slice.reader_class() {
                                " Class given by the reader: " (given.class.name()) "."
                            }
                        }
                        @for value in slice.classes.map_or([None; CLASSES], |c| c.values().map(Some)) {
                            td { @if let Some(value) = value { (format!("{:.1} %", value * 100.0)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The largest lesions of a series.
fn joined_lesions(series: &SeriesReport) -> Markup {
    html! {
        @if !series.joined_lesions.is_empty() {
            table {
                thead {
                    tr {
                        @for title in ["Lesion", "Slices", "Volume", "Largest diameter", "Score"] {
                            th { (title) }
                        }
                    }
                }
                tbody {
                    @for (number, lesion) in series.joined_lesions.iter().take(LISTED).enumerate() {
                        tr {
                            td { (number + 1) ", " (lesion.label.name()) }
                            td {
                                (lesion.slices[0] + 1)
                                @if lesion.slices[1] > lesion.slices[0] { " to " (lesion.slices[1] + 1) }
                            }
                            td { @if let Some(ml) = lesion.volume_ml { (format!("{ml:.1} ml")) } }
                            td { @if let Some(mm) = lesion.diameter_mm { (format!("{mm:.0} mm")) } }
                            td { (format!("{:.2}", lesion.score)) }
                        }
                    }
                }
            }
            @if series.joined_lesions.len() > LISTED {
                p { "The largest " (LISTED) " of " (series.joined_lesions.len()) " lesions." }
            }
        }
    }
}

fn of_slice(slice: &SliceReport, png: Option<&[u8]>) -> Markup {
    html! {
        h3 { (slice.source) }
        @if let Some(png) = png {
            figure {
                img alt=(format!("{} with {} outlined lesions", slice.source, slice.lesions.len()))
                    src=(format!("data:image/png;base64,{}", STANDARD.encode(png)));
            }
        }
        @if !slice.lesions.is_empty() {
            ol {
                @for lesion in &slice.lesions {
                    li {
                        (lesion.label.name()) ", "
                        @if lesion.origin != Origin::Reader {
                            "score " (format!("{:.2}", lesion.score)) ", "
                        }
                        @match lesion.area_mm2 {
                            Some(area) => (format!("{area:.0} mm²")),
                            None => (format!("{} px", lesion.area_px)),
                        }
                        @if let Some(origin) = lesion.origin.summary() { ", " (origin) }
                    }
                }
            }
        }
        @if let Some(corrections) = slice.corrections_summary() { p { (corrections) "." } }
        @if !slice.measurements.is_empty() {
            p { "Measured by a reader:" }
            ul {
                @for measurement in &slice.measurements { li { (measurement.summary()) } }
            }
        }
        @if let Some(lungs) = &slice.lungs {
            p {
                "Lungs covered by lesions: " (format!("{:.1} %", lungs.affected_share() * 100.0))
                ". Found by thresholds, which can be wrong."
            }
        }
        (notes(&slice.warnings))
    }
}

fn notes(warnings: &[String]) -> Markup {
    html! {
        @for warning in warnings { p { "Note: " (warning) "." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_markup() {
        let warnings = ["<img src=x onerror='a'>&\"".to_owned()];
        let written = notes(&warnings).into_string();
        assert_eq!(written, "<p>Note: &lt;img src=x onerror='a'&gt;&amp;&quot;.</p>");
    }
}
