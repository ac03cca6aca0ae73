//! Slices with the lesions drawn on them, from sources of several kinds (docs/method.md, 5.1, 5.2).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::instances::{Instance, LesionRules, LesionSlice, LesionTargets, instances};
use crate::dataset::source::{DataSource, Kind};
use crate::dataset::volumes::Volume;
use crate::dataset::{
    DatasetError, Listed, Listing, Skipped, classes, cncb, coco, divided, summary, volumes,
};
use crate::image::CtSlice;
use crate::sha256::hex;

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
    /// Slices that have not been read yet.
    fn unread<T>(
        (listed, skipped): Listing<T>,
        content: impl Fn(T) -> Content,
    ) -> (Vec<Self>, Vec<Skipped>) {
        let file = |Listed { stem, patient, place }| {
            let content = content(place);
            Self { stem, patient, source: 0, content, lesions: 0, sha256: [0; 32] }
        };
        (listed.into_iter().map(file).collect(), skipped)
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
                Kind::Masks => LesionFile::unread(cncb::list(&source.path)?, Content::Masked),
                Kind::Coco => LesionFile::unread(coco::list(&source.path)?, Content::Annotated),
                Kind::Volumes => {
                    let of_slice = |(volume, index)| Content::Volume(volume, index);
                    LesionFile::unread(volumes::list(&source.path)?, of_slice)
                }
                Kind::Healthy => {
                    LesionFile::unread(classes::list_healthy(&source.path)?, Content::Healthy)
                }
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
        let (training, held_out) = divided(&self.files, held_out);
        let training = Self { files: training, ..self.clone() };
        let held_out = Self { files: held_out, ..self };
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
                sha256: hex(&digest.finalize()),
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
            let slice = CtSlice::new("", (side, side), pixels);
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
