//! Slices with lesion masks in the CNCB layout: `imgs/<scan>_<slice>.jpg`, `masks/<scan>_<slice>.png`
//! (specification 5.1, 5.2).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{DatasetError, Skipped, reading, summary};
use crate::geometry::components::components;
use crate::geometry::{BBox, Mask};
use crate::image::phantom::mask_value::{CONSOLIDATION, GROUND_GLASS};
use crate::image::{CtSlice, decode_slice};
use crate::network::Masks;

/// Endings of images, in the order of preference.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Which lesions of a mask are learnt, and as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LesionClasses {
    /// Ground-glass opacity and consolidation as one class; the paper's lightweight models.
    #[default]
    Merge,
    /// Ground-glass opacity alone.
    Ggo,
    /// Two classes.
    Both,
}

impl LesionClasses {
    /// The detector's classes.
    pub fn masks(self) -> Masks {
        match self {
            Self::Merge | Self::Ggo => Masks::Merge,
            Self::Both => Masks::Both,
        }
    }

    /// The class of a mask's pixel, by value; 0 is no lesion.
    fn class_of(self, value: u8) -> usize {
        match (self, value) {
            (_, GROUND_GLASS) => 1,
            (Self::Merge, CONSOLIDATION) => 1,
            (Self::Both, CONSOLIDATION) => 2,
            _ => 0,
        }
    }
}

impl FromStr for LesionClasses {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "merge" => Ok(Self::Merge),
            "ggo" => Ok(Self::Ggo),
            "both" => Ok(Self::Both),
            _ => Err(format!("`{name}` is none of merge, ggo, both")),
        }
    }
}

/// One lesion of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// 1, or 2 for consolidation where it is told apart.
    pub class: usize,
    /// Bounding box in pixels, far corner exclusive.
    pub bbox: BBox,
    /// Its pixels.
    pub mask: Mask,
}

/// A slice with its lesions.
#[derive(Clone, Debug)]
pub struct LesionSlice {
    /// The picture.
    pub slice: CtSlice,
    /// Lesions over the minimum area, class by class, each class in reading order.
    pub instances: Vec<Instance>,
}

/// The lesions of a mask: 8-connected components of each class with more than `minimum_area` px.
pub fn instances(
    values: &[u8],
    (width, height): (usize, usize),
    classes: LesionClasses,
    minimum_area: usize,
) -> Vec<Instance> {
    (1..classes.masks().classes())
        .flat_map(|class| {
            let pixels = values.iter().map(|value| classes.class_of(*value) == class).collect();
            components(&Mask { width, height, pixels }, minimum_area)
                .into_iter()
                .map(move |found| Instance { class, bbox: found.bbox, mask: found.mask })
        })
        .collect()
}

/// A pair of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LesionFile {
    /// `<scan>_<slice>`.
    pub stem: String,
    /// The picture.
    pub image: PathBuf,
    /// The mask.
    pub mask: PathBuf,
    /// Lesions over the minimum area.
    pub lesions: usize,
}

impl LesionFile {
    /// The scan, which stands for the patient.
    pub fn patient(&self) -> &str {
        self.stem.split('_').next().unwrap_or(&self.stem)
    }
}

/// A folder of slices with masks.
#[derive(Clone, Debug)]
pub struct LesionDataset {
    /// What can be used, by name.
    pub files: Vec<LesionFile>,
    /// What cannot.
    pub skipped: Vec<Skipped>,
    classes: LesionClasses,
    minimum_area: usize,
    folder: PathBuf,
}

impl LesionDataset {
    /// Opens a folder and reads every file once, so that nothing fails hours later.
    ///
    /// # Errors
    /// If `imgs` or `masks` is missing, or no slice is usable.
    pub fn open(
        folder: &Path,
        classes: LesionClasses,
        minimum_area: usize,
    ) -> Result<Self, DatasetError> {
        let layout = "the folders `imgs` and `masks` with pictures of the same names";
        let (images, masks) = (by_stem(&folder.join("imgs"), layout)?, folder.join("masks"));
        let masks = by_stem(&masks, layout)?;
        let skip = |path: &Path, reason: &str| Skipped { path: path.into(), reason: reason.into() };
        let orphans = masks
            .iter()
            .filter(|(stem, _)| !images.contains_key(*stem))
            .map(|(_, path)| skip(path, "a mask without picture"));
        let mut dataset = Self {
            files: Vec::new(),
            skipped: orphans.collect(),
            classes,
            minimum_area,
            folder: folder.into(),
        };
        let checked: Vec<Result<LesionFile, Skipped>> = images
            .into_par_iter()
            .map(|(stem, image)| {
                let Some(mask) = masks.get(&stem).cloned() else {
                    return Err(skip(&image, "a picture without mask"));
                };
                let mut file = LesionFile { stem, image, mask, lesions: 0 };
                let read = read_pair(&file, classes, minimum_area)?;
                file.lesions = read.instances.len();
                Ok(file)
            })
            .collect();
        for file in checked {
            match file {
                Ok(file) => dataset.files.push(file),
                Err(skipped) => dataset.skipped.push(skipped),
            }
        }
        if dataset.files.is_empty() {
            let report = summary(&dataset.skipped);
            return Err(DatasetError::Empty { path: folder.into(), report });
        }
        Ok(dataset)
    }

