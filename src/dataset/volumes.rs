//! Pairs of NIfTI volumes, in the layout of nnU-Net and the Medical Segmentation Decathlon: `imagesTr` (or
//! `images`) with `<case>.nii.gz` or `<case>_0000.nii.gz`, `labelsTr` (or `labels`) with `<case>.nii.gz`.
//!
//! Labels are 0 background, 1 ground glass or any lesion, 2 consolidation, as `predict --nifti` writes them.
//! Both may lie in any orientation; slices are axial, in the lung window.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::classes::mask_value::{CONSOLIDATION, GROUND_GLASS};
use crate::dataset::{DatasetError, Listed, Listing, Skipped, reading};
use crate::image::decode::Budget;
use crate::image::decode::nifti::{self, NiftiSlices};
use crate::image::slice::Values;
use crate::image::{CtSlice, Window};

/// Millimetres that the corners of picture and label may lie apart.
const SAME_PLACE_MM: f64 = 1.0;

/// Bytes that unpacked volumes may take together; the one that was wanted longest ago goes first.
const KEPT: usize = 1 << 30;

/// A volume and its label, read when a slice is wanted.
#[derive(Debug)]
pub struct Volume {
    image: PathBuf,
    label: PathBuf,
    unpacked: Arc<Mutex<Unpacked>>,
}

/// A volume's slices with the values of their masks.
type Slices = Vec<(CtSlice, Vec<u8>)>;

/// Volumes in memory, the one that was wanted last at the end.
#[derive(Debug, Default)]
struct Unpacked(VecDeque<(PathBuf, Arc<Slices>)>);

impl Unpacked {
    fn get(&mut self, path: &Path) -> Option<Arc<Slices>> {
        let place = self.0.iter().position(|(known, _)| known == path)?;
        let found = self.0.remove(place)?;
        self.0.push_back(found.clone());
        Some(found.1)
    }

    fn keep(&mut self, path: PathBuf, slices: Arc<Slices>) {
        let size = |slices: &Slices| slices.iter().map(|(_, mask)| 2 * mask.len()).sum::<usize>();
        self.0.push_back((path, slices));
        while self.0.len() > 1 && self.0.iter().map(|(_, s)| size(s)).sum::<usize>() > KEPT {
            self.0.pop_front();
        }
    }
}

/// The slices of all volumes of a folder, by their volume and number in it.
///
/// # Errors
/// If a folder cannot be read; a volume that does not fit its label, or has none, is skipped by name.
pub fn list(folder: &Path) -> Result<Listing<(Arc<Volume>, usize)>, DatasetError> {
    let named = |names: [&str; 2]| {
        names.into_iter().map(|name| folder.join(name)).find(|path| path.is_dir())
    };
    let images = by_case(&named(["imagesTr", "images"]).unwrap_or_default())?;
    let mut labels = by_case(&named(["labelsTr", "labels"]).unwrap_or_default())?;
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    let unpacked = Arc::<Mutex<Unpacked>>::default();
    for (case, image) in images {
        let Some(label) = labels.remove(&case) else {
            skipped.push(Skipped { path: image, reason: "a volume without label".into() });
            continue;
        };
        let volume = Arc::new(Volume { image, label, unpacked: unpacked.clone() });
        match volume.slices() {
            Err(skip) => skipped.push(skip),
            Ok(slices) => {
                files.extend((0..slices.len()).map(|index| {
                    let stem = format!("{case}_{index:04}");
                    Listed { stem, patient: case.clone(), place: (volume.clone(), index) }
                }));
            }
        }
    }
    let lonely = labels.into_values();
    skipped.extend(lonely.map(|path| Skipped { path, reason: "a label without volume".into() }));
    Ok((files, skipped))
}

fn by_case(folder: &Path) -> Result<BTreeMap<String, PathBuf>, DatasetError> {
    let expected = "NIfTI volumes (.nii or .nii.gz)";
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(reading(folder, expected))? {
        let path = entry.map_err(reading(folder, expected))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".nii.gz").or_else(|| name.strip_suffix(".nii")) else {
            continue;
        };
        // nnU-Net numbers the channels; CT has one.
        found.insert(stem.strip_suffix("_0000").unwrap_or(stem).to_owned(), path);
    }
    Ok(found)
}

