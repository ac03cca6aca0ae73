//! Zip archives of slices.

use std::io::{Cursor, Read};

use super::ImageError;

/// Most bytes that compressed data may unpack to.
pub const MAX_UNPACKED: u64 = 2 << 30;
/// Most files in an archive.
const MAX_FILES: usize = 20_000;

/// Whether the bytes are a zip archive with something in it.
pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// The files of an archive, with their paths in it. Folders, hidden files and the lists that
/// programs leave behind are passed over.
///
/// # Errors
/// If it is damaged, encrypted, compressed in an unusual way, or too large.
pub fn unpack(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ImageError> {
    unpack_up_to(bytes, MAX_UNPACKED)
}

fn unpack_up_to(bytes: &[u8], limit: u64) -> Result<Vec<(String, Vec<u8>)>, ImageError> {
    let damaged = |reason: String| ImageError::Damaged { format: "zip", reason };
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(error.to_string()))?;
    if archive.len() > MAX_FILES {
        return Err(damaged(format!("{} files; at most {MAX_FILES} are read", archive.len())));
    }
    let mut left = limit;
    let mut files = Vec::new();
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|error| damaged(error.to_string()))?;
        let path = file.name().map_err(|error| damaged(error.to_string()))?.into_owned();
        if file.is_dir() || is_left_behind(&path) {
            continue;
        }
        // What the archive says of its sizes is not believed.
        let mut contents = Vec::new();
        file.take(left + 1)
            .read_to_end(&mut contents)
            .map_err(|error| damaged(format!("{path}: {error}")))?;
        left = left.checked_sub(contents.len() as u64).ok_or(ImageError::TooLarge { limit })?;
        files.push((path, contents));
    }
    Ok(files)
}

fn is_left_behind(path: &str) -> bool {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.starts_with('.')
        || path.starts_with("__MACOSX")
        || name.eq_ignore_ascii_case("dicomdir")
        || name.eq_ignore_ascii_case("thumbs.db")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::SimpleFileOptions;

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, contents) in files {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(contents).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn files_come_with_their_paths_and_leftovers_do_not() {
        let bytes = archive(&[
            ("scan/1.dcm", b"one"),
            ("__MACOSX/scan/._1.dcm", b"x"),
            ("scan/.DS_Store", b"x"),
            ("DICOMDIR", b"x"),
        ]);
        assert!(is_zip(&bytes));
        assert_eq!(unpack(&bytes).unwrap(), [("scan/1.dcm".to_owned(), b"one".to_vec())]);
    }

    #[test]
    fn an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() {
        let zeros = vec![0u8; 1 << 20];
        let bytes = archive(&[("a", &zeros), ("b", &zeros)]);
        assert!(bytes.len() < 10_000);
        assert!(matches!(unpack_up_to(&bytes, 1_500_000), Err(ImageError::TooLarge { .. })));
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let bytes = archive(&[("a", b"some contents that are long enough")]);
        assert!(unpack(&bytes[..bytes.len() - 30]).is_err());
    }
}
