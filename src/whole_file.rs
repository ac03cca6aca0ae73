//! Files that appear whole or not at all. Native only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file that is open to be written, and not there before it is whole.
#[derive(Debug)]
pub struct WholeFile {
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A file beside the one that it will replace.
    Regular { partial: NamedTempFile, path: PathBuf },
    /// A device or pipe: written to, never replaced.
    Stream(File),
}

impl WholeFile {
    /// Opens a file of a folder that the user named, but not this file: what stands there under its name is
    /// replaced if it is a file, and refused if it is a link, a device or a pipe, which someone may have planted.
    ///
    /// # Errors
    /// If it is such a thing, or the file system does not allow it.
    pub fn create_in_folder(path: &Path) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(known) if !known.is_file() && !known.is_dir() => {
                let reason = "a link, device or pipe stands there, and is not written through";
                Err(io::Error::new(io::ErrorKind::AlreadyExists, reason))
            }
            _ => Self::create(path),
        }
    }

    /// Opens `path` for writing, with its folder if need be. A link is followed, a device or pipe written to as
    /// it is.
    ///
    /// # Errors
    /// If folder or file system do not allow it.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder {
            fs::create_dir_all(folder)?;
        }
        let path = match fs::metadata(path) {
            Ok(known) if known.is_dir() => {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "this is a folder"));
            }
            Ok(known) if !known.is_file() => {
                let stream = OpenOptions::new().write(true).open(path)?;
                return Ok(Self { target: Target::Stream(stream) });
            }
            Ok(known) if known.permissions().readonly() => {
                let reason = "the file is there and may not be written to";
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
            }
            // What a link leads to is replaced, not the link.
            Ok(_) => fs::canonicalize(path)?,
            Err(_) if fs::symlink_metadata(path).is_ok() => {
                let reason = "this is a link to a file that is not there";
                return Err(io::Error::new(io::ErrorKind::NotFound, reason));
            }
            Err(_) => path.to_owned(),
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Made anew under a random name: no link that was laid out before is followed.
        let mut builder = tempfile::Builder::new();
        let partial = permissions::as_usual(builder.prefix(".groundglass-").suffix(".partial"))
            .tempfile_in(folder.unwrap_or(Path::new(".")))?;
        Ok(Self { target: Target::Regular { partial, path } })
    }

    /// Writes everything; only then has the file its name.
    ///
    /// # Errors
    /// If the file system does not take it. An older file of the name is then still there, and nothing else.
    pub fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self.target {
            Target::Stream(mut stream) => stream.write_all(bytes),
            Target::Regular { mut partial, path } => {
                partial.write_all(bytes)?;
                partial.as_file().sync_all()?;
                partial.persist(path).map(|_| ()).map_err(|error| error.error)
            }
        }
    }
}

/// Opens and writes a file at once.
///
/// # Errors
/// As [`WholeFile::create`] and [`WholeFile::write`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    WholeFile::create(path)?.write(bytes)
}

#[cfg(unix)]
mod permissions {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    /// Those of a file that a program just creates, and not of a secret.
    pub fn as_usual<'a, 'b, 'c>(
        builder: &'c mut tempfile::Builder<'a, 'b>,
    ) -> &'c mut tempfile::Builder<'a, 'b> {
        builder.permissions(Permissions::from_mode(0o666))
    }
}

#[cfg(not(unix))]
mod permissions {
    /// As they are.
    pub fn as_usual<'a, 'b, 'c>(
        builder: &'c mut tempfile::Builder<'a, 'b>,
    ) -> &'c mut tempfile::Builder<'a, 'b> {
        builder
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/report.json");
        write_whole(&path, b"old").unwrap();
        let open = WholeFile::create(&path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(open);
        assert_eq!(names(path.parent().unwrap()), ["report.json"]);
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(path.parent().unwrap()), ["report.json"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_planted_ones_are_not() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("victim"), "precious").unwrap();
        symlink(at("victim"), at("new.json.partial")).unwrap();
        write_whole(&at("new.json"), b"report").unwrap();
        assert_eq!(fs::read(at("victim")).unwrap(), b"precious");
        // A link that the user names leads where it leads.
        symlink(at("new.json"), at("link.json")).unwrap();
        write_whole(&at("link.json"), b"second").unwrap();
        assert!(fs::symlink_metadata(at("link.json")).unwrap().is_symlink());
        assert_eq!(fs::read(at("new.json")).unwrap(), b"second");
        symlink(at("nowhere"), at("dangling")).unwrap();
        assert!(WholeFile::create(&at("dangling")).is_err());
        assert!(WholeFile::create(folder.path()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn devices_are_written_to_and_not_replaced() {
        write_whole(Path::new("/dev/null"), b"report").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        if Path::new("/dev/full").exists() {
            assert!(write_whole(Path::new("/dev/full"), b"report").is_err());
        }
    }
}
