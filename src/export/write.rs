//! One way to every kind of file, for the page and the command line.

use crate::export::dicom::Identity;
use crate::export::{ExportError, Format, coco, csv, html, label_map, nifti, overlay};
use crate::image::{CtSlice, Plane};
use crate::report::Report;

/// The slices behind a report, where their files can be read again.
pub trait Slices {
    /// Where slice `index` of the report lies in the patient.
    fn plane(&self, index: usize) -> Option<Plane>;

    /// Slice `index` of the report, to be drawn.
    ///
    /// # Errors
    /// If its file cannot be read.
    fn read(&mut self, index: usize) -> Result<CtSlice, ExportError>;

    /// A DICOM object about all slices of `report`.
    ///
    /// # Errors
    /// If they are no DICOM slices, or do not go into one object.
    fn dicom(
        &self,
        format: Format,
        report: &Report,
        identity: Identity,
    ) -> Result<Vec<u8>, ExportError>;

    /// Called with the reasons for missing pictures: which a report to read has to do without.
    ///
    /// # Errors
    /// If it should not be written then: the first reason, unless this is overridden.
    fn without_pictures(&mut self, reasons: Vec<ExportError>) -> Result<(), ExportError> {
        reasons.into_iter().next().map_or(Ok(()), Err)
    }
}

/// What a file may hold beside the findings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Whether patient and study go into DICOM objects.
    pub identity: Identity,
    /// The model card, for the report to read.
    pub card: Option<&'a str>,
}

/// Whether a file needs the slices, and not only what was found on them.
pub fn needs_slices(format: Format) -> bool {
    !matches!(format, Format::Json | Format::Csv | Format::Coco | Format::MaskPng)
}

/// Writes `report` as a file: pictures of its first slice, volumes and DICOM objects of one series, all else of
/// everything.
///
/// # Errors
/// If there is no slice, one cannot be read, or the format does not take them.
pub fn write(
    format: Format,
    report: &Report,
    slices: &mut dyn Slices,
    options: Options<'_>,
) -> Result<Vec<u8>, ExportError> {
    let encoding = |error: &dyn std::error::Error| ExportError::Encoding(error.to_string());
    let first = || report.slices.first().ok_or(ExportError::Empty);
    match format {
        Format::Json => serde_json::to_vec_pretty(report).map_err(|e| encoding(&e)),
        Format::Csv => csv::csv(report).map(String::into_bytes).map_err(|e| encoding(&e)),
        Format::Coco => serde_json::to_vec_pretty(&coco::coco(report)).map_err(|e| encoding(&e)),
        Format::MaskPng => label_map::png(first()?).map_err(|e| encoding(&e)),
        Format::OverlayPng => {
            let found = first()?;
            overlay::png(&slices.read(0)?, found).map_err(|e| encoding(&e))
        }
        Format::NiftiMask => {
            first()?;
            let distance = report.series.first().and_then(|series| series.distance_mm);
            let found: Vec<_> = report.slices.iter().collect();
            nifti::mask_volume(&found, slices.plane(0), distance)
        }
        Format::DicomSeg | Format::DicomSr => slices.dicom(format, report, options.identity),
        Format::Html => {
            let mut missing = Vec::new();
            let picture = |index: usize| {
                let drawn = slices.read(index).and_then(|slice| {
                    overlay::png(&slice, &report.slices[index]).map_err(|e| encoding(&e))
                });
                drawn.map_err(|error| missing.push(error)).ok()
            };
            let page = html::html(report, picture, options.card);
            slices.without_pictures(missing)?;
            Ok(page.into_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::{LesionKind, SliceClass};
    use crate::detection::BBox;
    use crate::image::Refusal;
    use crate::report::slice::Corrections;
    use crate::report::{Lesion, ModelsInfo, Origin, ReaderClass, SliceReport};

    /// Slices of which every second cannot be read.
    struct Half;

    impl Slices for Half {
        fn plane(&self, _: usize) -> Option<Plane> {
            None
        }

        fn read(&mut self, index: usize) -> Result<CtSlice, ExportError> {
            match index % 2 {
                0 => Ok(slice(index)),
                _ => Err(ExportError::Source(format!("slice {index} is gone"))),
            }
        }

        fn dicom(&self, _: Format, _: &Report, _: Identity) -> Result<Vec<u8>, ExportError> {
            Err(ExportError::Source("no DICOM".into()))
        }
    }

    fn slice(index: usize) -> CtSlice {
        CtSlice::new(format!("slice {index}"), (4, 3), vec![9; 12])
    }

    fn report(slices: usize) -> Report {
        let mut report = Report::new(ModelsInfo::default(), "cpu");
        let found = (0..slices).map(|index| {
            let lesion = Lesion {
                label: LesionKind::GroundGlass,
                score: 0.9,
                bbox: BBox { x1: 0.0, y1: 0.0, x2: 1.0, y2: 1.0 },
                area_px: 1,
                area_mm2: None,
                mask: None,
                origin: Origin::Model,
            };
            let nothing = SliceReport::refused(&slice(index), Refusal::NoLung, Default::default());
            SliceReport { lesions: vec![lesion], ..nothing }
        });
        report.add_series("series".into(), found.collect(), slices, None, Vec::new());
        report
    }

    #[test]
    fn what_shows_a_slice_that_is_gone_is_refused_and_the_rest_is_not() {
        let (one, two) = (report(1), report(2));
        let write = |format, report: &Report| write(format, report, &mut Half, Options::default());
        assert!(write(Format::Html, &one).is_ok());
        let gone = write(Format::Html, &two).expect_err("a picture is missing").to_string();
        assert_eq!(gone, "slice 1 is gone");
        for format in Format::ALL.into_iter().filter(|format| !needs_slices(*format)) {
            assert!(write(format, &two).is_ok(), "{format:?}");
        }
    }

    #[test]
    fn a_readers_note_in_any_script_goes_into_every_file() {
        let mut noted = report(1);
        let note = "patient\u{2019}s PCR \u{2013} \u{2265} 2 \u{80ba}".to_owned();
        let class = Some(ReaderClass { class: SliceClass::Covid19, note: note.clone() });
        noted.slices[0].corrections = Some(Corrections { class, ..Corrections::default() });
        for format in [
            Format::MaskPng,
            Format::OverlayPng,
            Format::Html,
            Format::Json,
            Format::Csv,
            Format::Coco,
        ] {
            let bytes = write(format, &noted, &mut Half, Options::default()).expect("a file");
            let place = bytes.windows(note.len()).position(|text| text == note.as_bytes());
            assert!(place.is_some(), "{format:?}");
        }
    }

    #[test]
    fn without_a_slice_nothing_is_drawn() {
        for format in [Format::MaskPng, Format::OverlayPng, Format::NiftiMask] {
            let empty = report(0);
            let said = write(format, &empty, &mut Half, Options::default());
            assert!(matches!(said, Err(ExportError::Empty)), "{format:?}");
        }
    }
}
