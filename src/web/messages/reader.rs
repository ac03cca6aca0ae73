//! Messages between the page and the reader, which knows files and no network.

use serde::{Deserialize, Serialize};

use crate::export::Format;
use crate::export::dicom::Identity;
use crate::export::session_file::{SessionFile, SliceKey};
use crate::image::decode::HeaderElement;
use crate::image::sections::Sections;
use crate::image::slice::Values;
use crate::image::{CtSlice, Plane, Warning, Window};
use crate::report::{FileError, Report};

/// Page to reader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Open files, which come beside the message.
    Open {
        /// Number of the batch.
        batch: u32,
        /// Their names or paths.
        names: Vec<String>,
        /// Files that broke a reader before, by place, and why: they are refused unread.
        refused: Vec<(usize, String)>,
    },
    /// Send the grey values of a slice.
    Show {
        /// Number of the batch.
        batch: u32,
        /// Which, counted through all series.
        slice: usize,
        /// Window for Hounsfield units; `None` for the one that the network sees.
        window: Option<Window>,
    },
    /// Send the planes across the series of a slice, with as many of its slices as can be read at once.
    Reslice {
        /// Number of the batch.
        batch: u32,
        /// The slice, counted through all series.
        slice: usize,
        /// Column and row of its pixels where the planes lie.
        at: (usize, usize),
        /// Window for Hounsfield units; `None` for the one that the network sees.
        window: Option<Window>,
    },
    /// No planes are looked at any more: what was read for them is not needed.
    EndReslicing,
    /// Send a slice as the network sees it.
    Prepare {
        /// Number of the batch.
        batch: u32,
        /// Which, counted through all series.
        slice: usize,
    },
    /// Write a file.
    Export {
        /// Number of the batch.
        batch: u32,
        /// What kind.
        format: Format,
        /// What it says.
        report: Box<Report>,
        /// Number of every slice of the report, counted through all series.
        slices: Vec<usize>,
        /// Name to be called after.
        name: String,
        /// Whether patient and study go into DICOM objects.
        identity: Identity,
        /// The model card, for the report to read.
        card: Option<String>,
        /// Window that CT is shown through in pictures; `None` for the one that the network sees.
        window: Option<Window>,
    },
    /// Read a session file, which comes beside the message.
    OpenSession {
        /// Number of the batch.
        batch: u32,
        /// Its name.
        name: String,
    },
    /// Write a session file.
    SaveSession {
        /// Number of the batch.
        batch: u32,
        /// What it holds.
        session: Box<SessionFile>,
        /// Name to be called after.
        name: String,
    },
    /// List all elements of the file of a slice.
    ListHeader {
        /// Number of the batch.
        batch: u32,
        /// Which, counted through all series.
        slice: usize,
    },
    /// List what the file of a slice holds that identifies people.
    Identify {
        /// Number of the batch.
        batch: u32,
        /// Which, counted through all series.
        slice: usize,
    },
}

/// A series of the opened files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenedSeries {
    /// What to call it.
    pub name: String,
    /// Names of its slices, in order.
    pub slices: Vec<String>,
    /// Checksums of their files.
    pub checksums: Vec<u32>,
    /// Millimetres between them, if they lie evenly.
    pub distance_mm: Option<f64>,
    /// Whether DICOM objects can refer to them.
    pub is_dicom: bool,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

/// What was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenedStudy {
    /// The series; slices are counted through all of them.
    pub series: Vec<OpenedSeries>,
    /// What could not be opened.
    pub refused: Vec<FileError>,
}

impl OpenedStudy {
    /// Number of slices in all series.
    pub fn slices(&self) -> usize {
        self.series.iter().map(|series| series.slices.len()).sum()
    }

    /// The series of a slice, and the number of the series' first slice.
    pub fn series_of(&self, slice: usize) -> Option<(&OpenedSeries, usize)> {
        let mut first = 0;
        for series in &self.series {
            if slice < first + series.slices.len() {
                return Some((series, first));
            }
            first += series.slices.len();
        }
        None
    }

    /// What tells each slice, in order.
    pub fn keys(&self) -> Vec<SliceKey> {
        let mut keys: Vec<SliceKey> = Vec::with_capacity(self.slices());
        for checksum in self.series.iter().flat_map(|series| &series.checksums) {
            let place = keys.iter().filter(|known| known.checksum == *checksum).count();
            keys.push(SliceKey { checksum: *checksum, place });
        }
        keys
    }

    /// Name of a slice.
    pub fn name(&self, slice: usize) -> &str {
        self.series_of(slice).map_or("", |(series, first)| &series.slices[slice - first])
    }

    /// The middle slice of the longest series: it says most about an examination.
    pub fn middle(&self) -> Option<usize> {
        let mut first = 0;
        let mut longest: Option<(usize, usize)> = None;
        for series in &self.series {
            let length = series.slices.len();
            if longest.is_none_or(|(known, _)| length > known) {
                longest = Some((length, first + length / 2));
            }
            first += length;
        }
        longest.map(|(_, middle)| middle)
    }
}

/// A slice to look at, but for its pixels, which travel beside the message.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownSlice {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Window that it is shown through; `None` for a picture, which has its window in it.
    pub window: Option<Window>,
    /// Window that the file asks for.
    pub file_window: Option<Window>,
    /// Millimetres between rows and between columns.
    pub spacing_mm: Option<[f64; 2]>,
    /// Whether the values are Hounsfield units.
    pub says_hounsfield: bool,
    /// Where it lies in the patient, if its file tells.
    pub plane: Option<Plane>,
}