impl Volume {
    /// Its slices, out of memory or out of the file.
    fn slices(&self) -> Result<Arc<Slices>, Skipped> {
        // A thread that broke left whole volumes.
        let mut unpacked = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slices) = unpacked.get(&self.image) {
            return Ok(slices);
        }
        let slices = Arc::new(Self::read(&self.image, &self.label)?);
        unpacked.keep(self.image.clone(), slices.clone());
        Ok(slices)
    }

    /// Reads a volume and its label.
    ///
    /// # Errors
    /// If one of them is damaged, they differ in size or place, or the label has other values.
    fn read(image: &Path, label: &Path) -> Result<Slices, Skipped> {
        let failed = |path: &Path, reason: String| Skipped { path: path.into(), reason };
        let open = |path: &Path| -> Result<NiftiSlices, Skipped> {
            let bytes = fs::read(path).map_err(|error| failed(path, error.to_string()))?;
            nifti::open(&bytes, &mut Budget::default())
                .map_err(|error| failed(path, error.to_string()))
        };
        let (pictures, labels) = (open(image)?, open(label)?);
        let (ours, theirs) = (pictures.headers(), labels.headers());
        let size = |headers: &[crate::image::slice::SliceHeader]| {
            let first = headers.first();
            (first.map_or(0, |h| h.width), first.map_or(0, |h| h.height), headers.len())
        };
        if size(&ours) != size(&theirs) {
            let ((a, b, c), (x, y, z)) = (size(&ours), size(&theirs));
            let reason = format!("the label has {x}x{y}x{z} voxels, the volume {a}x{b}x{c}");
            return Err(failed(label, reason));
        }
        if ours[0].plane.is_some() != theirs[0].plane.is_some() {
            let reason =
                "one of volume and label says how it lies in the patient, the other does not";
            return Err(failed(label, reason.into()));
        }
        if let (Some(a), Some(b)) = (ours[0].plane, theirs[0].plane) {
            let apart = (0..3).map(|k| (a.origin[k] - b.origin[k]).abs()).fold(0.0, f64::max);
            if !a.is_parallel_to(&b) || apart > SAME_PLACE_MM {
                let reason = format!("it lies elsewhere than the volume ({apart:.1} mm apart)");
                return Err(failed(label, reason));
            }
        }
        let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut slices = Vec::with_capacity(ours.len());
        for frame in 0..ours.len() {
            let picture = pictures.read(frame).map_err(|error| failed(image, error.to_string()))?;
            let drawn = labels.read(frame).map_err(|error| failed(label, error.to_string()))?;
            let Values::Hounsfield(values) = drawn.values else {
                return Err(failed(label, "it is a picture".into()));
            };
            let values = values.into_iter().map(class_of).collect::<Result<_, _>>();
            let values = values.map_err(|error: UnknownLabel| failed(label, error.to_string()))?;
            let source = format!("{name} slice {}", frame + 1);
            slices.push((picture.windowed(&source, Some(Window::LUNG)), values));
        }
        Ok(slices)
    }

    /// Slice `index` and the values of its mask, as class masks have them.
    ///
    /// # Errors
    /// If there is no such slice, or the file is gone.
    pub fn slice(&self, index: usize, digest: &mut Sha256) -> Result<(CtSlice, Vec<u8>), Skipped> {
        let gone = || Skipped { path: self.image.clone(), reason: format!("no slice {index}") };
        let slices = self.slices()?;
        let (slice, values) = slices.get(index).ok_or_else(gone)?;
        digest.update(&slice.pixels);
        digest.update(values);
        Ok((slice.clone(), values.clone()))
    }
}

/// A voxel of a label that means nothing known.
#[derive(Debug, Error)]
#[error(
    "the label has the value {0}; known are 0 background, 1 ground glass or any lesion, 2 consolidation"
)]
struct UnknownLabel(f32);

fn class_of(value: f32) -> Result<u8, UnknownLabel> {
    match value {
        0.0 => Ok(0),
        1.0 => Ok(GROUND_GLASS),
        2.0 => Ok(CONSOLIDATION),
        other => Err(UnknownLabel(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_volume_that_was_wanted_longest_ago_goes_first() {
        let slice = CtSlice::new("", (1, 1), vec![0]);
        // Each takes two fifths of the room.
        let volume = || Arc::new(vec![(slice.clone(), vec![0; KEPT / 5])]);
        let mut unpacked = Unpacked::default();
        unpacked.keep("a".into(), volume());
        unpacked.keep("b".into(), volume());
        assert!(unpacked.get(Path::new("a")).is_some());
        unpacked.keep("c".into(), volume());
        let names: Vec<_> = unpacked.0.iter().map(|(path, _)| path.display().to_string()).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
