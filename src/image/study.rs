//! Files sorted into series of slices.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::image::decode::dicom_source::DicomSource;
use crate::image::decode::nifti::NiftiSlices;
use crate::image::decode::wall::wall;
use crate::image::decode::{
    AllFormats, Budget, DicomFile, Formats, HeaderElement, Member, Opened, archive,
};
use crate::image::natural_order::natural;
use crate::image::plane::is_same_spacing;
use crate::image::slice::{RawSlice, SliceHeader};
use crate::image::{ImageError, Plane};

/// Share by which distances between slices may differ in an evenly spaced series.
const EVEN: f64 = 0.02;
/// Millimetres by which slices may be shifted across and still lie above each other.
const SHIFTED_MM: f64 = 1.0;
/// Millimetres under which two slices lie at the same place.
const SAME_PLACE_MM: f64 = 0.01;

/// The bytes of a file, wherever they are kept.
pub trait FileBytes {
    /// Formats that it may have.
    type Formats: Formats;

    /// Reads them all.
    ///
    /// # Errors
    /// If the file is gone or cannot be read.
    fn bytes(&self) -> Result<Cow<'_, [u8]>, ImageError>;
}

impl FileBytes for Vec<u8> {
    type Formats = AllFormats;

    fn bytes(&self) -> Result<Cow<'_, [u8]>, ImageError> {
        Ok(Cow::Borrowed(self))
    }
}

/// Where a slice comes from.
#[derive(Debug)]
enum Source<F> {
    /// A file as it was given, read anew for every slice.
    File(Arc<F>),
    /// A file out of an archive.
    Unpacked(Arc<Vec<u8>>),
    /// A DICOM file of several frames.
    Frames(Arc<DicomFile>),
    /// A volume.
    Volume(Arc<NiftiSlices>),
}

impl<F> Clone for Source<F> {
    fn clone(&self) -> Self {
        match self {
            Self::File(file) => Self::File(file.clone()),
            Self::Unpacked(bytes) => Self::Unpacked(bytes.clone()),
            Self::Frames(file) => Self::Frames(file.clone()),
            Self::Volume(volume) => Self::Volume(volume.clone()),
        }
    }
}

/// A slice of a series.
#[derive(Clone, Debug)]
pub struct SeriesSlice<F> {
    /// File name or path, with the frame's number where a file has several.
    pub name: String,
    /// What its file says of it.
    pub header: SliceHeader,
    /// CRC-32 of its file: with the name and the frame it tells whether this is still the same slice.
    pub checksum: u32,
    source: Source<F>,
}

impl<F: FileBytes> SeriesSlice<F> {
    /// Decodes it.
    ///
    /// # Errors
    /// If the file is gone, damaged, or not the one any more that was opened.
    pub fn read(&self) -> Result<RawSlice, ImageError> {
        let frame = self.header.frame;
        wall(
            || match &self.source {
                Source::Volume(volume) => F::Formats::read_volume(volume, frame),
                Source::Frames(file) => F::Formats::read_frame(file, frame),
                Source::Unpacked(bytes) => F::Formats::decode(bytes, frame),
                Source::File(file) => F::Formats::decode(&self.same_bytes(file)?, frame),
            },
            ImageError::broken,
        )
    }

    /// What DICOM objects refer to it by.
    ///
    /// # Errors
    /// If it comes from another format, or the file is gone, damaged, without identifiers, or not the one any
    /// more that was opened.
    pub fn dicom_source(&self) -> Result<DicomSource, ImageError> {
        let frame = self.header.frame;
        wall(
            || match &self.source {
                Source::Volume(_) => Err(ImageError::NotDicom),
                Source::Frames(file) => F::Formats::frame_source(file, frame),
                Source::Unpacked(bytes) => F::Formats::dicom_source(bytes, frame),
                Source::File(file) => F::Formats::dicom_source(&self.same_bytes(file)?, frame),
            },
            ImageError::broken,
        )
    }

    /// All elements of its file's header.
    ///
    /// # Errors
    /// If it comes from another format, or the file is gone, damaged, or not the one any more that was opened.
    pub fn header_elements(&self) -> Result<Vec<HeaderElement>, ImageError> {
        wall(
            || match &self.source {
                Source::Volume(_) => Err(ImageError::NotDicom),
                Source::Frames(file) => F::Formats::frame_header(file),
                Source::Unpacked(bytes) => F::Formats::dicom_header(bytes),
                Source::File(file) => F::Formats::dicom_header(&self.same_bytes(file)?),
            },
            ImageError::broken,
        )
    }

