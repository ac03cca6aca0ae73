//! Slices with the lesions drawn on them, from sources of several kinds (docs/method.md, 5.1, 5.2).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::classes::LesionClasses;
use crate::classes::mask_value::{CONSOLIDATION, GROUND_GLASS};
use crate::dataset::source::{DataSource, Kind};
use crate::dataset::volumes::Volume;
use crate::dataset::{DatasetError, Skipped, classes, cncb, coco, summary, volumes};
use crate::detection::mask::connected_components::connected_components;
use crate::detection::{BBox, Mask};
use crate::image::CtSlice;
use crate::unknown_name::UnknownName;

/// Side of the picture in whose pixels the smallest lesion is given: the long side of a whole scan.
const AREA_SIDE: usize = 512;

/// Lesions of this many pixels or fewer, where the long side has 512, do not count (docs/method.md, 5): the paper's rule.
pub const MINIMUM_AREA: usize = 100;

/// Which lesions of a mask are learnt, and as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LesionTargets {
    /// Ground-glass opacity and consolidation as one class; the paper's lightweight models.
    #[default]
    Merge,
    /// Ground-glass opacity alone.
    Ggo,
    /// Two classes.
    Both,
}

impl LesionTargets {
    /// The detector's classes.
    pub fn lesion_classes(self) -> LesionClasses {
        match self {
            Self::Merge | Self::Ggo => LesionClasses::Merge,
            Self::Both => LesionClasses::Both,
        }
    }

    /// The class of a mask's pixel, by value; 0 is no lesion.
    pub(super) fn class_of(self, value: u8) -> usize {
        match (self, value) {
            (_, GROUND_GLASS) => 1,
            (Self::Merge, CONSOLIDATION) => 1,
            (Self::Both, CONSOLIDATION) => 2,
            _ => 0,
        }
    }
}

impl FromStr for LesionTargets {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "merge" => Ok(Self::Merge),
            "ggo" => Ok(Self::Ggo),
            "both" => Ok(Self::Both),
            _ => Err(UnknownName {
                what: "choice of lesions",
                name: name.into(),
                known: "merge, ggo and both",
            }),
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
    /// Places that are neither lesion nor background: what is drawn there is too small to count.
    pub ignored: Vec<Instance>,
}

/// Which of the drawn lesions count, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LesionRules {
    /// What is learnt.
    pub classes: LesionTargets,
    /// Lesions of this many pixels or fewer do not count, where the long side of the slice has 512 pixels:
    /// a lesion does not become smaller because its slice was stored so.
    pub minimum_area: usize,
    /// Whether those are ignored; otherwise they are background, as in the paper.
    pub ignore_small: bool,
}

impl LesionRules {
    /// The paper's, for these classes.
    pub fn paper(classes: LesionTargets) -> Self {
        Self { classes, minimum_area: MINIMUM_AREA, ignore_small: false }
    }

    /// The smallest area that counts, in pixels of a slice of this size.
    pub fn minimum_in(&self, (width, height): (usize, usize)) -> f64 {
        let scale = width.max(height) as f64 / AREA_SIDE as f64;
        self.minimum_area as f64 * scale * scale
    }

    /// Sorts what is drawn on a slice into lesions and ignored places.
    pub fn sort(&self, slice: CtSlice, drawn: Vec<Instance>) -> LesionSlice {
        let minimum = self.minimum_in((slice.width, slice.height));
        let (instances, mut ignored): (Vec<_>, Vec<_>) =
            drawn.into_iter().partition(|instance| instance.mask.area() as f64 > minimum);
        if !self.ignore_small {
            ignored.clear();
        }
        LesionSlice { slice, instances, ignored }
    }
}

/// The lesions of a mask: 8-connected components of each class with more than `minimum_area` px.
pub fn instances(
    values: &[u8],
    (width, height): (usize, usize),
    classes: LesionTargets,
    minimum_area: usize,
) -> Vec<Instance> {
    (1..classes.lesion_classes().num_classes())
        .flat_map(|class| {
            let pixels = values.iter().map(|value| classes.class_of(*value) == class).collect();
            connected_components(&Mask { width, height, pixels }, minimum_area)
                .into_iter()
                .map(move |found| Instance { class, bbox: found.bbox, mask: found.mask })
        })
        .collect()
}

/// Where a slice and its lesions are read from.
#[derive(Clone, Debug)]
pub enum Content {
    /// A picture and a picture of classes.
    Masked(cncb::Pair),
    /// A picture and outlines.
    Annotated(coco::AnnotatedImage),
    /// A slice of a volume and of its label map.
    Volume(Arc<Volume>, usize),
    /// A picture of healthy lungs.
    Healthy(classes::ClassFile),
}

impl Content {
    /// The slice with all that is drawn on it, however small; and the bytes that it was read from.
    fn read(
        &self,
        classes: LesionTargets,
        digest: &mut Sha256,
    ) -> Result<(CtSlice, Vec<Instance>), Skipped> {
        match self {
            Self::Masked(pair) => {
                let (slice, values) = pair.read(digest)?;
                let drawn = instances(&values, (slice.width, slice.height), classes, 0);
                Ok((slice, drawn))
            }
            Self::Annotated(image) => image.read(classes, digest),
            Self::Volume(volume, index) => {
                let (slice, values) = volume.slice(*index, digest)?;
                let drawn = instances(&values, (slice.width, slice.height), classes, 0);
                Ok((slice, drawn))
            }
            Self::Healthy(file) => Ok((file.read(digest)?, Vec::new())),
        }
    }
}

