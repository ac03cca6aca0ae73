//! Files that `predict` writes beside its JSON.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::cli::files::OnDisk;
use crate::cli::outputs::{Output, OutputFolder, Paths, say};
use crate::cli::reading;
use crate::export::dicom::segmentation::segmentation;
use crate::export::dicom::structured_report::structured_report;
use crate::export::dicom::{Identity, Uids, Writer};
use crate::export::names::Names;
use crate::export::{ExportError, Format, coco, csv, html, label_map, nifti, overlay};
use crate::image::Window;
use crate::image::examination::SeriesSlice;
use crate::report::{Report, SeriesReport, SliceReport};

/// A slice where it can be read again.
pub type Place<'a> = &'a SeriesSlice<OnDisk>;

/// What to write.
#[derive(Debug, Args)]
pub struct Exports {
    /// Write the lesions as a table
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the lesions as COCO JSON
    #[arg(long, value_name = "FILE")]
    coco: Option<PathBuf>,
    /// Write each slice's masks as a PNG to this folder: 0 background, 1 ground glass or lesion, 2
    /// consolidation
    #[arg(long, value_name = "FOLDER")]
    masks: Option<PathBuf>,
    /// Write each series' masks as a NIfTI volume (.nii.gz) to this folder
    #[arg(long, value_name = "FOLDER")]
    nifti: Option<PathBuf>,
    /// Write each series' masks as a DICOM segmentation to this folder; needs DICOM slices
    #[arg(long, value_name = "FOLDER")]
    dicom_seg: Option<PathBuf>,
    /// Write what was found on each series as a DICOM structured report (TID 1500) to this folder; needs
    /// DICOM slices
    #[arg(long, value_name = "FOLDER")]
    dicom_sr: Option<PathBuf>,
    /// Copy patient and study into DICOM objects; without it they are left blank
    #[arg(long)]
    keep_identity: bool,
    /// Give study and series other identifiers (UIDs) in DICOM objects, always the same for the same source:
    /// nothing leads back to it, and no viewer shows them together
    #[arg(long, conflicts_with = "keep_identity")]
    remap_uids: bool,
    /// Write a report to read: one HTML file with pictures
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// The same, opened before anything is computed.
#[derive(Debug)]
pub struct OpenExports {
    csv: Option<Output>,
    coco: Option<Output>,
    masks: Option<OutputFolder>,
    nifti: Option<OutputFolder>,
    dicom_seg: Option<OutputFolder>,
    dicom_sr: Option<OutputFolder>,
    identity: Identity,
    html: Option<Output>,
}

/// What the files are made of.
pub struct Results<'a> {
    /// What was found.
    pub report: &'a Report,
    /// Where the report's slices come from.
    pub places: &'a [Place<'a>],
    /// Window of the pictures.
    pub window: Option<Window>,
    /// The model card.
    pub card: Option<&'a str>,
}

impl Exports {
    /// Opens everything asked for.
    ///
    /// # Errors
    /// For the first that cannot be written, is an input, or another output.
    pub fn open(&self, paths: &mut Paths) -> Result<OpenExports> {
        let mut file = |path: &Option<PathBuf>| {
            path.as_deref().map(|path| Output::open(path, paths)).transpose()
        };
        let folder = |path: &Option<PathBuf>| path.as_deref().map(OutputFolder::open).transpose();
        let identity = match (self.keep_identity, self.remap_uids) {
            (true, _) => Identity::Kept,
            (false, true) => Identity::Removed(Uids::Remapped),
            (false, false) => Identity::Removed(Uids::Kept),
        };
        Ok(OpenExports {
            csv: file(&self.csv)?,
            coco: file(&self.coco)?,
            html: file(&self.html)?,
            masks: folder(&self.masks)?,
            nifti: folder(&self.nifti)?,
            dicom_seg: folder(&self.dicom_seg)?,
            dicom_sr: folder(&self.dicom_sr)?,
            identity,
        })
    }
}

impl OpenExports {
    /// How many go to standard output.
    pub fn on_stdout(&self) -> usize {
        let files = [&self.csv, &self.coco, &self.html];
        files.into_iter().flatten().filter(|output| output.is_stdout()).count()
    }

