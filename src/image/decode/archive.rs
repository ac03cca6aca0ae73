//! Zip archives of slices.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use zip::result::ZipError;

use crate::image::decode::limits::{MAX_FILES, MAX_MEMBER};
use crate::image::decode::{Budget, ImageError, Member};

/// The start of a file of an archive.
const START: &[u8] = b"PK\x03\x04";
/// The start of an archive without files.
const EMPTY: &[u8] = b"PK\x05\x06";
/// Files that are too large before the rest is given up: each has to be unpacked to be known as one.
const MOST_OVERSIZED: usize = 3;

/// Whether the bytes are a zip archive.
pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(START) || bytes.starts_with(EMPTY)
}

/// The files of an archive, with their paths in it. Folders, hidden files and the lists that
/// programs leave behind are passed over; a file that cannot be unpacked does not cost the others.
///
/// # Errors
/// If the archive's own list is damaged or too long, or the files do not fit into the budget.
pub fn unpack(bytes: &[u8], budget: &mut Budget) -> Result<Vec<Member>, ImageError> {
    let before = budget.left();
    // What is refused leaves room for the archives after it.
    unpack_within(bytes, budget).inspect_err(|_| budget.give_back(before - budget.left()))
}

fn unpack_within(bytes: &[u8], budget: &mut Budget) -> Result<Vec<Member>, ImageError> {
    let damaged = |reason: String| ImageError::Damaged { format: "zip", reason };
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(error.to_string()))?;
    if archive.len() > MAX_FILES {
        let what = format!("{} files; at most {MAX_FILES} are read", archive.len());
        return Err(ImageError::Unsupported { format: "zip", what });
    }
    let mut files: Vec<Member> = Vec::new();
    let (listed, again) = listed(bytes, &archive);
    for (name, count) in again {
        let reason = format!("{count} files of the archive have this name; the last is read");
        files.push((name, Err(damaged(reason))));
    }
    if listed > archive.len() && files.is_empty() {
        let lost = listed - archive.len();
        let reason = format!(
            "{lost} of its {listed} files are not read: they go by the names of others, or its end does not count them"
        );
        files.push(("(list of files)".into(), Err(damaged(reason))));
    }
    if bytes[..(archive.offset() as usize).min(bytes.len())].starts_with(START) {
        let reason = "another archive lies in front of it, which is not read; unpack it first";
        files.push(("(front)".into(), Err(damaged(reason.into()))));
    }
    let (mut seen, mut oversized) = (0, 0);
    for index in 0..archive.len() {
        let path = match archive.name_for_index(index) {
            Some(Ok(path)) => path.into_owned(),
            _ => format!("file {}", index + 1),
        };
        if path.ends_with(['/', '\\']) || is_archive_junk(&path) {
            continue;
        }
        seen += 1;
        let file = match archive.by_index(index) {
            Ok(file) => file,
            Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED)) => {
                files.push((path, Err(ImageError::Encrypted)));
                continue;
            }
            Err(error) => {
                files.push((path, Err(damaged(error.to_string()))));
                continue;
            }
        };
        // What the archive says of its sizes is not trusted.
        let mut contents = Vec::new();
        let read = file.take(budget.left().min(MAX_MEMBER) + 1).read_to_end(&mut contents);
        budget.take(contents.len() as u64)?;
        if contents.len() as u64 > MAX_MEMBER {
            budget.give_back(contents.len() as u64);
            files.push((path, Err(ImageError::TooLarge { limit: MAX_MEMBER })));
            oversized += 1;
            if oversized == MOST_OVERSIZED {
                let reason = "too many of its files are too large; the rest is not read";
                files.push(("(rest)".into(), Err(damaged(reason.into()))));
                break;
            }
            continue;
        }
        if let Err(error) = read {
            budget.give_back(contents.len() as u64);
            files.push((path, Err(damaged(error.to_string()))));
            continue;
        }
        files.push((path, Ok(contents)));
    }
    if seen == 0 && files.is_empty() {
        return Err(damaged(
            "there is no file in it but folders and what programs leave behind".into(),
        ));
    }
    Ok(files)
}

/// How many files the archive lists, and names that several have, with their number: the `zip` crate keeps the last
/// of each.
fn listed(bytes: &[u8], archive: &zip::ZipArchive<Cursor<&[u8]>>) -> (usize, Vec<(String, usize)>) {
    /// Signature, length, and places of the lengths of name, extra field and comment of an entry of the
    /// central directory (APPNOTE 4.3.12).
    const SIGNATURE: &[u8] = b"PK\x01\x02";
    const FIXED: usize = 46;
    const LENGTHS: [usize; 3] = [28, 30, 32];
    let (mut names, mut count): (BTreeMap<&[u8], usize>, usize) = (BTreeMap::new(), 0);
    let mut rest = bytes.get(archive.central_directory_start() as usize..).unwrap_or_default();
    while let Some((entry, behind)) = rest.split_at_checked(FIXED) {
        if !entry.starts_with(SIGNATURE) {
            break;
        }
        let lengths = LENGTHS.map(|at| usize::from(u16::from_le_bytes([entry[at], entry[at + 1]])));
        let Some(name) = behind.get(..lengths[0]) else { break };
        let text = String::from_utf8_lossy(name);
        let is_passed_over = text.ends_with(['/', '\\']) || is_archive_junk(&text);
        let times = names.entry(name).or_default();
        // Folders and leftovers that are listed twice are no loss.
        if !is_passed_over || *times == 0 {
            *times += 1;
            count += 1;
        }
        rest = behind.get(lengths.iter().sum()..).unwrap_or_default();
    }
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let again = names.into_iter().filter(|(_, times)| *times > 1);
    let again = again.map(|(name, times)| (text(name), times));
    (count, again.collect())
}

