//! Files that `predict` writes beside its JSON.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::Args;

use crate::cli::files::OnDisk;
use crate::cli::outputs::{Output, OutputFolder, Paths, say};
use crate::cli::reading;
use crate::export::dicom::{self, Identity, Uids};
use crate::export::names::Names;
use crate::export::{ExportError, Format, Options, Slices, overlay, write};
use crate::image::{CtSlice, Plane, SeriesSlice, Window};
use crate::report::{Report, SliceReport};

/// A slice where it can be read again.
pub type SliceHandle<'a> = &'a SeriesSlice<OnDisk>;

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
    pub handles: &'a [SliceHandle<'a>],
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
            (true, _) => Identity::Retained,
            (false, true) => Identity::Deidentified(Uids::Remapped),
            (false, false) => Identity::Deidentified(Uids::Kept),
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
        let options = Options { identity: self.identity, card: results.card };
        let files = [(self.csv, Format::Csv), (self.coco, Format::Coco), (self.html, Format::Html)];
        for (output, format) in files {
            let Some(output) = output else { continue };
            let mut slices = OnDiskSlices::new(results, 0..results.handles.len());
            let bytes = write(format, report, &mut slices, options).map_err(Into::into);
            slices.missing.iter().for_each(|reason| {
                note(Err(anyhow!("a picture of the report: {reason}")));
            });
            note(bytes.and_then(|bytes| output.write(&bytes)));
        }
        if let Some(folder) = &self.masks {
            let mut names = Names::default();
            for (index, slice) in report.slices.iter().enumerate() {
                let name = names.unique(&slice.source, Format::MaskPng);
                let mut slices = OnDiskSlices::new(results, index..index + 1);
                let png = write(Format::MaskPng, &report.only_slice(index), &mut slices, options)
                    .with_context(|| slice.source.clone());
                note(png.and_then(|png| folder.write(&name, &png, paths)));
            }
        }
        let volumes = [
            (&self.nifti, "mask volume", Format::NiftiMask),
            (&self.dicom_seg, "DICOM segmentation", Format::DicomSeg),
            (&self.dicom_sr, "DICOM structured report", Format::DicomSr),
        ];
        for (folder, kind, format) in volumes {
            let Some(folder) = folder else { continue };
            let mut names = Names::default();
            for (index, series) in report.series.iter().enumerate().filter(|(_, s)| s.slices > 0) {
                let name = names.unique(&series.name, format);
                let mut slices = OnDiskSlices::new(results, series.range());
                match write(format, &report.only_series(index), &mut slices, options) {
                    Ok(bytes) => note(folder.write(&name, &bytes, paths)),
                    Err(error @ ExportError::NoLesions) => {
                        say(&format!("note: {}: no {kind}: {error}", series.name));
                    }
                    Err(error) => note(Err(anyhow!("{}: no {kind}: {error}", series.name))),
                }
            }
        }
    }
}

/// Slices of the report, in their files.
struct OnDiskSlices<'a> {
    handles: &'a [SliceHandle<'a>],
    window: Option<Window>,
    /// Why pictures are missing.
    missing: Vec<ExportError>,
}

impl<'a> OnDiskSlices<'a> {
    fn new(results: &'a Results<'_>, range: Range<usize>) -> Self {
        Self { handles: &results.handles[range], window: results.window, missing: Vec::new() }
    }
}

impl Slices for OnDiskSlices<'_> {
    fn plane(&self, index: usize) -> Option<Plane> {
        self.handles.get(index)?.header.plane
    }

    fn read(&mut self, index: usize) -> Result<CtSlice, ExportError> {
        let handle = self.handles.get(index).ok_or(ExportError::Empty)?;
        let raw = reading::read(handle, reading::timeout(0))
            .map_err(|error| ExportError::Source(format!("{}: {error:#}", handle.name)))?;
        Ok(raw.windowed(&handle.name, self.window))
    }

    fn dicom(
        &self,
        format: Format,
        report: &Report,
        identity: Identity,
    ) -> Result<Vec<u8>, ExportError> {
        let mut with_sources = Vec::new();
        for (slice, handle) in report.slices.iter().zip(self.handles) {
            let source = handle.dicom_source();
            let named = |error| ExportError::Source(format!("{}: {error}", slice.source));
            with_sources.push((slice, source.map_err(named)?));
        }
        dicom::write(format, &with_sources, &report.model, identity)
    }

    /// The report is written without them.
    fn without_pictures(&mut self, reasons: Vec<ExportError>) -> Result<(), ExportError> {
        self.missing = reasons;
        Ok(())
    }
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
        slice: &CtSlice,
        report: &SliceReport,
        paths: &mut Paths,
    ) -> Result<()> {
        let name = self.names.unique(&slice.source, Format::OverlayPng);
        self.folder.write(&name, &overlay::png(slice, report)?, paths)
    }
}
