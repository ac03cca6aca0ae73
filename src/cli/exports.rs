//! Files that `predict` writes beside its JSON.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use clap::Args;

use super::files::{self, OnDisk};
use crate::export::dicom::segmentation::segmentation;
use crate::export::dicom::structured_report::structured_report;
use crate::export::dicom::{Identity, Writer};
use crate::export::{coco, csv, html, label_map, nifti, overlay};
use crate::image::Window;
use crate::image::examination::SeriesSlice;
use crate::predict::SliceReport;
use crate::predict::report::Report;

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
    /// Write a report to read: one HTML file with pictures
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// A file name for a slice or series that no other has had.
pub fn unique_name(name: &str, taken: &mut BTreeSet<String>) -> String {
    let stem = files::stem(Path::new(name)).replace('#', "_");
    (1..)
        .map(|n| if n == 1 { stem.clone() } else { format!("{stem}_{n}") })
        .find(|name| taken.insert(name.clone()))
        .unwrap_or(stem)
}

impl Exports {
    /// Writes everything asked for. `places` are where the report's slices come from.
    pub fn write(
        &self,
        report: &Report,
        places: &[Place<'_>],
        window: Option<Window>,
        card: Option<&str>,
    ) -> Result<()> {
        if let Some(path) = &self.csv {
            files::write(path, csv::csv(report)?.as_bytes())?;
        }
        if let Some(path) = &self.coco {
            let text = serde_json::to_string_pretty(&coco::coco(report))?;
            files::write(path, text.as_bytes())?;
        }
        if let Some(folder) = &self.masks {
            let mut names = BTreeSet::new();
            for slice in &report.slices {
                let name = unique_name(&slice.source, &mut names);
                files::write(&folder.join(format!("{name}_mask.png")), &label_map::png(slice)?)?;
            }
        }
        if let Some(folder) = &self.nifti {
            let mut names = BTreeSet::new();
            for series in report.series.iter().filter(|series| series.slices > 0) {
                let range = series.first_slice..series.first_slice + series.slices;
                let slices: Vec<&SliceReport> = report.slices[range].iter().collect();
                let plane = places[series.first_slice].header.plane;
                let volume = nifti::mask_volume(&slices, plane, series.distance_mm)
                    .map_err(|reason| anyhow!("{}: no mask volume: {reason}", series.name))?;
                let name = unique_name(&series.name, &mut names);
                files::write(&folder.join(format!("{name}_mask.nii.gz")), &volume)?;
            }
        }
        if let Some(folder) = &self.dicom_seg {
            let writer = ("segmentation", "seg", segmentation as Writer);
            self.write_dicom(folder, writer, report, places)?;
        }
        if let Some(folder) = &self.dicom_sr {
            let writer = ("structured report", "sr", structured_report as Writer);
            self.write_dicom(folder, writer, report, places)?;
        }
        if let Some(path) = &self.html {
            let mut failed = None;
            let picture = |index: usize| {
                let drawn = draw(places[index], &report.slices[index], window);
                drawn.map_err(|error| failed = Some(error)).ok()
            };
            let page = html::html(report, picture, card);
            if let Some(error) = failed {
                return Err(error).context("the pictures of the HTML report");
            }
            files::write(path, page.as_bytes())?;
        }
        Ok(())
    }

    /// One DICOM object a series.
    fn write_dicom(
        &self,
        folder: &Path,
        (kind, ending, write): (&str, &str, Writer),
        report: &Report,
        places: &[Place<'_>],
    ) -> Result<()> {
        let identity = if self.keep_identity { Identity::Kept } else { Identity::Removed };
        let mut names = BTreeSet::new();
        for series in report.series.iter().filter(|series| series.slices > 0) {
            let range = series.first_slice..series.first_slice + series.slices;
            let mut slices = Vec::new();
            for (slice, place) in report.slices[range.clone()].iter().zip(&places[range]) {
                let source = place.dicom_source();
                let source =
                    source.with_context(|| format!("{}: no DICOM {kind}", slice.source))?;
                slices.push((slice, source));
            }
            let bytes = write(&slices, &report.model, identity, SystemTime::now())
                .map_err(|reason| anyhow!("{}: no DICOM {kind}: {reason}", series.name))?;
            let name = unique_name(&series.name, &mut names);
            files::write(&folder.join(format!("{name}_{ending}.dcm")), &bytes)?;
        }
        Ok(())
    }
}

fn draw(place: Place<'_>, report: &SliceReport, window: Option<Window>) -> Result<Vec<u8>> {
    Ok(overlay::png(&place.read()?.windowed(&place.name, window), report)?)
}
