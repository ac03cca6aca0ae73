//! What the page shows.

mod action;
mod display;
mod findings;

use std::collections::BTreeMap;
use std::rc::Rc;

use thiserror::Error;

use crate::image::Window;
use crate::image::decode::HeaderElement;
use crate::inference::{Settings, Stage};
use crate::report::correction::{CorrectionError, LesionId};
use crate::report::regions::RegionReference;
use crate::report::{Lesion, ModelsInfo, SliceReport};
use crate::web::editing::Editing;
use crate::web::edits::Edits;
use crate::web::messages::reader::OpenedStudy;
use crate::web::messages::worker::Download;
use crate::web::options::Device;
use crate::web::texts;

pub use self::action::Action;
pub use self::display::{Display, RenderedSections, RenderedSlice, Reslice, Step};

/// What the page is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// The worker's program is being fetched.
    Starting,
    /// Weights arrive: bytes so far, bytes in all.
    Loading {
        /// Bytes received so far.
        received: f64,
        /// Bytes in all.
        total: f64,
    },
    /// The device computes the start-up check.
    WarmingUp,
    /// Slices can come.
    Idle,
    /// Files are being opened.
    Opening {
        /// Number of files.
        files: usize,
        /// How many of them are behind the reader.
        done: usize,
    },
    /// A slice is being predicted.
    Running {
        /// Its number, counted through all series.
        slice: usize,
        /// The stage it is in.
        stage: Option<Stage>,
        /// Slices that no worker has yet.
        waiting: usize,
        /// Slices predicted at once.
        at_once: usize,
    },
    /// Nothing works.
    Broken,
}

/// The loaded model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelState {
    /// The device that computes.
    pub device: String,
    /// More about it.
    pub details: String,
    /// Name.
    pub name: String,
    /// Parts with their hashes.
    pub models: ModelsInfo,
    /// Licence of the weights.
    pub licence: String,
    /// Regions of labelled slices.
    pub regions: Option<Rc<RegionReference>>,
    /// What the worker downloaded.
    pub downloads: Vec<Download>,
    /// Names of all models of the site.
    pub models_of_site: Vec<String>,
}

/// A file's header cannot be listed, for a reason that its reader gave.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct NotListed(pub String);

/// The elements of a file, `None` if it is no DICOM file.
pub type FileHeader = Result<Option<Rc<Vec<HeaderElement>>>, NotListed>;

/// Names and values of a file's elements.
pub type Elements = Rc<Vec<(String, String)>>;

/// Everything shown.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// What is going on.
    pub phase: Phase,
    /// The model, once loaded.
    pub model: Option<ModelState>,
    /// Models of the site, once known: to choose from even while one loads, or if one does not.
    pub models_of_site: Rc<[String]>,
    /// Name of the one that computes or loads.
    pub chosen_model: Option<String>,
    /// The device that was asked for; `None` for the faster one.
    pub chosen_device: Option<Device>,
    /// What was opened.
    pub contents: Rc<OpenedStudy>,
    /// The slice to look at, counted through all series.
    pub shown: usize,
    /// The window to look at it with; `None` for the one that the network sees.
    pub window: Option<Window>,
    /// Its picture, once decoded.
    pub picture: Option<RenderedSlice>,
    /// The planes across its series; `None` if they are not looked at.
    pub reslice: Option<Reslice>,
    /// What was found, by slice, at every score.
    pub reports: Rc<BTreeMap<usize, Rc<SliceReport>>>,
    /// What was found on the shown slice over the threshold, as corrected; kept: the page asks for it at every movement.
    shown_report: Option<Rc<SliceReport>>,
    /// Which lesions those of the shown slice are.
    pub lesion_ids: Rc<[LesionId]>,
    /// Lesions of the shown slice that a reader rejected.
    pub rejected: Rc<[(LesionId, Lesion)]>,
    /// What a reader corrected.
    pub edits: Rc<Edits>,
    /// How the shown slice is being corrected; `None` if it is not.
    pub editing: Option<Editing>,
    /// Why the last correction was not made.
    pub correction_error: Option<CorrectionError>,
    /// Mask scores of every lesion of every report, 28 x 28 bytes each.
    pub scores: Rc<BTreeMap<usize, Rc<Vec<u8>>>>,
    /// Lesions with a lower score are left out.
    pub threshold: f32,
    /// What went wrong last.
    pub error: Option<String>,
    /// Everything that could not be read or computed of the open files.
    pub problems: Rc<Vec<String>>,
    /// What the user should know about this session, such as a change of device.
    pub notice: Option<String>,
    /// The lesion pointed at.
    pub highlighted: Option<usize>,
    /// How the slice is shown.
    pub display: Display,
    /// What the shown file holds that identifies people, once asked for.
    /// Within it: `None` if it is no DICOM file.
    pub identifying: Option<Option<Elements>>,
    /// The header of the shown file, once asked for.
    pub header: Option<FileHeader>,
    /// The model's card, once there.
    pub card: Option<Rc<str>>,
    /// Whether the last job was cancelled.
    pub cancelled: bool,
    /// Whether the queue is paused.
    pub paused: bool,
    /// The language that is spoken.
    pub language: &'static str,
}

