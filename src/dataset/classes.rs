//! Slices with a class: COVIDx-CT lists, or a folder by the author's names (docs/method.md, 5.3).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::classes::SliceClass;
use crate::dataset::{DatasetError, Listed, Listing, Skipped, divided, reading, summary};
use crate::image::{CtSlice, decode_slice};
use crate::sha256::hex;

/// A slice with its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFile {
    /// File name.
    pub name: String,
    /// The picture.
    pub path: PathBuf,
    /// Its class.
    pub class: SliceClass,
    /// Whose slice it is, known within its source.
    pub patient: String,
    /// Where it was published; empty if no index says so.
    pub source: String,
}

impl ClassFile {
    /// The patient, told apart from those of other sources.
    pub fn patient_key(&self) -> String {
        format!("{}/{}", self.source, self.patient)
    }

    /// The picture; its bytes go into `digest`.
    ///
    /// # Errors
    /// If it is unusable.
    pub fn read(&self, digest: &mut Sha256) -> Result<CtSlice, Skipped> {
        let failed = |reason: String| Skipped { path: self.path.clone(), reason };
        let bytes = fs::read(&self.path).map_err(|error| failed(error.to_string()))?;
        digest.update(&bytes);
        decode_slice(&self.name, &bytes, None).map_err(|error| failed(error.to_string()))
    }
}

/// A row of `index.csv`, which may lie beside `images` and say what file names do not.
#[derive(Debug, Deserialize)]
struct IndexRow {
    file: String,
    source: String,
    patient: String,
}

/// Source and patient by file name; empty without an index.
fn read_index(folder: &Path) -> Result<BTreeMap<String, (String, String)>, DatasetError> {
    let path = folder.join("index.csv");
    if !path.is_file() {
        return Ok(BTreeMap::new());
    }
    let wrong = |error: csv::Error| DatasetError::Contents {
        path: path.clone(),
        what: format!("{error}; expected the columns file, source, patient"),
    };
    let contents = |what: String| DatasetError::Contents { path: path.clone(), what };
    let mut reader = csv::Reader::from_path(&path).map_err(wrong)?;
    let mut index = BTreeMap::new();
    for row in reader.deserialize::<IndexRow>() {
        let IndexRow { file, source, patient } = row.map_err(wrong)?;
        let origin = (source, patient);
        let before = index.insert(file.clone(), origin.clone());
        if before.is_some_and(|before| before != origin) {
            return Err(contents(format!("{file} has two sources or patients")));
        }
    }
    if index.is_empty() {
        return Err(contents("it has no rows of the columns file, source, patient".into()));
    }
    Ok(index)
}

/// A picture that is listed with two classes.
fn contradiction<'a>(files: impl IntoIterator<Item = &'a ClassFile>) -> Option<String> {
    let mut known: BTreeMap<&Path, SliceClass> = BTreeMap::new();
    let twice = files.into_iter().find_map(|file| {
        let before = known.insert(&file.path, file.class)?;
        (before != file.class).then_some((file, before))
    });
    let (file, before) = twice?;
    Some(format!(
        "{} is listed as {} and as {}",
        file.path.display(),
        before.name(),
        file.class.name()
    ))
}

/// Class and number, where no index names the patient: the same number may name different patients in
/// different classes.
fn patient_of_name(name: &str) -> String {
    let mut parts = name.split('_');
    format!("{}_{}", parts.next().unwrap_or(""), parts.next().unwrap_or(""))
}

/// A list of slices with classes.
#[derive(Clone, Debug)]
pub struct ClassDataset {
    /// What can be used, in the order of the list.
    pub files: Vec<ClassFile>,
    /// What cannot.
    pub skipped: Vec<Skipped>,
    /// SHA-256 over the names and pictures.
    pub sha256: String,
    list: PathBuf,
}

impl ClassDataset {
    /// Opens the pictures of `folder` (or of its subfolder `images`) that `list` names, or all of
    /// them. Every picture is decoded once, so that nothing fails hours later.
    ///
    /// A line is `NAME CLASS [XMIN YMIN XMAX YMAX]` or `NAME` alone; the box is not used, as in the
    /// paper. A name may begin with the class's digit where the file begins with its letters.
    ///
    /// # Errors
    /// If folder or list cannot be read, a line names no class, or nothing is usable.
    pub fn open(folder: &Path, list: Option<&Path>) -> Result<Self, DatasetError> {
        let (source, named) = list_files(folder, list)?;
        let checked: Vec<Result<(ClassFile, [u8; 32]), Skipped>> = named
            .into_par_iter()
            .map(|file| {
                let mut digest = Sha256::new();
                file.read(&mut digest).map(|_| (file, digest.finalize().into()))
            })
            .collect();
        let (mut files, mut skipped, mut digest) = (Vec::new(), Vec::new(), Sha256::new());
        for file in checked {
            match file {
                Ok((file, hash)) => {
                    let ClassFile { name, patient, source, .. } = &file;
                    let class = file.class.index();
                    digest.update(format!("{name}\n{class}\n{patient}\n{source}\n"));
                    digest.update(hash);
                    files.push(file);
                }
                Err(skip) => skipped.push(skip),
            }
        }
        if files.is_empty() {
            return Err(DatasetError::Empty { path: source, report: summary(&skipped) });
        }
        let sha256 = hex(&digest.finalize());
        Ok(Self { files, skipped, sha256, list: source })
    }

    /// Of these slices.
    pub fn of(files: Vec<ClassFile>) -> Self {
        Self { files, skipped: Vec::new(), sha256: String::new(), list: PathBuf::new() }
    }

