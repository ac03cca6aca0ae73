//! Finding, reading and writing files.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use walkdir::{DirEntry, WalkDir};

use crate::cli::reading::timeout;
use crate::image::FileBytes;
use crate::image::ImageError;
use crate::image::decode::limits::MAX_FILE;
use crate::image::decode::{AllFormats, is_slice};
use crate::whole_file::write_whole;

/// Largest table that is read.
pub const MAX_TABLE: u64 = 64 << 20;
/// Bytes by which the format of a file is told.
const HEAD: usize = 512;

/// Files among which slices are looked for.
#[derive(Debug, Default)]
pub struct Found {
    /// Files named, and those of folders that begin like a slice.
    pub paths: Vec<PathBuf>,
    /// Folders that cannot be read or hold nothing, and why.
    pub unreadable: Vec<(String, String)>,
    /// Files in folders that are something else.
    others: usize,
    /// Links, pipes, devices and folders met twice.
    strange: usize,
    /// Folders and files by their real place.
    met: BTreeSet<PathBuf>,
}

impl Found {
    /// What was skipped, in words.
    pub fn note(&self) -> Option<String> {
        (self.others + self.strange > 0).then(|| {
            let (others, strange) = (self.others, self.strange);
            format!("skipped in folders: {others} files that are not slices, {strange} special files or duplicates")
        })
    }

    /// Takes a folder with all below it, in the order of the names; one that cannot be read costs itself alone.
    fn walk(&mut self, folder: &Path) {
        let mut walk = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.not_walked(&error);
                    continue;
                }
            };
            let name = entry.file_name().to_string_lossy();
            let is_hidden = name.starts_with('.') || name.eq_ignore_ascii_case("dicomdir");
            let kind = entry.file_type();
            if entry.depth() > 0 && is_hidden {
                self.others += 1;
            } else if !(kind.is_dir() || kind.is_file()) || !self.meet(entry.path()) {
                self.strange += 1;
            } else if kind.is_dir() {
                continue;
            } else if begins_like_a_slice(entry.path()) {
                self.paths.push(entry.into_path());
                continue;
            } else {
                self.others += 1;
            }
            if kind.is_dir() {
                walk.skip_current_dir();
            }
        }
    }

    /// Whether a file or folder is met for the first time, under whatever name.
    fn meet(&mut self, path: &Path) -> bool {
        self.met.insert(fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf()))
    }

    /// A link to nothing or back to a folder above is passed over; a folder that cannot be read is named.
    fn not_walked(&mut self, error: &walkdir::Error) {
        let path = error.path().unwrap_or(Path::new("."));
        match error.io_error() {
            Some(reason) if !path.is_symlink() || path.exists() => {
                let reason = format!("the folder cannot be read: {reason}");
                self.unreadable.push((path.display().to_string(), reason));
            }
            _ => self.strange += 1,
        }
    }
}

/// The slices among `paths`: files as named, and from folders (sorted, with their subfolders) those that
/// begin like a slice or are called so.
pub fn slices(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        if path.is_dir() {
            let before = found.paths.len();
            let known = found.unreadable.len();
            found.walk(path);
            if found.paths.len() == before && found.unreadable.len() == known {
                let reason = "no PNG, JPEG, DICOM, NIfTI or zip file in this folder";
                found.unreadable.push((path.display().to_string(), reason.into()));
            }
        } else {
            found.paths.push(path.clone());
        }
    }
    found
}

/// Whether a file says by its content or its name that it is a slice, so that it is to be read, or refused by
/// name.
fn begins_like_a_slice(path: &Path) -> bool {
    const NAMES: [&str; 9] = ["png", "jpg", "jpeg", "dcm", "dicom", "ima", "nii", "gz", "zip"];
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    if ending.is_some_and(|ending| NAMES.contains(&ending.as_str())) {
        return true;
    }
    let mut head = Vec::new();
    let read = open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head));
    read.is_ok() && is_slice(&head)
}

/// All files below a folder, as far as they can be listed: what must not be written over.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = WalkDir::new(folder).min_depth(1).into_iter().flatten();
    entries.filter(|entry| !entry.file_type().is_dir()).map(DirEntry::into_path).collect()
}

/// Opens a regular file and nothing else: a pipe would be waited for, a device read without end.
fn open(path: &Path) -> std::io::Result<fs::File> {
    let regular = |known: fs::Metadata| match known.is_file() {
        true => Ok(()),
        false => Err(std::io::Error::other("this is no regular file")),
    };
    regular(fs::metadata(path)?)?;
    let file = fs::File::open(path)?;
    regular(file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes, even one that grows meanwhile.
fn read_up_to(path: &Path, limit: u64) -> std::io::Result<Vec<u8>> {
    let file = open(path)?;
    let mut bytes = Vec::with_capacity(file.metadata()?.len().min(limit) as usize);
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(std::io::Error::other(format!("at most {limit} bytes are read")));
    }
    Ok(bytes)
}

/// A file that is read whenever its bytes are wanted.
#[derive(Clone, Debug)]
pub struct OnDisk(pub PathBuf);

impl OnDisk {
    /// A file with its name and the time that opening it may take.
    pub fn named(path: &Path) -> (String, Self, Duration) {
        let size = fs::metadata(path).map_or(0, |known| known.len());
        (path.display().to_string(), Self(path.to_path_buf()), timeout(size))
    }
}

impl FileBytes for OnDisk {
    type Formats = AllFormats;

    fn bytes(&self) -> Result<Cow<'_, [u8]>, ImageError> {
        read_up_to(&self.0, MAX_FILE)
            .map(Cow::Owned)
            .map_err(|error| ImageError::Unreadable { reason: error.to_string() })
    }
}

/// Reads a file that is at most `limit` bytes long.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_up_to(path, limit).with_context(|| format!("{}", path.display()))
}

/// Writes a file, with its folder if need be; a half-written one never takes its name.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes).with_context(|| format!("{}", path.display()))
}

/// The last part of a path without its ending.
pub fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
