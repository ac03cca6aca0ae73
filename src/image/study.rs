//! Files sorted into series of slices.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::image::ImageError;
use crate::image::decode::panic_guard::catch_panic;
use crate::image::decode::{Budget, Formats, Member, Opened, archive};
use crate::image::natural_order::natural;
use crate::image::series::{Series, SeriesKey};
use crate::image::series_slice::{FileBytes, SeriesSlice, Source};

/// All that was opened.
#[derive(Debug)]
pub struct Study<F> {
    /// The series, by name.
    pub series: Vec<Series<F>>,
    /// What could not be opened, and why.
    pub refused: Vec<(String, ImageError)>,
}

impl<F: FileBytes> Study<F> {
    /// Opens files, each with its name or path.
    pub fn open(files: impl IntoIterator<Item = (String, F)>) -> Self {
        let mut opening = Opening::default();
        files.into_iter().for_each(|(name, file)| opening.add(name, file));
        opening.finish()
    }

    /// Number of slices in all series.
    pub fn slices(&self) -> usize {
        self.series.iter().map(|series| series.slices.len()).sum()
    }
}

/// A study while its files are opened, one after the other: so that a program can say where it is.
#[derive(Debug)]
pub struct Opening<F> {
    groups: BTreeMap<SeriesKey, Vec<SeriesSlice<F>>>,
    refused: Vec<(String, ImageError)>,
    /// Names of slices so far: no two have the same.
    names: BTreeMap<String, usize>,
    /// Files so far.
    files: usize,
    /// Archives and volumes stay in memory: all of them together have a limit.
    budget: Budget,
}

impl<F> Default for Opening<F> {
    fn default() -> Self {
        Self {
            groups: BTreeMap::new(),
            refused: Vec::new(),
            names: BTreeMap::new(),
            files: 0,
            budget: Budget::default(),
        }
    }
}

impl<F: FileBytes> Opening<F> {
    /// Opens a file with its name or path.
    pub fn add(&mut self, name: String, file: F) {
        let name = printable(&name);
        let budget = &mut self.budget;
        let opened = catch_panic(
            || {
                let bytes = file.bytes()?;
                Ok((F::Formats::open(&bytes, budget)?, crc32fast::hash(&bytes)))
            },
            ImageError::broken,
        );
        match opened {
            Ok((Opened::Archive(members), _)) => {
                members.into_iter().for_each(|member| self.add_member(&name, member));
            }
            Ok((opened, checksum)) => {
                self.sort(name, opened, checksum, Source::File(Arc::new(file)));
            }
            Err(error) => self.refuse(name, error),
        }
    }

    /// Opens a file of an archive.
    fn add_member(&mut self, archive: &str, (member, contents): Member) {
        let name = format!("{archive}/{}", printable(&member));
        let bytes = match contents {
            // Not even unpacked: it could hold others without end.
            Ok(bytes) if archive::is_zip(&bytes) => return self.refuse(name, ImageError::Nested),
            Ok(bytes) => bytes,
            Err(error) => return self.refuse(name, error),
        };
        let budget = &mut self.budget;
        let opened = catch_panic(|| F::Formats::open(&bytes, budget), ImageError::broken);
        if !matches!(opened, Ok(Opened::Slices(_))) {
            // Its packed bytes are not kept.
            budget.give_back(bytes.len() as u64);
        }
        match opened {
            Ok(opened) => {
                let checksum = crc32fast::hash(&bytes);
                self.sort(name, opened, checksum, Source::Unpacked(Arc::new(bytes)));
            }
            Err(error) => self.refuse(name, error),
        }
    }

    /// Refuses a file, whatever is in it.
    pub fn refuse(&mut self, name: String, error: ImageError) {
        self.refused.push((name, error));
    }

