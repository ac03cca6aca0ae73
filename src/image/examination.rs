//! Files sorted into series of slices.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::decode::dicom_source::DicomSource;
use super::decode::nifti::NiftiSlices;
use super::decode::{AllFormats, Formats, Opened, archive};
use super::natural_order::natural;
use super::slice::{RawSlice, SliceHeader};
use super::{ImageError, Plane};

/// Share by which distances between slices may differ in an evenly spaced series.
const EVEN: f64 = 0.02;
/// Millimetres under which two slices lie at the same place.
const SAME_PLACE_MM: f64 = 0.01;

/// The bytes of a file, wherever they are kept.
pub trait FileBytes {
    /// Formats that it may have.
    type Formats: Formats;

    /// Reads them all.
    ///
    /// # Errors
    /// If the file is gone or cannot be read, in words.
    fn bytes(&self) -> Result<Cow<'_, [u8]>, String>;
}

impl FileBytes for Vec<u8> {
    type Formats = AllFormats;

    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
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
    /// A volume.
    Volume(Arc<NiftiSlices>),
}

impl<F> Clone for Source<F> {
    fn clone(&self) -> Self {
        match self {
            Self::File(file) => Self::File(file.clone()),
            Self::Unpacked(bytes) => Self::Unpacked(bytes.clone()),
            Self::Volume(volume) => Self::Volume(volume.clone()),
        }
    }
}

/// A slice of a series.
#[derive(Debug)]
pub struct SeriesSlice<F> {
    /// File name or path, with the frame's number where a file has several.
    pub name: String,
    /// What its file says of it.
    pub header: SliceHeader,
    source: Source<F>,
}

impl<F: FileBytes> SeriesSlice<F> {
    /// Decodes it.
    ///
    /// # Errors
    /// If the file is gone or damaged.
    pub fn read(&self) -> Result<RawSlice, ImageError> {
        let frame = self.header.frame;
        match &self.source {
            Source::Volume(volume) => F::Formats::read_volume(volume, frame),
            Source::Unpacked(bytes) => F::Formats::decode(bytes, frame),
            Source::File(file) => {
                let bytes = file.bytes().map_err(|reason| ImageError::Gone { reason })?;
                F::Formats::decode(&bytes, frame)
            }
        }
    }