    /// The bytes of its file, if they are those that were opened.
    fn same_bytes<'a>(&self, file: &'a F) -> Result<Cow<'a, [u8]>, ImageError> {
        let bytes = file.bytes()?;
        if crc32fast::hash(&bytes) == self.checksum {
            return Ok(bytes);
        }
        Err(ImageError::Gone { reason: "it has changed since it was opened".into() })
    }
}

/// Slices that belong together, in order.
#[derive(Debug)]
pub struct Series<F> {
    /// What to call it: file, folder, or identifier.
    pub name: String,
    /// From the first to the last along the normal, or by name where nothing tells the place.
    pub slices: Vec<SeriesSlice<F>>,
    /// Millimetres between neighbours, if they lie evenly.
    pub distance_mm: Option<f64>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// All that was opened.
#[derive(Debug)]
pub struct Study<F> {
    /// The series, by name.
    pub series: Vec<Series<F>>,
    /// What could not be opened, and why.
    pub refused: Vec<(String, ImageError)>,
}

/// What keeps slices of one series apart from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// Pictures of one folder.
    Pictures { folder: String },
    /// DICOM slices of the same series, patient, study, frame of reference, size and orientation.
    Dicom { series: String, origin: [String; 3], size: (usize, usize), orientation: Vec<i64> },
    /// A file that is a series by itself.
    File { number: usize },
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
    groups: BTreeMap<Key, Vec<SeriesSlice<F>>>,
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
        let opened = wall(
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
        let opened = wall(|| F::Formats::open(&bytes, budget), ImageError::broken);
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
                true => Key::File { number },
                false => key(&name, &header),
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
            groups.into_iter().map(|(key, g)| arrange(key, g)).collect();
        series.sort_by(|a, b| natural(&a.name, &b.name));
        Study { series, refused }
    }
}

fn frame_name(name: &str, frame: usize, frames: usize) -> String {
    if frames == 1 { name.to_owned() } else { format!("{name}#{}", frame + 1) }
}

