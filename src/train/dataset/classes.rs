//! Slices with a class: COVIDx-CT lists, or a folder by the author's names (specification 5.3).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{DatasetError, Skipped, reading, summary};
use crate::image::{CtSlice, decode_slice};

/// Names of the classes, in the order of the logits.
pub const CLASS_NAMES: [&str; 3] = ["control", "common pneumonia", "COVID-19"];

/// A slice with its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFile {
    /// File name.
    pub name: String,
    /// The picture.
    pub path: PathBuf,
    /// 0 control, 1 common pneumonia, 2 COVID-19.
    pub class: usize,
}

impl ClassFile {
    /// Class and patient: the same number may name different patients in different classes.
    pub fn patient(&self) -> String {
        let mut parts = self.name.split('_');
        format!("{}_{}", parts.next().unwrap_or(""), parts.next().unwrap_or(""))
    }
}

/// A list of slices with classes.
#[derive(Clone, Debug)]
pub struct ClassDataset {
    /// What can be used, in the order of the list.
    pub files: Vec<ClassFile>,
    /// What cannot.
    pub skipped: Vec<Skipped>,
    source: PathBuf,
}

/// The class that a name begins with: `Normal`, `CP` or `NCP` as in COVIDx-CT, or the author's digit.
fn class_of_name(name: &str) -> Option<usize> {
    match name.split('_').next()? {
        "Normal" | "0" => Some(0),
        "CP" | "1" => Some(1),
        "NCP" | "2" => Some(2),
        _ => None,
    }
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
        let images = match folder.join("images") {
            images if images.is_dir() => images,
            _ => folder.to_path_buf(),
        };
        let (source, named) = match list {
            Some(list) => (list.to_path_buf(), parse_list(list, &images)?),
            None => (images.clone(), all_of(&images)?),
        };
        let checked: Vec<Result<ClassFile, Skipped>> =
            named.into_par_iter().map(|file| read(&file).map(|_| file)).collect();
        let (mut files, mut skipped) = (Vec::new(), Vec::new());
        for file in checked {
            match file {
                Ok(file) => files.push(file),
                Err(skip) => skipped.push(skip),
            }
        }
        if files.is_empty() {
            return Err(DatasetError::Empty { path: source, report: summary(&skipped) });
        }
        Ok(Self { files, skipped, source })
    }

    /// Reads one slice.
    ///
    /// # Errors
    /// If the file changed since the dataset was opened.
    pub fn read(&self, file: &ClassFile) -> Result<CtSlice, DatasetError> {
        read(file).map_err(|Skipped { path, reason }| DatasetError::Changed { path, what: reason })
    }

    /// Number of patients.
    pub fn patients(&self) -> usize {
        let patients: std::collections::BTreeSet<_> =
            self.files.iter().map(ClassFile::patient).collect();
        patients.len()
    }

    /// Slices of each class.
    pub fn counts(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for file in &self.files {
            counts[file.class] += 1;
        }
        counts
    }

    /// What was read and what was skipped.
    pub fn report(&self) -> String {
        let [control, pneumonia, covid] = self.counts();
        format!(
            "{}: {} slices of {} patients ({control} control, {pneumonia} common pneumonia, {covid} COVID-19); {}",
            self.source.display(),
            self.files.len(),
            self.patients(),
            summary(&self.skipped)
        )
    }
}

fn read(file: &ClassFile) -> Result<CtSlice, Skipped> {
    let failed = |reason: String| Skipped { path: file.path.clone(), reason };
    let bytes = fs::read(&file.path).map_err(|error| failed(error.to_string()))?;
    decode_slice(&file.name, &bytes, None).map_err(|error| failed(error.to_string()))
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
            Some(word) => word.parse().ok().filter(|class| *class < CLASS_NAMES.len()),
            None => class_of_name(name),
        };
        let Some(class) = class else {
            return Err(wrong(format!(
                "`{line}` names no class; a line is NAME CLASS with class 0 control, 1 common pneumonia, 2 COVID-19"
            )));
        };
        files.push(ClassFile { name: name.into(), path: find(images, name, class), class });
    }
    if files.is_empty() {
        return Err(DatasetError::Empty { path: list.into(), report: "the list is empty".into() });
    }
    Ok(files)
}

/// The file of a name, under COVIDx-CT's or the author's spelling.
fn find(images: &Path, name: &str, class: usize) -> PathBuf {
    let rest = name.split_once('_').map_or(name, |(_, rest)| rest);
    let letters = ["Normal", "CP", "NCP"][class];
    [name.to_owned(), format!("{letters}_{rest}"), format!("{class}_{rest}")]
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
        if let Some(class) = class_of_name(&name).filter(|_| path.is_file()) {
            found.insert(name.clone(), ClassFile { name, path, class });
        }
    }
    if found.is_empty() {
        let report = format!("no file is named like {expected}");
        return Err(DatasetError::Empty { path: images.into(), report });
    }
    Ok(found.into_values().collect())
}
