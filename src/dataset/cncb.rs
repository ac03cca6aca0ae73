//! Slices with masks in the CNCB layout: `imgs/<scan>_<slice>.jpg`, `masks/<scan>_<slice>.png`
//! (docs/method.md, 5.1).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::classes::mask_value::CONSOLIDATION;
use crate::dataset::{DatasetError, Listed, Listing, Skipped, reading};
use crate::image::{CtSlice, decode_slice};

/// Endings of images, in the order of preference.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// A picture and its mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The picture.
    pub image: PathBuf,
    /// The mask.
    pub mask: PathBuf,
}

/// The pairs of a folder, and what has no partner.
///
/// # Errors
/// If `imgs` or `masks` cannot be read.
pub fn list(folder: &Path) -> Result<Listing<Pair>, DatasetError> {
    let layout = "the folders `imgs` and `masks` with pictures of the same names";
    let images = by_stem(&folder.join("imgs"), layout)?;
    let mut masks = by_stem(&folder.join("masks"), layout)?;
    let skip = |path: PathBuf, reason: &str| Skipped { path, reason: reason.into() };
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    for (stem, image) in images {
        let Some(mask) = masks.remove(&stem) else {
            skipped.push(skip(image, "a picture without mask"));
            continue;
        };
        // The scan stands for the patient.
        let patient = stem.split('_').next().unwrap_or(&stem).to_owned();
        files.push(Listed { stem, patient, place: Pair { image, mask } });
    }
    skipped.extend(masks.into_values().map(|path| skip(path, "a mask without picture")));
    Ok((files, skipped))
}

fn by_stem(
    folder: &Path,
    expected: &'static str,
) -> Result<BTreeMap<String, PathBuf>, DatasetError> {
    let rank = |path: &Path| {
        let ending = path.extension()?.to_string_lossy().to_lowercase();
        ENDINGS.iter().position(|known| *known == ending)
    };
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(reading(folder, expected))? {
        let path = entry.map_err(reading(folder, expected))?.path();
        if rank(&path).is_none() || !path.is_file() {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if found.get(&stem).is_none_or(|other| rank(&path) < rank(other)) {
            found.insert(stem, path);
        }
    }
    Ok(found)
}

impl Pair {
    /// The picture and the values of its mask.
    ///
    /// # Errors
    /// If a file is unusable or they do not fit together.
    pub fn read(&self, digest: &mut Sha256) -> Result<(CtSlice, Vec<u8>), Skipped> {
        let failed = |path: &Path, reason: String| Skipped { path: path.into(), reason };
        let load = |path: &Path| fs::read(path).map_err(|error| failed(path, error.to_string()));
        let (image, mask) = (load(&self.image)?, load(&self.mask)?);
        digest.update(&image);
        digest.update(&mask);
        let name = self.image.file_stem().unwrap_or_default().to_string_lossy();
        let slice = decode_slice(&name, &image, None)
            .map_err(|error| failed(&self.image, error.to_string()))?;
        let (values, size) =
            mask_values(&mask).map_err(|error| failed(&self.mask, error.to_string()))?;
        if size != (slice.width, slice.height) {
            let (width, height) = size;
            let reason = format!(
                "the mask has {width}x{height} pixels, the picture {}x{}",
                slice.width, slice.height
            );
            return Err(failed(&self.mask, reason));
        }
        Ok((slice, values))
    }
}

/// Why a picture is no mask.
#[derive(Debug, Error)]
pub(super) enum MaskError {
    /// What its decoder says.
    #[error(transparent)]
    Decode(#[from] image::ImageError),
    /// A picture whose values are no classes.
    #[error("the mask is {0:?}; it must be a grey picture of 8 bits whose values are classes")]
    NotGrey(image::ColorType),
    /// A value that stands for nothing.
    #[error(
        "the mask has the value {0}; known are 0 background, 1 lung, 2 ground glass, 3 consolidation"
    )]
    Value(u8),
}

/// A mask's raw values: unlike a picture, it is never windowed or converted.
fn mask_values(bytes: &[u8]) -> Result<(Vec<u8>, (usize, usize)), MaskError> {
    let picture = image::load_from_memory(bytes)?;
    let image::DynamicImage::ImageLuma8(grey) = picture else {
        return Err(MaskError::NotGrey(picture.color()));
    };
    let size = (grey.width() as usize, grey.height() as usize);
    let values = grey.into_raw();
    check_values(&values)?;
    Ok((values, size))
}

/// That all values are classes.
pub(super) fn check_values(values: &[u8]) -> Result<(), MaskError> {
    match values.iter().find(|value| **value > CONSOLIDATION) {
        None => Ok(()),
        Some(value) => Err(MaskError::Value(*value)),
    }
}