fn folder(name: &str) -> String {
    name.rfind(['/', '\\']).map(|end| name[..end].to_owned()).unwrap_or_default()
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

fn key(name: &str, header: &SliceHeader) -> Key {
    let is_dicom = header.series.is_some() || header.plane.is_some() || header.number.is_some();
    if !is_dicom {
        return Key::Pictures { folder: folder(name) };
    }
    let orientation = header.plane.iter().flat_map(|plane| {
        let vectors = plane.along_row.into_iter().chain(plane.along_column);
        vectors.map(|x| (x * 1000.0).round() as i64)
    });
    Key::Dicom {
        series: header.series.clone().unwrap_or_else(|| folder(name)),
        origin: header.origin.clone(),
        size: (header.width, header.height),
        orientation: orientation.collect(),
    }
}

fn arrange<F>(key: Key, mut slices: Vec<SeriesSlice<F>>) -> Series<F> {
    let mut warnings = Vec::new();
    // A map of the type that is there already: every other would be downloaded, too.
    let mut met: BTreeMap<String, usize> = BTreeMap::new();
    let mut copies = 0;
    for slice in &slices {
        if let Some(instance) = &slice.header.instance {
            let name = format!("{instance}#{}", slice.header.frame);
            copies += usize::from(met.insert(name, 0).is_some());
        }
    }
    if copies > 0 {
        warnings.push(format!("{copies} slices are in the series more than once"));
    }
    let planes: Option<Vec<Plane>> = slices.iter().map(|slice| slice.header.plane).collect();
    if planes.is_some() {
        let offset = |slice: &SeriesSlice<F>| slice.header.plane.map_or(0.0, |p| p.offset());
        slices.sort_by(|a, b| {
            offset(a).total_cmp(&offset(b)).then_with(|| natural(&a.name, &b.name))
        });
    } else {
        let numbered = slices.iter().all(|slice| slice.header.number.is_some());
        slices.sort_by(|a, b| {
            let by_name = natural(&a.name, &b.name);
            if numbered { a.header.number.cmp(&b.header.number).then(by_name) } else { by_name }
        });
        if slices.len() > 1 && !matches!(key, Key::Pictures { .. }) {
            let order = if numbered { "their numbers" } else { "their names" };
            warnings.push(format!(
                "the files do not say where the slices lie; they are in the order of {order}"
            ));
        }
    }
    let distance_mm = planes.and_then(|_| distance(&slices, &mut warnings));
    if let Some(warning) = slices.first().and_then(|s| s.header.plane).and_then(|p| p.warning()) {
        warnings.push(warning);
    }
    let file = |name: &str| name.rsplit_once('#').map_or(name, |(file, _)| file).to_owned();
    let name = match key {
        Key::File { .. } if slices.len() > 1 => file(&slices[0].name),
        Key::File { .. } => slices[0].name.clone(),
        Key::Pictures { folder } if !folder.is_empty() && slices.len() > 1 => folder,
        _ => match (folder(&slices[0].name), slices.len()) {
            (_, 1) => slices[0].name.clone(),
            (folder, _) if !folder.is_empty() => folder,
            (_, count) => format!("{} and {} more", slices[0].name, count - 1),
        },
    };
    Series { name, slices, distance_mm, warnings }
}

/// Distance between neighbours of slices sorted by place, if they lie evenly, straight above each other, all of
/// one spacing and orientation: else no volume can be made of them.
fn distance<F>(slices: &[SeriesSlice<F>], warnings: &mut Vec<String>) -> Option<f64> {
    let first = &slices.first()?.header;
    let plane = first.plane?;
    for SliceHeader { plane: other, spacing_mm, .. } in slices.iter().map(|slice| &slice.header) {
        let other = (*other)?;
        let reason = if !plane.is_parallel_to(&other) {
            "are turned against each other"
        } else if !is_same_spacing(*spacing_mm, first.spacing_mm) {
            "have pixels of different sizes"
        } else if plane.shift_to(&other) > SHIFTED_MM {
            "are shifted against each other"
        } else {
            continue;
        };
        warnings.push(format!("the slices {reason}, and volumes are not computed"));
        return None;
    }
    let offsets: Vec<f64> =
        slices.iter().filter_map(|slice| Some(slice.header.plane?.offset())).collect();
    let gaps: Vec<f64> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (least, most) = gaps
        .iter()
        .fold((f64::MAX, 0.0f64), |(least, most), gap| (least.min(*gap), most.max(*gap)));
    if gaps.is_empty() {
        return None;
    }
    if least < SAME_PLACE_MM {
        let same = gaps.iter().filter(|gap| **gap < SAME_PLACE_MM).count();
        warnings.push(format!("{} slices lie at the place of another", same));
        return None;
    }
    if most - least > EVEN * most {
        warnings.push(format!(
            "the slices lie from {least:.2} to {most:.2} mm apart; slices may be missing, and volumes are not computed"
        ));
        return None;
    }
    Some(offsets.last()? - offsets.first()?)
        .map(|length| length / gaps.len() as f64)
        .filter(|distance| distance.is_finite())
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

    fn place(origin: [f64; 3], spacing: f64) -> SliceHeader {
        let (along_row, along_column) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        let plane = Some(Plane { origin, along_row, along_column });
        SliceHeader { plane, spacing_mm: Some([spacing; 2]), ..SliceHeader::default() }
    }

    #[test]
    fn only_slices_that_lie_straight_above_each_other_make_a_volume() {
        let distance_of = |headers: Vec<SliceHeader>| {
            let slice = |header| SeriesSlice::<Vec<u8>> {
                name: String::new(),
                header,
                checksum: 0,
                source: Source::Unpacked(Arc::default()),
            };
            let mut warnings = Vec::new();
            let slices: Vec<_> = headers.into_iter().map(slice).collect();
            (distance(&slices, &mut warnings), warnings.join(" "))
        };
        let at = |x, z| place([x, 0.0, z], 0.7);
        assert_eq!(distance_of(vec![at(0.0, 0.0), at(0.0, 5.0), at(0.0, 10.0)]).0, Some(5.0));
        for (headers, words) in [
            (vec![at(0.0, 0.0), at(20.0, 5.0)], "shifted"),
            (vec![at(0.0, 0.0), place([0.0, 0.0, 5.0], 0.9)], "different sizes"),
            (vec![at(0.0, 0.0), at(0.0, 5.0), at(0.0, 40.0)], "mm apart"),
            (vec![at(0.0, -1.7e308), at(0.0, 1.7e308)], ""),
        ] {
            let (distance, warnings) = distance_of(headers);
            assert_eq!(distance, None, "{words}");
            assert!(warnings.contains(words), "{warnings}");
        }
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
