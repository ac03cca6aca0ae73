//! Finding, reading and writing files.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::image::decode::AllFormats;
use crate::image::examination::FileBytes;
use crate::train::checkpoint::write_whole;

/// Names that a slice's file may end in.
const EXTENSIONS: [&str; 9] = ["png", "jpg", "jpeg", "dcm", "dicom", "ima", "nii", "gz", "zip"];
/// Largest file read.
const MAX_BYTES: u64 = 2 << 30;

/// The slices among `paths`: files as named, and from folders (sorted, with their subfolders) those
/// that end like a slice or are DICOM without saying so.
pub fn slices(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            walk(path, &mut found)?;
            if found.len() == before {
                bail!("{}: no PNG, JPEG, DICOM, NIfTI or zip file in this folder", path.display());
            }
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let reading = || format!("{}: the folder cannot be read", folder.display());
    let mut entries = fs::read_dir(folder)
        .with_context(reading)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(reading)?;
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, found)?;
        } else if looks_like_slice(&path) {
            found.push(path);
        }
    }
    Ok(())
}

fn looks_like_slice(path: &Path) -> bool {
    match path.extension() {
        Some(extension) => {
            let extension = extension.to_string_lossy().to_lowercase();
            EXTENSIONS.contains(&extension.as_str())
        }
        None => has_dicom_mark(path),
    }
}

fn has_dicom_mark(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 132];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start.ends_with(b"DICM")
}

/// A file that is read whenever its bytes are wanted.
#[derive(Debug)]
pub struct OnDisk(pub PathBuf);

impl FileBytes for OnDisk {
    type Formats = AllFormats;

    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        let length = fs::metadata(&self.0).map_err(|error| error.to_string())?.len();
        if length > MAX_BYTES {
            return Err(format!("{length} bytes; at most {MAX_BYTES} are read"));
        }
        fs::read(&self.0).map(Cow::Owned).map_err(|error| error.to_string())
    }
}

/// Reads a file that is at most `limit` bytes long.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let length = fs::metadata(path).with_context(|| format!("{}", path.display()))?.len();
    if length > limit {
        bail!("{}: {length} bytes; at most {limit} are read", path.display());
    }
    fs::read(path).with_context(|| format!("{}", path.display()))
}

/// Writes a file, with its folder if need be; a half-written one never takes its name.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(write_whole(path, bytes)?)
}

/// The last part of a path without its ending.
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