    /// Two datasets: the slices that are not held out, and those that are.
    pub fn divided(self, held_out: &[bool]) -> (Self, Self) {
        let (training, held_out) = divided(&self.files, held_out);
        (Self { files: training, ..self.clone() }, Self { files: held_out, ..self })
    }

    /// Slices of another list appended.
    ///
    /// # Errors
    /// If one of them has another class here.
    pub fn extended(mut self, other: Self) -> Result<Self, DatasetError> {
        if let Some(what) = contradiction(self.files.iter().chain(&other.files)) {
            return Err(DatasetError::Contents { path: other.list, what });
        }
        self.files.extend(other.files);
        self.skipped.extend(other.skipped);
        let both = Sha256::digest(format!("{}{}", self.sha256, other.sha256));
        self.sha256 = hex(&both);
        Ok(self)
    }

    /// Reads one slice.
    ///
    /// # Errors
    /// If the file changed since the dataset was opened.
    pub fn read(&self, file: &ClassFile) -> Result<CtSlice, DatasetError> {
        let read = file.read(&mut Sha256::new());
        read.map_err(|Skipped { path, reason }| DatasetError::Changed { path, what: reason })
    }

    /// Number of patients.
    pub fn patients(&self) -> usize {
        let patients: std::collections::BTreeSet<_> =
            self.files.iter().map(ClassFile::patient_key).collect();
        patients.len()
    }

    /// Slices of each class.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for file in &self.files {
            counts[file.class.index()] += 1;
        }
        counts
    }

    /// What was read and what was skipped.
    pub fn report(&self) -> String {
        let [control, pneumonia, covid] = self.counts();
        format!(
            "{}: {} slices of {} patients ({control} control, {pneumonia} common pneumonia, {covid} COVID-19); {}",
            self.list.display(),
            self.files.len(),
            self.patients(),
            summary(&self.skipped)
        )
    }
}

/// The healthy slices of a COVIDx-CT list, as slices without lesions.
///
/// # Errors
/// If the list cannot be read or names no class.
pub fn list_healthy(list: &Path) -> Result<Listing<ClassFile>, DatasetError> {
    let files = list_files(list.parent().unwrap_or(Path::new(".")), Some(list))?.1;
    let healthy = files.into_iter().filter(|file| !file.class.is_pneumonia());
    let lesion_free = |file: ClassFile| Listed {
        stem: file.name.clone(),
        patient: file.patient.clone(),
        place: file,
    };
    Ok((healthy.map(lesion_free).collect(), Vec::new()))
}

/// The pictures of `folder` that `list` names, or all of them, with what an index says; and where they
/// come from.
fn list_files(
    folder: &Path,
    list: Option<&Path>,
) -> Result<(PathBuf, Vec<ClassFile>), DatasetError> {
    let images = match folder.join("images") {
        images if images.is_dir() => images,
        _ => folder.to_path_buf(),
    };
    let (source, mut files) = match list {
        Some(list) => (list.to_path_buf(), parse_list(list, &images)?),
        None => (images.clone(), all_of(&images)?),
    };
    let index = read_index(folder)?;
    let mut is_named = index.is_empty();
    for file in &mut files {
        if let Some((source, patient)) = index.get(&file.name) {
            file.source.clone_from(source);
            file.patient.clone_from(patient);
            is_named = true;
        }
    }
    if !is_named {
        let what = format!("it names none of the pictures of {}", source.display());
        return Err(DatasetError::Contents { path: folder.join("index.csv"), what });
    }
    Ok((source, files))
}

fn parse_list(list: &Path, images: &Path) -> Result<Vec<ClassFile>, DatasetError> {
    let expected = "a text file with a picture's name and class on every line";
    let text = fs::read_to_string(list).map_err(reading(list, expected))?;
    let mut files = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |what: String| DatasetError::Line { path: list.into(), line: index + 1, what };
        let mut words = line.split_whitespace();
        let Some(name) = words.next() else { continue };
        let class = match words.next() {
            Some(word) => word.parse().ok().and_then(SliceClass::from_index),
            None => SliceClass::of_name(name),
        };
        let Some(class) = class else {
            return Err(wrong(format!(
                "`{line}` names no class; a line is NAME CLASS with class 0 control, 1 common pneumonia, 2 COVID-19"
            )));
        };
        let (patient, source) = (patient_of_name(name), String::new());
        let path = find(images, name, class);
        files.push(ClassFile { name: name.into(), path, class, patient, source });
    }
    if files.is_empty() {
        return Err(DatasetError::Empty { path: list.into(), report: "the list is empty".into() });
    }
    match contradiction(&files) {
        Some(what) => Err(DatasetError::Contents { path: list.into(), what }),
        None => Ok(files),
    }
}

/// The file of a name, under COVIDx-CT's or the author's spelling.
fn find(images: &Path, name: &str, class: SliceClass) -> PathBuf {
    let rest = name.split_once('_').map_or(name, |(_, rest)| rest);
    let (letters, digit) = (class.prefix(), class.index());
    [name.to_owned(), format!("{letters}_{rest}"), format!("{digit}_{rest}")]
        .into_iter()
        .map(|name| images.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| images.join(name))
}

fn all_of(images: &Path) -> Result<Vec<ClassFile>, DatasetError> {
    let expected = "pictures named [class]_[patient]_[scan]_[slice].png";
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(images).map_err(reading(images, expected))? {
        let path = entry.map_err(reading(images, expected))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Some(class) = SliceClass::of_name(&name).filter(|_| path.is_file()) {
            let (patient, source) = (patient_of_name(&name), String::new());
            found.insert(name.clone(), ClassFile { name, path, class, patient, source });
        }
    }
    if found.is_empty() {
        let report = format!("no file is named like {expected}");
        return Err(DatasetError::Empty { path: images.into(), report });
    }
    Ok(found.into_values().collect())
}