    /// Writes everything; what cannot be written is told to `failed`, and costs nothing else.
    pub fn write(self, results: &Results<'_>, paths: &mut Paths, failed: &mut dyn FnMut(String)) {
        let report = results.report;
        let mut note = |outcome: Result<()>| {
            if let Err(error) = outcome {
                failed(format!("{error:#}"));
            }
        };
        if let Some(output) = self.csv {
            note(
                csv::csv(report).map_err(Into::into).and_then(|text| output.write(text.as_bytes())),
            );
        }
        if let Some(output) = self.coco {
            let text = serde_json::to_vec_pretty(&coco::coco(report));
            note(text.map_err(Into::into).and_then(|text| output.write(&text)));
        }
        if let Some(folder) = &self.masks {
            let mut names = Names::default();
            for slice in &report.slices {
                let name = names.unique(&slice.source, Format::MaskPng);
                let png = label_map::png(slice).with_context(|| slice.source.clone());
                note(png.and_then(|png| folder.write(&name, &png, paths)));
            }
        }
        if let Some(folder) = &self.nifti {
            let mut names = Names::default();
            for series in report.series.iter().filter(|series| series.slices > 0) {
                let name = names.unique(&series.name, Format::NiftiMask);
                let slices: Vec<&SliceReport> = slices(report, series).iter().collect();
                let plane = results.places[series.first_slice].header.plane;
                let volume = nifti::mask_volume(&slices, plane, series.distance_mm)
                    .map_err(|reason| anyhow!("{}: no mask volume: {reason}", series.name));
                note(volume.and_then(|volume| folder.write(&name, &volume, paths)));
            }
        }
        let objects = [
            (&self.dicom_seg, "segmentation", Format::DicomSeg, segmentation as Writer),
            (&self.dicom_sr, "structured report", Format::DicomSr, structured_report as Writer),
        ];
        for (folder, kind, format, writer) in objects {
            let Some(folder) = folder else { continue };
            let mut names = Names::default();
            for series in report.series.iter().filter(|series| series.slices > 0) {
                let name = names.unique(&series.name, format);
                match dicom(results, series, self.identity, writer) {
                    Ok(bytes) => note(folder.write(&name, &bytes, paths)),
                    Err(error) if matches!(error.downcast_ref(), Some(ExportError::NoLesions)) => {
                        say(&format!("note: {}: no DICOM {kind}: {error:#}", series.name));
                    }
                    Err(error) => {
                        note(Err(error.context(format!("{}: no DICOM {kind}", series.name))));
                    }
                }
            }
        }
        if let Some(output) = self.html {
            let mut missing = Vec::new();
            let picture = |index: usize| {
                let drawn = draw(results.places[index], &report.slices[index], results.window);
                drawn.map_err(|error| missing.push(format!("{error:#}"))).ok()
            };
            let page = html::html(report, picture, results.card);
            missing
                .iter()
                .for_each(|reason| note(Err(anyhow!("a picture of the report: {reason}"))));
            note(output.write(page.as_bytes()));
        }
    }
}

fn slices<'a>(report: &'a Report, series: &SeriesReport) -> &'a [SliceReport] {
    &report.slices[series.first_slice..series.first_slice + series.slices]
}

/// A DICOM object about a series.
fn dicom(
    results: &Results<'_>,
    series: &SeriesReport,
    identity: Identity,
    write: Writer,
) -> Result<Vec<u8>> {
    let places = &results.places[series.first_slice..series.first_slice + series.slices];
    let mut with_sources = Vec::new();
    for (slice, place) in slices(results.report, series).iter().zip(places) {
        with_sources.push((slice, place.dicom_source().with_context(|| slice.source.clone())?));
    }
    Ok(write(&with_sources, &results.report.model, identity, SystemTime::now())?)
}

fn draw(place: Place<'_>, report: &SliceReport, window: Option<Window>) -> Result<Vec<u8>> {
    let raw = reading::read(place, reading::patience(0)).with_context(|| place.name.clone())?;
    let slice = raw.windowed(&place.name, window);
    Ok(overlay::png(&slice, report)?)
}

/// Writes pictures of slices with their lesions, one by one.
#[derive(Debug)]
pub struct Overlays {
    folder: OutputFolder,
    names: Names,
}

impl Overlays {
    /// Pictures for `folder`.
    ///
    /// # Errors
    /// If no files can be written there.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { folder: OutputFolder::open(folder)?, names: Names::default() })
    }

    /// Writes that of a slice.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(
        &mut self,
        slice: &crate::image::CtSlice,
        report: &SliceReport,
        paths: &mut Paths,
    ) -> Result<()> {
        let name = self.names.unique(&slice.source, Format::OverlayPng);
        self.folder.write(&name, &overlay::png(slice, report)?, paths)
    }
}