fn is_archive_junk(path: &str) -> bool {
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

    fn unpacked(bytes: &[u8]) -> Result<Vec<Member>, ImageError> {
        unpack(bytes, &mut Budget::default())
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
        let files = unpacked(&bytes).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(
            (files[0].0.as_str(), files[0].1.as_ref().unwrap().as_slice()),
            ("scan/1.dcm", &b"one"[..])
        );
    }

    #[test]
    fn an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() {
        let zeros = vec![0u8; 1 << 20];
        let bytes = archive(&[("a", &zeros), ("b", &zeros)]);
        assert!(bytes.len() < 10_000);
        let mut budget = Budget::new(1_500_000);
        assert!(matches!(unpack(&bytes, &mut budget), Err(ImageError::TooLarge { .. })));
        // The budget is one for all that is opened together.
        let mut budget = Budget::new(3 << 20);
        assert!(unpack(&bytes, &mut budget).is_ok());
        assert!(matches!(unpack(&bytes, &mut budget), Err(ImageError::TooLarge { .. })));
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let bytes = archive(&[("a", b"some contents that are long enough")]);
        assert!(unpacked(&bytes[..bytes.len() - 30]).is_err());
    }

    #[test]
    fn of_files_with_one_name_it_is_said_that_one_alone_is_read() {
        let mut bytes = archive(&[("scan/1.dcm", b"one"), ("scan/2.dcm", b"two")]);
        while let Some(place) = bytes.windows(10).position(|name| name == b"scan/2.dcm") {
            bytes[place..place + 10].copy_from_slice(b"scan/1.dcm");
        }
        let files = unpacked(&bytes).unwrap();
        assert_eq!(files.len(), 2, "{files:?}");
        assert!(files[0].1.as_ref().is_err_and(|error| error.to_string().contains("2 files")));
        assert_eq!(files[1].1.as_ref().unwrap(), b"two");
    }

    #[test]
    fn what_an_archive_hides_is_said() {
        let whole = archive(&[("scan/1.dcm", b"one"), ("scan/2.dcm", b"two")]);
        // Its end counts one file, and lists two.
        let mut uncounted = whole.clone();
        let end = uncounted.len() - 22;
        uncounted[end + 8..end + 12].copy_from_slice(&[1, 0, 1, 0]);
        // Behind another archive.
        let behind = [archive(&[("front.dcm", b"front")]), whole.clone()].concat();
        for (bytes, words) in [(uncounted, "1 of its 2 files"), (behind, "in front of it")] {
            let files = unpacked(&bytes).unwrap();
            let said =
                |file: &Member| file.1.as_ref().is_err_and(|e| e.to_string().contains(words));
            assert!(files.iter().any(said), "{words}: {files:?}");
        }
        for nothing in [archive(&[]), archive(&[(".hidden", b"x"), ("DICOMDIR", b"x")])] {
            assert!(is_zip(&nothing));
            assert!(unpacked(&nothing).unwrap_err().to_string().contains("no file in it"));
        }
    }

    #[test]
    fn an_encrypted_file_is_named_and_the_reason_said() {
        let mut bytes = archive(&[("a.dcm", b"one"), ("b.dcm", b"two")]);
        // The flag "encrypted" in the local header and in the directory.
        for (signature, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
            let place = bytes.windows(4).position(|text| text == signature).unwrap();
            bytes[place + flags] |= 1;
        }
        let files = unpacked(&bytes).unwrap();
        assert!(
            matches!(&files[0], (name, Err(ImageError::Encrypted)) if name == "a.dcm"),
            "{files:?}"
        );
        assert_eq!(files[1].1.as_ref().unwrap(), b"two");
    }

    #[test]
    fn a_damaged_file_does_not_cost_the_others() {
        let stored =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, contents) in [("1", b"first one"), ("2", b"secondary"), ("3", b"third one")] {
            writer.start_file(name, stored).unwrap();
            writer.write_all(contents).unwrap();
        }
        let mut bytes = writer.finish().unwrap().into_inner();
        let place = bytes.windows(9).position(|text| text == b"secondary").unwrap();
        bytes[place] = b'S';
        let files = unpacked(&bytes).unwrap();
        let good: Vec<bool> = files.iter().map(|(_, contents)| contents.is_ok()).collect();
        assert_eq!(good, [true, false, true]);
    }
}
