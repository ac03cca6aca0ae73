//! What the page shows, and how it changes.

use std::rc::Rc;

use yew::Reducible;

use super::protocol::Download;
use crate::predict::Stage;
use crate::predict::report::{ModelsInfo, SliceReport};

/// A slice on the canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// File name.
    pub source: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Grey values, row-major.
    pub pixels: Rc<Vec<u8>>,
}

/// What the page is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// The worker's program is being fetched.
    Starting,
    /// Weights arrive: bytes so far, bytes in all.
    Loading {
        /// So far.
        received: f64,
        /// In all.
        total: f64,
    },
    /// The device computes the start-up check.
    WarmingUp,
    /// Slices can come.
    Idle,
    /// A slice is being predicted.
    Running {
        /// Its number.
        id: u32,
        /// The stage it is in.
        stage: Option<Stage>,
    },
    /// Nothing works.
    Broken,
}

/// The loaded model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelState {
    /// What computes.
    pub device: String,
    /// Name.
    pub name: String,
    /// Parts with their hashes.
    pub models: ModelsInfo,
    /// Licence of the weights.
    pub licence: String,
    /// What the worker downloaded.
    pub downloads: Vec<Download>,
}

/// Everything shown.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What is going on.
    pub phase: Phase,
    /// The model, once loaded.
    pub model: Option<ModelState>,
    /// The slice, once decoded.
    pub picture: Option<Picture>,
    /// What was found on it.
    pub report: Option<Rc<SliceReport>>,
    /// What went wrong last.
    pub error: Option<String>,
    /// What the reader should know about this session, such as a change of device.
    pub notice: Option<String>,
    /// The lesion pointed at.
    pub highlighted: Option<usize>,
    /// Opacity of the masks, 0 to 1.
    pub opacity: f64,
    /// Whether the last job was cancelled.
    pub cancelled: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            phase: Phase::Starting,
            model: None,
            picture: None,
            report: None,
            error: None,
            notice: None,
            highlighted: None,
            opacity: 0.35,
            cancelled: false,
        }
    }
}

/// Something happened.
#[derive(Clone, Debug)]
pub enum Action {
    /// Another phase began.
    Phase(Phase),
    /// The model is loaded and its device checked.
    Ready(ModelState),
    /// A file was given to the worker.
    Submitted {
        /// Its number.
        id: u32,
    },
    /// The worker decoded it.
    Decoded(Picture),
    /// The worker is done with it.
    Done(Rc<SliceReport>),
    /// It was cancelled.
    Cancelled,
    /// It could not be used; the page goes on.
    Refused(String),
    /// Nothing can be computed.
    Broken(String),
    /// Something to know.
    Notice(String),
    /// A lesion is pointed at, or none.
    Highlight(Option<usize>),
    /// Another opacity of the masks.
    Opacity(f64),
}

impl Reducible for State {
    type Action = Action;

    fn reduce(self: Rc<Self>, action: Action) -> Rc<Self> {
        let mut state = (*self).clone();
        match action {
            Action::Phase(phase) => state.phase = phase,
            Action::Ready(model) => {
                state.model = Some(model);
                state.phase = Phase::Idle;
            }
            Action::Submitted { id } => {
                state.phase = Phase::Running { id, stage: None };
                state.picture = None;
                state.report = None;
                state.error = None;
                state.highlighted = None;
                state.cancelled = false;
            }
            Action::Decoded(picture) => state.picture = Some(picture),
            Action::Done(report) => {
                state.report = Some(report);
                state.phase = Phase::Idle;
            }
            Action::Cancelled => {
                state.phase = Phase::Idle;
                state.cancelled = true;
            }
            Action::Refused(message) => {
                state.error = Some(message);
                state.phase = Phase::Idle;
            }
            Action::Broken(message) => {
                state.error = Some(message);
                state.phase = Phase::Broken;
            }
            Action::Notice(notice) => state.notice = Some(notice),
            Action::Highlight(lesion) => state.highlighted = lesion,
            Action::Opacity(opacity) => state.opacity = opacity,
        }
        Rc::new(state)
    }
}