/// A slice of a dataset.
#[derive(Clone, Debug)]
pub struct LesionFile {
    /// `<scan>_<slice>`, or the picture's name.
    pub stem: String,
    /// Whose slice it is; known within its source.
    pub patient: String,
    /// Index of its source.
    pub source: usize,
    /// Where it is read from.
    pub content: Content,
    /// Lesions that count.
    pub lesions: usize,
    /// SHA-256 of what it was read from.
    pub sha256: [u8; 32],
}

impl LesionFile {
    /// A slice that has not been read yet.
    pub fn unread(stem: String, patient: String, content: Content) -> Self {
        Self { stem, patient, source: 0, content, lesions: 0, sha256: [0; 32] }
    }

    /// The patient, told apart from those of other sources.
    pub fn patient_key(&self) -> String {
        format!("{}/{}", self.source, self.patient)
    }
}

/// What a model remembers of a source it has seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataRecord {
    /// Last part of its path.
    pub name: String,
    /// Share of its draws beside those of others.
    pub weight: f64,
    /// Slices that were used.
    pub slices: usize,
    /// Their patients.
    pub patients: usize,
    /// SHA-256 over the names and hashes of its slices.
    pub sha256: String,
}

/// Slices from one source or several.
#[derive(Clone, Debug)]
pub struct LesionDataset {
    /// What can be used: source after source, by name.
    pub files: Vec<LesionFile>,
    /// What cannot.
    pub skipped: Vec<Skipped>,
    /// Where they come from.
    pub sources: Vec<DataSource>,
    rules: LesionRules,
}

impl LesionDataset {
    /// Opens sources and reads every slice once, so that nothing fails hours later.
    ///
    /// # Errors
    /// If a source is not of its kind, or no slice of it is usable.
    pub fn open(sources: &[DataSource], rules: LesionRules) -> Result<Self, DatasetError> {
        let mut dataset =
            Self { files: Vec::new(), skipped: Vec::new(), sources: sources.to_vec(), rules };
        for (number, source) in sources.iter().enumerate() {
            let (unread, skipped) = match source.kind()? {
                Kind::Masks => cncb::list(&source.path)?,
                Kind::Coco => coco::list(&source.path)?,
                Kind::Volumes => volumes::list(&source.path)?,
                Kind::Healthy => classes::list_healthy(&source.path)?,
            };
            let checked: Vec<Result<LesionFile, Skipped>> = unread
                .into_par_iter()
                .map(|mut file| {
                    let mut digest = Sha256::new();
                    let (slice, drawn) = file.content.read(rules.classes, &mut digest)?;
                    file.lesions = rules.sort(slice, drawn).instances.len();
                    file.sha256 = digest.finalize().into();
                    file.source = number;
                    Ok(file)
                })
                .collect();
            let before = dataset.files.len();
            dataset.skipped.extend(skipped);
            for file in checked {
                match file {
                    Ok(file) => dataset.files.push(file),
                    Err(skipped) => dataset.skipped.push(skipped),
                }
            }
            if dataset.files.len() == before {
                let report = summary(&dataset.skipped);
                return Err(DatasetError::Empty { path: source.path.clone(), report });
            }
        }
        Ok(dataset)
    }

    /// Opens one folder or file with the paper's rules.
    ///
    /// # Errors
    /// As [`LesionDataset::open`].
    pub fn open_one(path: &Path, rules: LesionRules) -> Result<Self, DatasetError> {
        Self::open(&[DataSource { path: path.into(), weight: 1.0 }], rules)
    }

    /// Reads one slice.
    ///
    /// # Errors
    /// If the files changed since the dataset was opened.
    pub fn read(&self, file: &LesionFile) -> Result<LesionSlice, DatasetError> {
        let read = file.content.read(self.rules.classes, &mut Sha256::new());
        let (slice, drawn) =
            read.map_err(|Skipped { path, reason }| DatasetError::Changed { path, what: reason })?;
        Ok(self.rules.sort(slice, drawn))
    }

    /// A slice with lesions, every source as often; none if there is no such slice.
    pub fn any_with_lesions(&self, rng: &mut ChaCha8Rng) -> Option<&LesionFile> {
        let mut sources: BTreeMap<usize, Vec<&LesionFile>> = BTreeMap::new();
        for file in self.files.iter().filter(|file| file.lesions > 0) {
            sources.entry(file.source).or_default().push(file);
        }
        let files = sources.values().nth(rng.random_range(0..sources.len().max(1)))?;
        files.get(rng.random_range(0..files.len())).copied()
    }

    /// Which lesions count.
    pub fn rules(&self) -> LesionRules {
        self.rules
    }