/// A slice's values as they travel behind its grey ones, if it has others: rounded, 16 bits, little endian.
pub fn value_bytes(values: &Values) -> Vec<u8> {
    match values {
        Values::Grey(_) => Vec::new(),
        Values::Hounsfield(values) => {
            values.iter().flat_map(|value| (value.round() as i16).to_le_bytes()).collect()
        }
    }
}

/// The grey values of a slice of so many pixels, and what lies behind them ([`value_bytes`]).
pub fn split_values(mut bytes: Vec<u8>, pixels: usize) -> (Vec<u8>, Option<Vec<i16>>) {
    let values = (bytes.len() == 3 * pixels).then(|| {
        let (values, _) = bytes[pixels..].as_chunks::<2>();
        values.iter().map(|value| i16::from_le_bytes(*value)).collect()
    });
    bytes.truncate(pixels);
    (bytes, values)
}

/// Reader to page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The program runs and listens.
    Started,
    /// Some of the files are left to the reader of every format.
    NeedsAllFormats {
        /// Number of the batch.
        batch: u32,
    },
    /// The reader is at work.
    Busy,
    /// A file is about to be opened.
    Opening {
        /// Number of the batch.
        batch: u32,
        /// Its place among the files; their number once all are opened and sorted into series.
        file: usize,
    },
    /// Files were opened.
    Opened {
        /// Number of the batch.
        batch: u32,
        /// What is in them.
        contents: OpenedStudy,
        /// The session file that was among them.
        session: Option<Box<SessionFile>>,
    },
    /// A session file was read.
    SessionOpened {
        /// Number of the batch.
        batch: u32,
        /// What it holds.
        session: Box<SessionFile>,
    },
    /// A session file cannot be used.
    SessionRefused {
        /// Number of the batch.
        batch: u32,
        /// The reason.
        message: String,
    },
    /// A slice to look at; the buffer holds its grey values, and behind them those of CT ([`value_bytes`]).
    Shown {
        /// Number of the batch.
        batch: u32,
        /// Number of the slice, counted through all series.
        slice: usize,
        /// Window that was asked for.
        chosen: Option<Window>,
        /// The rest of it.
        shown: ShownSlice,
    },
    /// A slice cannot be shown.
    NotShown {
        /// Number of the batch.
        batch: u32,
        /// Number of the slice, counted through all series.
        slice: usize,
        /// The reason.
        message: String,
    },
    /// Planes across a series; the buffer holds the grey values of the one through a row, and behind them those of the
    /// one through a column. While slices are missing, the next question adds some.
    Resliced {
        /// Number of the batch.
        batch: u32,
        /// Number of the series' first slice, counted through all series.
        first: usize,
        /// How many of its slices are in them.
        read: usize,
        /// Where they lie.
        sections: Sections,
    },
    /// A series is not cut.
    NotResliced {
        /// Number of the batch.
        batch: u32,
        /// Number of the series' first slice, counted through all series.
        first: usize,
        /// The reason.
        message: String,
    },
    /// A slice for the network; the buffer holds its grey values.
    Prepared {
        /// Number of the batch.
        batch: u32,
        /// Number of the slice, counted through all series.
        slice: usize,
        /// The rest of it.
        prepared: CtSlice,
    },
    /// A slice cannot be read.
    NotPrepared {
        /// Number of the batch.
        batch: u32,
        /// Number of the slice, counted through all series.
        slice: usize,
        /// The reason.
        message: String,
    },
    /// What the file of a slice holds that identifies people.
    Identified {
        /// Number of the batch.
        batch: u32,
        /// Which slice was asked about.
        slice: usize,
        /// Name and value of each element; `None` for files other than DICOM.
        elements: Option<Vec<(String, String)>>,
    },
    /// All elements of the file of a slice.
    Header {
        /// Number of the batch.
        batch: u32,
        /// Which slice was asked about.
        slice: usize,
        /// The elements; `None` for files other than DICOM.
        elements: Option<Vec<HeaderElement>>,
    },
    /// What a file holds cannot be said.
    NotListed {
        /// Number of the batch.
        batch: u32,
        /// Which slice was asked about.
        slice: usize,
        /// The reason.
        message: String,
    },
    /// A file to save; the buffer holds it.
    Exported {
        /// Its name.
        name: String,
        /// Its media type.
        media_type: String,
    },
    /// A file could not be written.
    NotExported {
        /// The reason.
        message: String,
    },
    /// The reader cannot continue; another must take over.
    Failed {
        /// The reason.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_one_file_are_told_by_their_order() {
        let series = |checksums: &[u32]| OpenedSeries {
            name: String::new(),
            slices: vec![String::new(); checksums.len()],
            checksums: checksums.to_vec(),
            distance_mm: None,
            is_dicom: false,
            warnings: Vec::new(),
        };
        let series = vec![series(&[7, 8, 7]), series(&[8, 9])];
        let study = OpenedStudy { series, refused: Vec::new() };
        let keys: Vec<_> = study.keys().iter().map(|key| (key.checksum, key.place)).collect();
        assert_eq!(keys, [(7, 0), (8, 0), (7, 1), (8, 1), (9, 0)]);
    }

    #[test]
    fn values_travel_behind_the_grey_ones() {
        let pixels = vec![1, 2, 3];
        let values = Values::Hounsfield(vec![-1024.4, 0.6, 40000.0]);
        let sent = |values| [pixels.clone(), value_bytes(values)].concat();
        let units = Some(vec![-1024, 1, i16::MAX]);
        assert_eq!(split_values(sent(&values), 3), (pixels.clone(), units));
        assert_eq!(split_values(sent(&Values::Grey(pixels.clone())), 3), (pixels.clone(), None));
    }
}
