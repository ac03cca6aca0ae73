//! Lesions and classes as a table: a row per lesion, and one for a slice without any.

use crate::classes::SliceClass;
use crate::report::{Lesion, Origin, Report, SliceReport};

const COLUMNS: [&str; 28] = [
    "source",
    "width",
    "height",
    SliceClass::Control.key(),
    SliceClass::CommonPneumonia.key(),
    SliceClass::Covid19.key(),
    "pneumonia",
    "finding",
    "refusal",
    "lesion",
    "label",
    "score",
    "x1",
    "y1",
    "x2",
    "y2",
    "area_px",
    "area_mm2",
    "model_sha256",
    "warnings",
    "notice",
    "right_lung_px",
    "right_lung_affected_px",
    "left_lung_px",
    "left_lung_affected_px",
    "origin",
    "corrections",
    "reader_class",
];

/// The table, with a line of column names, as specified by RFC 4180.
///
/// # Errors
/// If the table cannot be written, which memory alone can cause.
pub fn csv(report: &Report) -> Result<String, csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        // Programs of other countries part fields by other signs: all text is quoted.
        .quote_style(csv::QuoteStyle::NonNumeric)
        .from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for slice in &report.slices {
        if slice.lesions.is_empty() {
            writer.write_record(record(report, slice, None))?;
        }
        for lesion in slice.lesions.iter().enumerate() {
            writer.write_record(record(report, slice, Some(lesion)))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn record(report: &Report, slice: &SliceReport, lesion: Option<(usize, &Lesion)>) -> Vec<String> {
    let number = |value: f32| format!("{value:.4}");
    let mut row = vec![text(&slice.source), slice.width.to_string(), slice.height.to_string()];
    match &slice.classes {
        Some(classes) => row.extend(classes.values().map(number)),
        None => row.extend([const { String::new() }; 3]),
    }
    match &slice.verdict {
        Some(verdict) => {
            row.extend([number(verdict.pneumonia), verdict.finding.summary().to_owned()]);
        }
        None => row.extend([const { String::new() }; 2]),
    }
    row.push(text(slice.refusal.as_deref().unwrap_or_default()));
    match lesion {
        Some((index, lesion)) => {
            let b = lesion.bbox;
            row.extend([
                (index + 1).to_string(),
                lesion.label.key().to_owned(),
                // What a reader drew has no score.
                match lesion.origin {
                    Origin::Reader => String::new(),
                    _ => number(lesion.score),
                },
            ]);
            row.extend([b.x1, b.y1, b.x2, b.y2].map(|value| format!("{value:.1}")));
            row.push(lesion.area_px.to_string());
            row.push(lesion.area_mm2.map(|area| format!("{area:.1}")).unwrap_or_default());
        }
        None => row.extend([const { String::new() }; 9]),
    }
    let model = report.model.segmentation.as_ref().or(report.model.classifier.as_ref());
    row.push(model.map(|model| model.sha256.clone()).unwrap_or_default());
    row.push(text(&slice.warnings.join("; ")));
    row.push(report.notice.clone());
    match &slice.lungs {
        Some(lungs) => row.extend(
            lungs
                .sides()
                .iter()
                .flat_map(|lung| [lung.area_px, lung.affected_px])
                .map(|count| count.to_string()),
        ),
        None => row.extend([const { String::new() }; 4]),
    }
    row.push(lesion.map(|(_, lesion)| lesion.origin.key().to_owned()).unwrap_or_default());
    row.push(text(&slice.corrections_summary().unwrap_or_default()));
    row.push(slice.reader_class().map(|given| given.class.key().to_owned()).unwrap_or_default());
    row
}

/// Text that no spreadsheet takes for a formula, whatever it parts fields by.
fn text(value: &str) -> String {
    let mut safe = String::with_capacity(value.len());
    let mut begins = true;
    for c in value.chars() {
        if begins
            && matches!(
                c,
                '=' | '+' | '-' | '@' | '\u{ff1d}' | '\u{ff0b}' | '\u{ff0d}' | '\u{ff20}'
            )
        {
            safe.push('\'');
        }
        begins =
            matches!(c, ';' | ',' | '|' | '"') || c.is_control() || (begins && c.is_whitespace());
        // A line break or tab within a name is nothing that anyone needs.
        safe.push(if c.is_control() { ' ' } else { c });
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_a_formula_after_any_separator() {
        for (name, safe) in [
            ("scan.png", "scan.png"),
            ("a-b.png", "a-b.png"),
            ("=1+1", "'=1+1"),
            ("scan;=1+1;.png", "scan;'=1+1;.png"),
            ("a\n=1", "a '=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            (" \t@x", "  '@x"),
        ] {
            assert_eq!(text(name), safe);
        }
    }
}