    /// Only the slices that `keep` accepts.
    ///
    /// # Errors
    /// If none is left; `what` says then what was looked for.
    pub fn filtered(
        mut self,
        what: &str,
        keep: impl Fn(&LesionFile) -> bool,
    ) -> Result<Self, DatasetError> {
        self.files.retain(keep);
        if self.files.is_empty() {
            let path = self.sources.first().map(|source| source.path.clone()).unwrap_or_default();
            let report = format!("{what}; {}", summary(&self.skipped));
            return Err(DatasetError::Empty { path, report });
        }
        Ok(self)
    }

    /// Two datasets: the slices that are not held out, and those that are.
    ///
    /// # Errors
    /// If one of them is empty.
    pub fn divided(self, held_out: &[bool]) -> Result<(Self, Self), DatasetError> {
        let mut parts = [self.clone(), self];
        for (part, wanted) in parts.iter_mut().zip([false, true]) {
            let mut held = held_out.iter();
            part.files.retain(|_| held.next() == Some(&wanted));
        }
        let [training, held_out] = parts;
        let any = |_: &LesionFile| true;
        Ok((
            training.filtered("no patient is left to learn from", any)?,
            held_out.filtered("no patient is held out", any)?,
        ))
    }

    /// Leaves at most `count` slices of every patient, evenly spaced: neighbours tell the same.
    pub fn thin_out(&mut self, count: usize) {
        let mut patients: BTreeMap<String, usize> = BTreeMap::new();
        for file in &self.files {
            *patients.entry(file.patient_key()).or_default() += 1;
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        self.files.retain(|file| {
            let key = file.patient_key();
            let all = patients.get(&key).copied().unwrap_or(1);
            let place = seen.entry(key).or_default();
            *place += 1;
            // Kept where the share of slices passes the next whole number.
            all <= count || *place * count / all > (*place - 1) * count / all
        });
    }

    /// Only the slices with lesions.
    ///
    /// # Errors
    /// If none is left.
    pub fn with_lesions(self) -> Result<Self, DatasetError> {
        let what = format!("no slice has a lesion of more than {} pixels", self.rules.minimum_area);
        self.filtered(&what, |file| file.lesions > 0)
    }

    /// Number of patients (scans).
    pub fn patients(&self) -> usize {
        self.files.iter().map(LesionFile::patient_key).collect::<BTreeSet<_>>().len()
    }

    /// What a model should remember of the data.
    pub fn records(&self) -> Vec<DataRecord> {
        let of_source = |(number, source): (usize, &DataSource)| {
            let files: Vec<_> = self.files.iter().filter(|file| file.source == number).collect();
            let patients: BTreeSet<_> = files.iter().map(|file| &file.patient).collect();
            let mut digest = Sha256::new();
            for file in &files {
                digest.update(file.stem.as_bytes());
                digest.update(file.sha256);
            }
            DataRecord {
                name: source.name(),
                weight: source.weight,
                slices: files.len(),
                patients: patients.len(),
                sha256: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            }
        };
        self.sources.iter().enumerate().map(of_source).collect()
    }

    /// What was read and what was skipped.
    pub fn report(&self) -> String {
        let mut lines = String::new();
        for (number, source) in self.sources.iter().enumerate() {
            let files = || self.files.iter().filter(|file| file.source == number);
            let patients: BTreeSet<_> = files().map(|file| &file.patient).collect();
            let lesions: usize = files().map(|file| file.lesions).sum();
            let with = files().filter(|file| file.lesions > 0).count();
            lines.push_str(&format!(
                "{}: {} slices of {} scans, {with} with {lesions} lesions\n",
                source.path.display(),
                files().count(),
                patients.len(),
            ));
        }
        lines + &summary(&self.skipped)
    }
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
        assert_eq!(found(LesionTargets::Merge), [(1, 4), (1, 2)]);
        assert_eq!(found(LesionTargets::Ggo), [(1, 4)]);
        assert_eq!(found(LesionTargets::Both), [(1, 4), (2, 2)]);
        assert!(instances(&values, (4, 2), LesionTargets::Merge, 4).is_empty());
    }

    #[test]
    fn a_lesion_does_not_become_smaller_because_its_slice_was_stored_so() {
        let sorted = |side: usize, lesion: usize, ignore_small| {
            let values: Vec<u8> = (0..side * side)
                .map(|i| if i % side < lesion && i / side < lesion { 2 } else { 0 })
                .collect();
            let drawn = instances(&values, (side, side), LesionTargets::Merge, 0);
            let pixels = vec![0; side * side];
            let slice = CtSlice {
                source: String::new(),
                width: side,
                height: side,
                pixels,
                spacing_mm: None,
                not_chest_ct: None,
                warnings: Vec::new(),
            };
            let rules = LesionRules { ignore_small, ..LesionRules::paper(LesionTargets::Merge) };
            let found = rules.sort(slice, drawn);
            (found.instances.len(), found.ignored.len())
        };
        assert_eq!(sorted(512, 10, true), (0, 1));
        assert_eq!(sorted(512, 11, true), (1, 0));
        assert_eq!(sorted(256, 6, true), (1, 0));
        assert_eq!(sorted(256, 5, false), (0, 0));
    }
}
