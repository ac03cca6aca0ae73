//! `groundglass phantom`.

use std::fmt::Write;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use image::{GrayImage, ImageFormat};
use libjpeg_turbo_rs::{PixelFormat, Subsampling};

use crate::classes::SliceClass;
use crate::cli::files;
use crate::image::phantom::{Phantom, SIDE, draw};

/// Slices of each invented patient.
const SLICES_PER_PATIENT: u64 = 5;
/// One patient in so many is a test patient.
const TEST_SHARE: u64 = 5;

/// Arguments of `phantom`.
#[derive(Debug, Args)]
pub struct WritePhantoms {
    /// Folder to write to
    #[arg(long)]
    out: PathBuf,
    /// How many slices, shared evenly by the three classes
    #[arg(long)]
    count: u64,
    /// Seed; the same seed gives the same slices
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl WritePhantoms {
    /// Writes `lesions/{train,test}/{imgs,masks}` in the CNCB layout and
    /// `classes/{images,train_COVIDx_CT.txt,test_COVIDx_CT.txt}` in the COVIDx-CT layout.
    pub fn run(self) -> Result<ExitCode> {
        ensure!(self.count > 0, "--count must be at least 1");
        let (mut train, mut test) = (String::new(), String::new());
        let classes = self.out.join("classes");
        for index in 0..self.count {
            let class = SliceClass::ALL[(index % 3) as usize];
            let (patient, slice) = (index / 3 / SLICES_PER_PATIENT, index / 3 % SLICES_PER_PATIENT);
            let is_test = patient % TEST_SHARE == TEST_SHARE - 1;
            let phantom = draw(class, self.seed.wrapping_mul(1_000_003).wrapping_add(index));

            let (prefix, label) = (class.prefix(), class.index());
            let name = format!("{prefix}_{:03}_1_{:04}.png", patient + 1, slice + 1);
            write_png(&classes.join("images").join(&name), &phantom.slice.pixels)?;
            let list = if is_test { &mut test } else { &mut train };
            let (x1, y1, x2, y2) = body_box(&phantom);
            writeln!(list, "{name} {label} {x1} {y1} {x2} {y2}")?;

            if class != SliceClass::Control {
                // Scans of the two diseases are numbered alternately.
                let scan = patient * 2 + u64::from(class == SliceClass::Covid19);
                let part = self.out.join("lesions").join(if is_test { "test" } else { "train" });
                let stem = format!("{scan}_{slice}");
                write_jpeg(&part.join("imgs").join(format!("{stem}.jpg")), &phantom.slice.pixels)?;
                write_png(&part.join("masks").join(format!("{stem}.png")), &phantom.mask)?;
            }
        }
        files::write(&classes.join("train_COVIDx_CT.txt"), train.as_bytes())?;
        files::write(&classes.join("test_COVIDx_CT.txt"), test.as_bytes())?;
        println!("{}: {} phantoms", self.out.display(), self.count);
        Ok(ExitCode::SUCCESS)
    }
}

/// Bounding box of everything brighter than air.
fn body_box(phantom: &Phantom) -> (usize, usize, usize, usize) {
    let bright = phantom.slice.pixels.iter().enumerate().filter(|(_, value)| **value > 110);
    bright.fold((SIDE, SIDE, 0, 0), |(x1, y1, x2, y2), (index, _)| {
        let (x, y) = (index % SIDE, index / SIDE);
        (x1.min(x), y1.min(y), x2.max(x + 1), y2.max(y + 1))
    })
}

fn write_png(path: &Path, pixels: &[u8]) -> Result<()> {
    let picture = GrayImage::from_raw(SIDE as u32, SIDE as u32, pixels.to_vec())
        .context("a phantom of another size")?;
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    files::write(path, bytes.get_ref())
}

fn write_jpeg(path: &Path, pixels: &[u8]) -> Result<()> {
    let format = PixelFormat::Grayscale;
    let bytes = libjpeg_turbo_rs::compress(pixels, SIDE, SIDE, format, 95, Subsampling::S444)?;
    files::write(path, &bytes)
}