impl Default for State {
    fn default() -> Self {
        Self {
            phase: Phase::Starting,
            model: None,
            models_of_site: Rc::default(),
            chosen_model: None,
            chosen_device: None,
            contents: Rc::default(),
            shown: 0,
            window: None,
            picture: None,
            reslice: None,
            reports: Rc::default(),
            shown_report: None,
            lesion_ids: Rc::default(),
            rejected: Rc::default(),
            edits: Rc::default(),
            editing: None,
            correction_error: None,
            scores: Rc::default(),
            threshold: Settings::default().score_threshold,
            error: None,
            problems: Rc::default(),
            notice: None,
            highlighted: None,
            display: Display::default(),
            identifying: None,
            header: None,
            card: None,
            cancelled: false,
            paused: false,
            language: texts::language(),
        }
    }
}

impl State {
    /// Whether slices are being predicted.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// The slice that a step leads to, within the shown series.
    pub fn step(&self, step: Step) -> Option<usize> {
        let (series, first) = self.contents.series_of(self.shown)?;
        let last = first + series.slices.len() - 1;
        Some(match step {
            Step::By(slices) => self.shown.saturating_add_signed(slices).clamp(first, last),
            Step::First => first,
            Step::Last => last,
        })
    }

    /// Milliseconds that a slice takes, from those that are done; `None` before the first.
    pub fn milliseconds_per_slice(&self) -> Option<f64> {
        let totals = self.reports.values().filter_map(|report| report.milliseconds.get("total"));
        let (count, sum) = totals.fold((0.0, 0.0), |(count, sum), ms| (count + 1.0, sum + ms));
        (count > 0.0).then(|| sum / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{CtSlice, Refusal};
    use crate::web::messages::reader::OpenedSeries;

    pub fn report() -> Rc<SliceReport> {
        let slice = CtSlice::new("slice", (1, 1), vec![0]);
        Rc::new(SliceReport::refused(&slice, Refusal::NoLung, BTreeMap::new()))
    }

    /// A page with two series of three and two slices, the first slice done.
    pub fn page() -> State {
        let series = |name: &str, slices: usize| OpenedSeries {
            name: name.into(),
            slices: (0..slices).map(|slice| format!("{name} {slice}")).collect(),
            checksums: vec![0; slices],
            distance_mm: None,
            is_dicom: false,
            warnings: Vec::new(),
        };
        let series = vec![series("a", 3), series("b", 2)];
        let mut state = State::default();
        state.apply(Action::Submitted { files: 5 });
        state.apply(Action::Opened(Rc::new(OpenedStudy { series, refused: Vec::new() })));
        state.apply(Action::Done { slice: 0, report: report(), scores: Rc::default() });
        state
    }

    #[test]
    fn a_step_stays_within_the_shown_series() {
        let mut state = page();
        assert_eq!(state.step(Step::By(-1)), Some(0));
        assert_eq!(state.step(Step::Last), Some(2));
        state.apply(Action::Show { slice: 4, window: None });
        assert_eq!((state.step(Step::First), state.step(Step::By(9))), (Some(3), Some(4)));
    }
}