    /// What DICOM objects refer to it by.
    ///
    /// # Errors
    /// If it comes from another format, or the file is gone, damaged or without identifiers.
    pub fn dicom_source(&self) -> Result<DicomSource, ImageError> {
        let frame = self.header.frame;
        match &self.source {
            Source::Volume(_) => Err(ImageError::NotDicom),
            Source::Unpacked(bytes) => F::Formats::dicom_source(bytes, frame),
            Source::File(file) => {
                let bytes = file.bytes().map_err(|reason| ImageError::Gone { reason })?;
                F::Formats::dicom_source(&bytes, frame)
            }
        }
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
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// All that was opened.
#[derive(Debug)]
pub struct Examination<F> {
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
    /// DICOM slices with the same identifier, size and orientation.
    Dicom { series: String, size: (usize, usize), orientation: Vec<i64> },
    /// A file that is a series by itself.
    File { name: String },
}

impl<F: FileBytes> Examination<F> {
    /// Opens files, each with its name or path.
    pub fn open(files: impl IntoIterator<Item = (String, F)>) -> Self {
        let mut groups: BTreeMap<Key, Vec<SeriesSlice<F>>> = BTreeMap::new();
        let mut refused = Vec::new();
        let mut add =
            |name: String, opened: Result<Opened, ImageError>, source: Source<F>| match opened {
                Ok(Opened::Slices(headers)) => {
                    let frames = headers.len();
                    for header in headers {
                        let key = key(&name, &header, frames);
                        let name = frame_name(&name, header.frame, frames);
                        let slice = SeriesSlice { name, header, source: source.clone() };
                        groups.entry(key).or_default().push(slice);
                    }
                }
                Ok(Opened::Volume(volume)) => {
                    let (headers, source) = (volume.headers(), Source::Volume(Arc::from(volume)));
                    let frames = headers.len();
                    let slices = headers.into_iter().map(|header| SeriesSlice {
                        name: frame_name(&name, header.frame, frames),
                        header,
                        source: source.clone(),
                    });
                    groups.entry(Key::File { name: name.clone() }).or_default().extend(slices);
                }
                Ok(Opened::Archive(_)) => refused.push((name, ImageError::Nested)),
                Err(error) => refused.push((name, error)),
            };
        for (name, file) in files {
            let opened = match file.bytes() {
                Ok(bytes) => F::Formats::open(&bytes),
                Err(reason) => Err(ImageError::Gone { reason }),
            };
            if let Ok(Opened::Archive(members)) = opened {
                for (member, bytes) in members {
                    // Not even unpacked: it could hold others without end.
                    let opened = match archive::is_zip(&bytes) {
                        true => Err(ImageError::Nested),
                        false => F::Formats::open(&bytes),
                    };
                    add(format!("{name}/{member}"), opened, Source::Unpacked(Arc::new(bytes)));
                }
            } else {
                add(name, opened, Source::File(Arc::new(file)));
            }
        }
        let mut series: Vec<Series<F>> =
            groups.into_iter().map(|(key, g)| arrange(key, g)).collect();
        series.sort_by(|a, b| natural(&a.name, &b.name));
        Self { series, refused }
    }

    /// Number of slices in all series.
    pub fn slices(&self) -> usize {
        self.series.iter().map(|series| series.slices.len()).sum()
    }
}

fn frame_name(name: &str, frame: usize, frames: usize) -> String {
    if frames == 1 { name.to_owned() } else { format!("{name}#{}", frame + 1) }
}

fn folder(name: &str) -> String {
    name.rfind(['/', '\\']).map(|end| name[..end].to_owned()).unwrap_or_default()
}

fn key(name: &str, header: &SliceHeader, frames: usize) -> Key {
    if frames > 1 {
        return Key::File { name: name.to_owned() };
    }
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
        size: (header.width, header.height),
        orientation: orientation.collect(),
    }
}

fn arrange<F>(key: Key, mut slices: Vec<SeriesSlice<F>>) -> Series<F> {
    let mut warnings = Vec::new();
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
    let name = match key {
        Key::File { name } => name,
        Key::Pictures { folder } if !folder.is_empty() && slices.len() > 1 => folder,
        _ => match (folder(&slices[0].name), slices.len()) {
            (_, 1) => slices[0].name.clone(),
            (folder, _) if !folder.is_empty() => folder,
            (_, count) => format!("{} and {} more", slices[0].name, count - 1),
        },
    };
    Series { name, slices, distance_mm, warnings }
}

/// Distance between neighbours of slices sorted by place.
fn distance<F>(slices: &[SeriesSlice<F>], warnings: &mut Vec<String>) -> Option<f64> {
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
    Some(offsets.last()? - offsets.first()?).map(|length| length / gaps.len() as f64)
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
        let found = Examination::open(files);
        assert_eq!(found.series.len(), 2);
        assert_eq!(names(&found.series[0]), ["a/2.png", "a/10.png"]);
        assert_eq!(found.series[1].name, "b/1.png");
    }

    #[test]
    fn what_is_no_slice_is_named_and_the_rest_is_opened() {
        let files = [("x.txt".to_owned(), b"hello".to_vec()), ("y.png".to_owned(), png(40))];
        let found = Examination::open(files);
        assert_eq!(found.slices(), 1);
        assert_eq!(found.refused[0].0, "x.txt");
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
        let found = Examination::open([("outer.zip".to_owned(), outer)]);
        assert_eq!(found.slices(), 0);
        assert!(matches!(found.refused[0].1, ImageError::Nested), "{:?}", found.refused);
    }
}
