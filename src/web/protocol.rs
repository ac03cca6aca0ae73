//! Messages between the page and its worker.
//!
//! A message is a JavaScript object `{ message, buffer }`: the enum below, and bytes (a file, a
//! picture) beside it, so that they are moved and not copied.

use js_sys::{Array, Object, Reflect, Uint8Array};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue};

use crate::predict::report::{ModelsInfo, SliceReport};
use crate::predict::{Settings, Stage};

/// Page to worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Fetch, check and load a model, and check the device with it.
    Load {
        /// Name in the manifest; `None` for its default.
        model: Option<String>,
    },
    /// Predict one slice; the buffer holds the file.
    Predict {
        /// Number of the job.
        id: u32,
        /// File name.
        source: String,
        /// Thresholds.
        settings: Settings,
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
        /// Name of the model.
        model: String,
        /// Its parts.
        models: ModelsInfo,
        /// Licence of the weights.
        licence: String,
        /// What was downloaded.
        downloads: Vec<Download>,
    },
    /// The file was decoded; the buffer holds its grey values.
    Decoded {
        /// Number of the job.
        id: u32,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
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
    /// The file is no slice; the worker goes on.
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

/// Packs a message; returns it with the list of what is moved.
pub fn encode<T: Serialize>(
    message: &T,
    buffer: Option<&[u8]>,
) -> Result<(JsValue, Array), JsValue> {
    let envelope = Object::new();
    Reflect::set(&envelope, &"message".into(), &serde_wasm_bindgen::to_value(message)?)?;
    let moved = Array::new();
    if let Some(bytes) = buffer {
        let array = Uint8Array::from(bytes);
        moved.push(&array.buffer());
        Reflect::set(&envelope, &"buffer".into(), &array)?;
    }
    Ok((envelope.into(), moved))
}

/// Unpacks a message.
pub fn decode<T: DeserializeOwned>(envelope: &JsValue) -> Result<(T, Vec<u8>), JsValue> {
    let message = Reflect::get(envelope, &"message".into())?;
    let buffer = Reflect::get(envelope, &"buffer".into())?;
    let bytes = buffer.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default();
    Ok((serde_wasm_bindgen::from_value(message)?, bytes))
}
