//! Messages between the page and its worker.
//!
//! A message is a JavaScript object `{ message, buffer, files }`: the enum below, and bytes beside it, so
//! that they are moved and not copied, or the visitor's files, which are read where they are needed.

use js_sys::{Array, Object, Reflect, Uint8Array};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::File;

use crate::export::Format;
use crate::export::dicom::Identity;
use crate::image::Window;
use crate::predict::regions::RegionReference;
use crate::predict::report::{FileError, ModelsInfo, Report, SliceReport};
use crate::predict::{Settings, Stage};

/// Page to worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Fetch, check and load a model, and check the device with it.
    Load {
        /// Name in the manifest; `None` for its default.
        model: Option<String>,
    },
    /// Open files, which come beside the message.
    Open {
        /// Number of the batch.
        batch: u32,
        /// Their names or paths.
        names: Vec<String>,
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
    /// Predict one slice.
    Predict {
        /// Number of the job.
        id: u32,
        /// Which, counted through all series.
        slice: usize,
        /// Thresholds.
        settings: Settings,
    },
    /// Write a file.
    Export {
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
    },
    /// List what the file of a slice holds that identifies people.
    Identify {
        /// Number of the batch.
        batch: u32,
        /// Which, counted through all series.
        slice: usize,
    },
    /// Stop a job.
    Cancel {
        /// Number of the job.
        id: u32,
    },
}

/// Something the worker downloaded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Download {
    /// Last part of its address.
    pub name: String,
    /// Bytes after decompression.
    pub decoded_bytes: f64,
    /// Bytes as sent; 0 if they came from a cache.
    pub transferred_bytes: f64,
}

/// A series of the opened files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesContents {
    /// What to call it.
    pub name: String,
    /// Names of its slices, in order.
    pub slices: Vec<String>,
    /// Millimetres between them, if they lie evenly.
    pub distance_mm: Option<f64>,
    /// Whether DICOM objects can refer to them.
    pub is_dicom: bool,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// What was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// The series; slices are counted through all of them.
    pub series: Vec<SeriesContents>,
    /// What could not be opened.
    pub refused: Vec<FileError>,
}

impl Contents {
    /// Number of slices in all series.
    pub fn slices(&self) -> usize {
        self.series.iter().map(|series| series.slices.len()).sum()
    }

    /// The series of a slice, and the number of the series' first slice.
    pub fn series_of(&self, slice: usize) -> Option<(&SeriesContents, usize)> {
        let mut first = 0;
        for series in &self.series {
            if slice < first + series.slices.len() {
                return Some((series, first));
            }
            first += series.slices.len();
        }
        None
    }

    /// Name of a slice.
    pub fn name(&self, slice: usize) -> &str {
        self.series_of(slice).map_or("", |(series, first)| &series.slices[slice - first])
    }
}

/// Worker to page.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The program runs and listens.
    Started,
    /// Weights arrive.
    Loading {
        /// Bytes so far.
        received: f64,
        /// Bytes in all.
        total: f64,
    },
    /// The weights are there; the device is being checked.
    WarmingUp,
    /// Slices can come.
    Ready {
        /// What computes.
        device: String,
        /// More about it, for reports of faults.
        details: String,
        /// Name of the model.
        model: String,
        /// Its parts.
        models: ModelsInfo,
        /// Licence of the weights.
        licence: String,
        /// Regions of labelled slices, to compare a slice with.
        regions: Option<Box<RegionReference>>,
        /// What was downloaded.
        downloads: Vec<Download>,
    },
    /// Files were opened.
    Opened {
        /// Number of the batch.
        batch: u32,
        /// What is in them.
        contents: Contents,
    },
    /// A slice to look at; the buffer holds its grey values.
    Shown {
        /// Number of the batch.
        batch: u32,
        /// Which.
        slice: usize,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Window that was asked for.
        chosen: Option<Window>,
        /// Window that it is shown through; `None` for a picture, which has its window in it.
        window: Option<Window>,
        /// Window that the file asks for.
        given: Option<Window>,
    },
    /// What the file of a slice holds that identifies people.
    Identified {
        /// Number of the batch.
        batch: u32,
        /// Name and value of each element; `None` for files other than DICOM.
        elements: Option<Vec<(String, String)>>,
    },
    /// A slice cannot be shown.
    NotShown {
        /// Number of the batch.
        batch: u32,
        /// Which.
        slice: usize,
        /// Why.
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
        /// Why.
        message: String,
    },
    /// A stage begins.
    Stage {
        /// Number of the job.
        id: u32,
        /// Which.
        stage: Stage,
    },
    /// The job is done.
    Done {
        /// Number of the job.
        id: u32,
        /// What was found.
        report: Box<SliceReport>,
    },
    /// The job was cancelled.
    Cancelled {
        /// Number of the job.
        id: u32,
    },
    /// The slice cannot be read; the worker goes on.
    Refused {
        /// Number of the job.
        id: u32,
        /// Why.
        message: String,
    },
    /// The model cannot be used on any device.
    LoadFailed {
        /// Why.
        message: String,
    },
    /// The device cannot be trusted any more; another worker must take over.
    DeviceFailed {
        /// Why.
        message: String,
    },
}

/// What travels beside a message.
pub enum Beside<'a> {
    /// Nothing.
    Nothing,
    /// Bytes.
    Bytes(&'a [u8]),
    /// Files that the visitor chose.
    Files(&'a [File]),
}

/// Packs a message; returns it with the list of what is moved.
pub fn encode<T: Serialize>(message: &T, beside: Beside<'_>) -> Result<(JsValue, Array), JsValue> {
    let envelope = Object::new();
    // Maps are plain objects on the other side, too.
    let message = message.serialize(&serde_wasm_bindgen::Serializer::json_compatible())?;
    Reflect::set(&envelope, &"message".into(), &message)?;
    let moved = Array::new();
    match beside {
        Beside::Nothing => {}
        Beside::Bytes(bytes) => {
            let array = Uint8Array::from(bytes);
            moved.push(&array.buffer());
            Reflect::set(&envelope, &"buffer".into(), &array)?;
        }
        Beside::Files(files) => {
            let list: Array = files.iter().collect();
            Reflect::set(&envelope, &"files".into(), &list)?;
        }
    }
    Ok((envelope.into(), moved))
}

/// A message unpacked.
pub struct Envelope<T> {
    /// The message.
    pub message: T,
    /// Bytes beside it; empty without.
    pub bytes: Vec<u8>,
    /// Files beside it; empty without.
    pub files: Vec<File>,
}

/// Unpacks a message.
pub fn decode<T: DeserializeOwned>(envelope: &JsValue) -> Result<Envelope<T>, JsValue> {
    let get = |key: &str| Reflect::get(envelope, &key.into());
    let (message, buffer, files) = (get("message")?, get("buffer")?, get("files")?);
    let files = files.dyn_ref::<Array>().map(|files| files.iter().collect::<Vec<_>>());
    Ok(Envelope {
        message: serde_wasm_bindgen::from_value(message)?,
        bytes: buffer.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default(),
        files: files.into_iter().flatten().filter_map(|file| file.dyn_into().ok()).collect(),
    })
}
