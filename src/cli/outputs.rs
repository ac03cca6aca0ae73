//! What `predict` writes: opened before anything is computed, each written by itself, errors collected.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::whole_file::WholeFile;

/// Says something on standard error, which may be closed or full: that is no reason to lose what is computed.
pub fn say(text: &str) {
    writeln!(std::io::stderr(), "{}", plain(text)).ok();
}

/// Text from untrusted files without what a terminal would obey.
pub fn plain(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "?")
}

/// Paths of inputs and outputs, of which none may be another.
#[derive(Debug, Default)]
pub struct Paths {
    inputs: BTreeSet<PathBuf>,
    outputs: BTreeSet<PathBuf>,
}

impl Paths {
    /// Inputs, which are never written over.
    pub fn of_inputs<'a>(inputs: impl IntoIterator<Item = &'a Path>) -> Self {
        Self { inputs: inputs.into_iter().map(resolved).collect(), ..Self::default() }
    }

    /// Claims `path` for an output.
    ///
    /// # Errors
    /// If it is an input or an output already.
    pub fn claim(&mut self, path: &Path) -> Result<()> {
        let place = resolved(path);
        ensure!(
            !self.inputs.contains(&place),
            "{}: this is an input, and is not written over",
            path.display()
        );
        // Two outputs may well go to a device, such as /dev/null.
        let is_device = fs::metadata(path).is_ok_and(|known| !known.is_file() && !known.is_dir());
        ensure!(
            is_device || self.outputs.insert(place),
            "{}: two outputs would be written to this file",
            path.display()
        );
        Ok(())
    }
}

/// A path by which the same file is always known, whether it is there yet or not.
fn resolved(path: &Path) -> PathBuf {
    if let Ok(known) = fs::canonicalize(path) {
        return known;
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => resolved(folder),
        _ => fs::canonicalize(".").unwrap_or_default(),
    };
    match path.components().next_back() {
        // Of a folder that is not there yet: once it is made, `..` leads back.
        Some(Component::ParentDir) => folder.parent().unwrap_or(&folder).to_path_buf(),
        _ => folder.join(path.file_name().unwrap_or_default()),
    }
}

/// A file to be written at the end, or standard output.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    file: Option<WholeFile>,
}

impl Output {
    /// Opens `path`; `-` is standard output.
    ///
    /// # Errors
    /// If it is an input, another output, or cannot be written.
    pub fn open(path: &Path, paths: &mut Paths) -> Result<Self> {
        let named = || format!("{}: cannot be written", path.display());
        let file = if path == Path::new("-") {
            None
        } else {
            paths.claim(path)?;
            Some(WholeFile::create(path).with_context(named)?)
        };
        Ok(Self { path: path.into(), file })
    }

    /// Whether it goes to standard output.
    pub fn is_stdout(&self) -> bool {
        self.file.is_none()
    }

    /// Writes it. A reader of standard output that goes away is no error.
    ///
    /// # Errors
    /// If the file system does not take it.
    pub fn write(self, bytes: &[u8]) -> Result<()> {
        let Self { path, file } = self;
        match file {
            Some(file) => file.write(bytes).with_context(|| format!("{}", path.display())),
            None => {
                match std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()) {
                    Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                        Err(error).context("standard output")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

/// A folder that files are written to, each under a name of its own.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
}

impl OutputFolder {
    /// Makes sure that files can be written to `path`.
    ///
    /// # Errors
    /// If it is no folder, or none can be made or written to.
    pub fn open(path: &Path) -> Result<Self> {
        let named = || format!("{}: no files can be written here", path.display());
        if path.exists() && !path.is_dir() {
            bail!("{}: this is a file; a folder is wanted", path.display());
        }
        fs::create_dir_all(path).with_context(named)?;
        tempfile::Builder::new().prefix(".groundglass-").tempfile_in(path).with_context(named)?;
        Ok(Self { path: path.into() })
    }

    /// Writes the file `name`, one component.
    ///
    /// # Errors
    /// If it is an input, another output, or cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8], paths: &mut Paths) -> Result<()> {
        let path = self.path.join(name);
        ensure!(path.parent() == Some(&self.path), "{name:?} is no name of a file");
        paths.claim(&path)?;
        let written = WholeFile::create_in_folder(&path).and_then(|file| file.write(bytes));
        written.with_context(|| format!("{}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_and_other_outputs_are_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("in.png"), "picture").unwrap();
        let mut paths = Paths::of_inputs([at("in.png").as_path()]);
        let refused =
            |path: &Path, paths: &mut Paths| Output::open(path, paths).unwrap_err().to_string();
        let roundabout = folder.path().join("../").join(folder.path().file_name().unwrap());
        assert!(refused(&roundabout.join("in.png"), &mut paths).contains("an input"));
        // A folder that is not there yet changes nothing.
        assert!(refused(&at("new/../in.png"), &mut paths).contains("an input"));
        assert!(refused(&at("new/deep/../../in.png"), &mut paths).contains("an input"));
        let first = Output::open(&at("out.json"), &mut paths).unwrap();
        assert!(refused(&roundabout.join("out.json"), &mut paths).contains("two outputs"));
        first.write(b"{}").unwrap();
        let pictures = OutputFolder::open(folder.path()).unwrap();
        assert!(pictures.write("in.png", b"", &mut paths).is_err());
        assert!(pictures.write("../x.png", b"", &mut paths).is_err());
        assert_eq!(fs::read(at("in.png")).unwrap(), b"picture");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_planted_in_a_folder_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("victim"), "precious").unwrap();
        let out = OutputFolder::open(&at("out")).unwrap();
        std::os::unix::fs::symlink(at("victim"), at("out/a_mask.png")).unwrap();
        let pipe = std::ffi::CString::new(at("out/b_mask.png").to_str().unwrap()).unwrap();
        let made = std::process::Command::new("mkfifo").arg(pipe.to_str().unwrap()).status();
        let mut paths = Paths::default();
        let refused = out.write("a_mask.png", b"mask", &mut paths).unwrap_err();
        assert!(format!("{refused:#}").contains("not written through"), "{refused:#}");
        if made.is_ok_and(|made| made.success()) {
            assert!(out.write("b_mask.png", b"mask", &mut paths).is_err());
        }
        assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
    }
}
