//! Messages between the page and a worker, which knows the network and no files.

use serde::{Deserialize, Serialize};

use crate::image::CtSlice;
use crate::inference::{Settings, Stage};
use crate::report::regions::RegionReference;
use crate::report::{ModelsInfo, SliceReport};

/// Page to worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Fetch, check and load a model, and check the device with it.
    Load {
        /// Address of the models' folder.
        models: String,
        /// Name in the manifest; `None` for its default.
        model: Option<String>,
    },
    /// Load a model of the user's, whose file comes beside the message.
    LoadFile {
        /// Its name.
        name: String,
    },
    /// Predict a slice, whose grey values come beside the message.
    Predict {
        /// Number of the job.
        id: u32,
        /// The slice.
        slice: Box<CtSlice>,
        /// Thresholds.
        settings: Settings,
    },
    /// Stop a job.
    Cancel {
        /// Number of the job.
        id: u32,
    },
}

/// Something a program downloaded.
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
        /// The device that computes.
        device: String,
        /// More about it, for reports of faults.
        details: String,
        /// Name of the model.
        model: String,
        /// Its parts.
        models: Box<ModelsInfo>,
        /// Licence of the weights.
        licence: String,
        /// Regions of labelled slices, to compare a slice with.
        regions: Option<Box<RegionReference>>,
        /// What was downloaded.
        downloads: Vec<Download>,
        /// Names of all models in the manifest.
        models_of_site: Vec<String>,
    },
    /// A stage begins.
    Stage {
        /// Number of the job.
        id: u32,
        /// The stage.
        stage: Stage,
    },
    /// The job is done; the buffer holds the mask scores of each lesion, 28 x 28 bytes from 0 to 255.
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
    /// The model cannot be used on any device.
    LoadFailed {
        /// The reason.
        message: String,
    },
    /// The device cannot be trusted any more; another worker must take over.
    Failed {
        /// The reason.
        message: String,
    },
}