    /// Sorts the slices of a file into their series. `source` is where those come from that are read anew.
    fn sort(&mut self, name: String, opened: Opened, checksum: u32, source: Source<F>) {
        let (headers, source, is_series) = match opened {
            Opened::Slices(headers) => (headers, source, false),
            Opened::Frames(file) => (file.headers(), Source::Frames(Arc::from(file)), false),
            Opened::Volume(volume) => (volume.headers(), Source::Volume(Arc::from(volume)), true),
            Opened::Archive(_) => return self.refuse(name, ImageError::Nested),
        };
        let (frames, number) = (headers.len(), self.files);
        self.files += 1;
        let name = self.unique(name, frames);
        for header in headers {
            let key = match is_series || frames > 1 {
                true => SeriesKey::File { number },
                false => SeriesKey::of(&name, &header),
            };
            let name = frame_name(&name, header.frame, frames);
            let slice = SeriesSlice { name, header, checksum, source: source.clone() };
            self.groups.entry(key).or_default().push(slice);
        }
    }

    /// The name, with a number behind it if another file's slices are called so.
    fn unique(&mut self, name: String, frames: usize) -> String {
        let mut candidate = name.clone();
        while self.names.contains_key(&candidate)
            || (frames > 1 && self.names.contains_key(&frame_name(&candidate, 0, frames)))
        {
            let met = self.names.entry(name.clone()).or_default();
            *met += 1;
            candidate = format!("{name} ({})", *met + 1);
        }
        self.names.insert(candidate.clone(), 0);
        for frame in (0..frames).filter(|_| frames > 1) {
            self.names.insert(frame_name(&candidate, frame, frames), 0);
        }
        candidate
    }

    /// The series of all files.
    pub fn finish(self) -> Study<F> {
        let Self { groups, refused, .. } = self;
        let mut series: Vec<Series<F>> =
            groups.into_iter().map(|(key, g)| Series::arranged(key, g)).collect();
        series.sort_by(|a, b| natural(&a.name, &b.name));
        Study { series, refused }
    }
}

fn frame_name(name: &str, frame: usize, frames: usize) -> String {
    if frames == 1 { name.to_owned() } else { format!("{name}#{}", frame + 1) }
}

/// A name as it may be shown: on one line, without what a terminal would obey, and not without end.
fn printable(name: &str) -> String {
    const MOST: usize = 512;
    let mut short: String =
        name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MOST).collect();
    if name.chars().nth(MOST).is_some() {
        short.push('\u{2026}');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(side: u32) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::GrayImage::new(side, side).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn names(series: &Series<Vec<u8>>) -> Vec<&str> {
        series.slices.iter().map(|slice| slice.name.as_str()).collect()
    }

    #[test]
    fn pictures_of_a_folder_are_a_series_in_natural_order() {
        let files = ["a/10.png", "a/2.png", "b/1.png"].map(|name| (name.to_owned(), png(40)));
        let found = Study::open(files);
        assert_eq!(found.series.len(), 2);
        assert_eq!(names(&found.series[0]), ["a/2.png", "a/10.png"]);
        assert_eq!(found.series[1].name, "b/1.png");
    }

    #[test]
    fn what_is_no_slice_is_named_and_the_rest_is_opened() {
        let files = [("x.txt".to_owned(), b"hello".to_vec()), ("y.png".to_owned(), png(40))];
        let found = Study::open(files);
        assert_eq!(found.slices(), 1);
        assert_eq!(found.refused[0].0, "x.txt");
    }

    #[test]
    fn files_that_are_called_alike_stay_apart() {
        // Two names that are not UTF-8 look the same; a line break would be a line of its own.
        let files = ["a/M\u{fffd}ller.png", "a/M\u{fffd}ller.png", "a/x\nerror: y.png"];
        let found = Study::open(files.map(|name| (name.to_owned(), png(40))));
        let names: Vec<&str> =
            found.series.iter().flat_map(|s| &s.slices).map(|s| s.name.as_str()).collect();
        let expected =
            ["a/M\u{fffd}ller.png", "a/M\u{fffd}ller.png (2)", "a/x\u{fffd}error: y.png"];
        assert_eq!(names, expected);
    }

    #[test]
    fn an_archive_within_an_archive_is_named_and_not_unpacked() {
        let zip = |name: &str, bytes: &[u8]| {
            let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::Write::write_all(&mut writer, bytes).unwrap();
            writer.finish().unwrap().into_inner()
        };
        let outer = zip("inner.zip", &zip("a.png", &png(40)));
        let found = Study::open([("outer.zip".to_owned(), outer)]);
        assert_eq!(found.slices(), 0);
        assert!(matches!(found.refused[0].1, ImageError::Nested), "{:?}", found.refused);
    }
}