    /// Reads one slice.
    ///
    /// # Errors
    /// If the files changed since the dataset was opened.
    pub fn read(&self, file: &LesionFile) -> Result<LesionSlice, DatasetError> {
        read_pair(file, self.classes, self.minimum_area)
            .map_err(|Skipped { path, reason }| DatasetError::Changed { path, what: reason })
    }

    /// Lesions of this many pixels or fewer do not count.
    pub fn minimum_area(&self) -> usize {
        self.minimum_area
    }

    /// Only the slices with lesions: those without teach stage I nothing and are left out.
    ///
    /// # Errors
    /// If none is left.
    pub fn with_lesions(mut self) -> Result<Self, DatasetError> {
        self.files.retain(|file| file.lesions > 0);
        if self.files.is_empty() {
            let report = format!(
                "no slice has a lesion of more than {} pixels; {}",
                self.minimum_area,
                summary(&self.skipped)
            );
            return Err(DatasetError::Empty { path: self.folder, report });
        }
        Ok(self)
    }

    /// Slices of other folders appended.
    pub fn extended(mut self, other: Self) -> Self {
        self.files.extend(other.files);
        self.skipped.extend(other.skipped);
        self
    }

    /// Number of patients (scans).
    pub fn patients(&self) -> usize {
        let patients: std::collections::BTreeSet<_> =
            self.files.iter().map(|file| (file.image.parent(), file.patient())).collect();
        patients.len()
    }

    /// A name for the patient of every slice, different in different folders.
    pub fn patient_names(&self) -> Vec<String> {
        self.files
            .iter()
            .map(|file| format!("{:?} {}", file.image.parent(), file.patient()))
            .collect()
    }

    /// What was read and what was skipped.
    pub fn report(&self) -> String {
        let (slices, patients) = (self.files.len(), self.patients());
        let lesions: usize = self.files.iter().map(|file| file.lesions).sum();
        let folder = self.folder.display();
        let skipped = summary(&self.skipped);
        format!("{folder}: {slices} slices of {patients} scans, {lesions} lesions; {skipped}")
    }
}

fn by_stem(
    folder: &Path,
    expected: &'static str,
) -> Result<BTreeMap<String, PathBuf>, DatasetError> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(reading(folder, expected))? {
        let path = entry.map_err(reading(folder, expected))?.path();
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let rank = |path: &Path| {
            let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            ending.and_then(|ending| ENDINGS.iter().position(|known| *known == ending))
        };
        let known = ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()));
        if !known || !path.is_file() {
            continue;
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let better = found.get(&stem).is_none_or(|other| rank(&path) < rank(other));
        if better {
            found.insert(stem, path);
        }
    }
    Ok(found)
}

fn read_pair(
    file: &LesionFile,
    classes: LesionClasses,
    minimum_area: usize,
) -> Result<LesionSlice, Skipped> {
    let read = |path: &Path| -> Result<CtSlice, Skipped> {
        let failed = |reason: String| Skipped { path: path.into(), reason };
        let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
        decode_slice(&file.stem, &bytes, None).map_err(|error| failed(error.to_string()))
    };
    let slice = read(&file.image)?;
    let mask = read_mask(&file.mask)?;
    let size = (mask.width, mask.height);
    let refuse = |reason: String| Err(Skipped { path: file.mask.clone(), reason });
    if size != (slice.width, slice.height) {
        return refuse(format!(
            "the mask has {}x{} pixels, the picture {}x{}",
            mask.width, mask.height, slice.width, slice.height
        ));
    }
    if let Some(value) = mask.pixels.iter().find(|value| **value > CONSOLIDATION) {
        return refuse(format!(
            "the mask has the value {value}; known are 0 background, 1 lung, 2 ground glass, 3 consolidation"
        ));
    }
    let instances = instances(&mask.pixels, size, classes, minimum_area);
    Ok(LesionSlice { slice, instances })
}

/// A mask's raw values: unlike a picture, it is never windowed or converted.
fn read_mask(path: &Path) -> Result<CtSlice, Skipped> {
    let failed = |reason: String| Skipped { path: path.into(), reason };
    let picture = image::ImageReader::open(path)
        .map_err(|error| failed(error.to_string()))?
        .decode()
        .map_err(|error| failed(error.to_string()))?;
    let image::DynamicImage::ImageLuma8(grey) = picture else {
        return Err(failed(format!(
            "the mask is {:?}; it must be a grey picture of 8 bits whose values are classes",
            picture.color()
        )));
    };
    let (width, height) = (grey.width() as usize, grey.height() as usize);
    let source = path.display().to_string();
    let (spacing_mm, warnings) = (None, Vec::new());
    Ok(CtSlice { source, width, height, pixels: grey.into_raw(), spacing_mm, warnings })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_told_by_value_whether_or_not_lung_is_there() {
        // Two squares of 4 and 2 pixels.
        let values = [2, 2, 0, 3, 2, 2, 0, 3];
        let found = |classes| {
            instances(&values, (4, 2), classes, 1)
                .iter()
                .map(|i| (i.class, i.mask.area()))
                .collect::<Vec<_>>()
        };
        assert_eq!(found(LesionClasses::Merge), [(1, 4), (1, 2)]);
        assert_eq!(found(LesionClasses::Ggo), [(1, 4)]);
        assert_eq!(found(LesionClasses::Both), [(1, 4), (2, 2)]);
        assert!(instances(&values, (4, 2), LesionClasses::Merge, 4).is_empty());
    }
}
