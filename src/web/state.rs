//! What the page shows, and how it changes.

use std::collections::BTreeMap;
use std::rc::Rc;

use thiserror::Error;

use crate::image::Window;
use crate::image::decode::HeaderElement;
use crate::inference::{Settings, Stage};
use crate::report::corrections::{
    Corrected, Correction, CorrectionError, LesionId, SliceCorrections,
};
use crate::report::regions::RegionReference;
use crate::report::{Lesion, ModelsInfo, Report, SeriesReport, SliceReport};
use crate::web::editing::Editing;
use crate::web::edits::Edits;
use crate::web::messages::reader::{OpenedStudy, ShownSlice};
use crate::web::messages::worker::Download;
use crate::web::options::Device;
use crate::web::texts::{self, counted};
use crate::web::view::View;

/// A slice on the canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedSlice {
    /// File name.
    pub source: String,
    /// Its number, counted through all series.
    pub slice: usize,
    /// Grey values, row-major.
    pub pixels: Rc<Vec<u8>>,
    /// The file's values, row-major; `None` for a picture.
    pub values: Option<Rc<Vec<i16>>>,
    /// Size, windows, spacing.
    pub shown: ShownSlice,
}

/// How a slice is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Display {
    /// The part to look at.
    pub view: View,
    /// Whether lesions are drawn.
    pub overlay: bool,
    /// Whether their masks are filled.
    pub filled: bool,
    /// Opacity of filled masks, 0 to 1.
    pub opacity: f64,
    /// Whether the mask scores are shown beside it.
    pub scores: bool,
    /// Whether the lungs are outlined.
    pub lungs: bool,
}

impl Default for Display {
    fn default() -> Self {
        Self {
            view: View::default(),
            overlay: true,
            filled: true,
            opacity: 0.35,
            scores: false,
            lungs: false,
        }
    }
}

/// A way through the slices of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many on, or back.
    By(isize),
    /// To the first.
    First,
    /// To the last.
    Last,
}

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

/// What changes the state.
#[derive(Clone, Debug)]
pub enum Action {
    /// Another phase began.
    Phase(Phase),
    /// The model is loaded and its device checked.
    Ready(Box<ModelState>),
    /// Another model of this name computes from now on.
    ModelChosen(String),
    /// Another device computes from now on.
    DeviceChosen(Option<Device>),
    /// Files were chosen.
    Submitted {
        /// Number of files.
        files: usize,
    },
    /// One of them is about to be opened.
    Opening {
        /// Its place.
        file: usize,
        /// Of how many.
        files: usize,
    },
    /// All of them were opened.
    Opened(Rc<OpenedStudy>),
    /// Another slice, or another window, is wanted.
    Show {
        /// Number of the slice.
        slice: usize,
        /// Through which window.
        window: Option<Window>,
    },
    /// Its picture is there.
    Shown(RenderedSlice),
    /// Slices were chosen to be predicted.
    Queued,
    /// A slice is done.
    Done {
        /// Number of the slice.
        slice: usize,
        /// What was found.
        report: Rc<SliceReport>,
        /// Its mask scores.
        scores: Rc<Vec<u8>>,
    },
    /// It was cancelled.
    Cancelled,
    /// What runs is finished, what waited is not begun.
    Paused,
    /// A slice could not be used; the page continues.
    Refused(String),
    /// Something else did not work; the page continues.
    Failed(String),
    /// Nothing can be computed.
    Broken(String),
    /// Something to know.
    Notice(String),
    /// A lesion is pointed at, or none.
    Highlight(Option<usize>),
    /// The slice is shown differently.
    Display(Display),
    /// A file's elements that identify people; `None` if it is no DICOM file.
    Identified {
        /// The slice that was asked about.
        slice: usize,
        /// Names and values.
        elements: Option<Vec<(String, String)>>,
    },
    /// The elements of a file.
    Header {
        /// The slice that was asked about.
        slice: usize,
        /// The elements; `None` if it is no DICOM file.
        elements: Result<Option<Vec<HeaderElement>>, NotListed>,
    },
    /// Nothing is opened or runs any more.
    Settled,
    /// The card of a model.
    Card {
        /// Name of the model.
        model: String,
        /// Its card.
        card: Rc<str>,
    },
    /// Another score threshold.
    Threshold(f32),
    /// The shown slice is corrected in another way, or no longer.
    Edit(Option<Editing>),
    /// A correction of the shown slice.
    Correct(Correction),
    /// The last correction is taken back.
    Undo,
    /// What was taken back last is made again.
    Redo,
    /// Another language is spoken.
    Language(&'static str),
}

/// What could not be opened, in one text.
fn refusals(contents: &OpenedStudy) -> Option<String> {
    let refused = &contents.refused;
    let (first, rest) = refused.split_first()?;
    let first = format!("{}: {}", first.source, first.message);
    match rest.len() {
        0 => Some(first),
        count => Some(counted!("session.more_refused", count, first = first).to_string()),
    }
}

impl State {
    /// Whether slices are being predicted.
    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    /// Nothing of the user's is at work any more; a device that still starts, or is broken, stays so.
    fn settle(&mut self) {
        if matches!(self.phase, Phase::Opening { .. } | Phase::Running { .. }) {
            self.phase = Phase::Idle;
        }
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

    /// What was found on a slice, whose report at every score is `report`, over the threshold and as corrected.
    fn corrected(&self, slice: usize, report: &SliceReport) -> Corrected {
        let nothing = SliceCorrections::default();
        self.edits.of(slice).unwrap_or(&nothing).corrected(report, self.threshold)
    }

    /// Area of the lesions of a slice over the threshold, as corrected, in pixels; `None` before it is done.
    pub fn lesion_area(&self, slice: usize) -> Option<usize> {
        let report = self.reports.get(&slice)?;
        let area = |lesions: &[Lesion]| lesions.iter().map(|lesion| lesion.area_px).sum();
        Some(match self.edits.of(slice) {
            Some(_) => area(&self.corrected(slice, report).report.lesions),
            // Without a copy of every mask.
            None => {
                let over = report.lesions.iter().filter(|lesion| lesion.score > self.threshold);
                over.map(|lesion| lesion.area_px).sum()
            }
        })
    }

    /// The place of the lesion that is corrected among those of the shown slice.
    pub fn chosen_lesion(&self) -> Option<usize> {
        let chosen = self.editing?.lesion?;
        self.lesion_ids.iter().position(|id| *id == chosen)
    }

    /// What was found on the shown slice over the threshold, as corrected.
    pub fn report(&self) -> Option<Rc<SliceReport>> {
        self.shown_report.clone()
    }

    /// The sum of the shown series over the threshold, once all of its slices are done.
    pub fn series_report(&self) -> Option<SeriesReport> {
        let (series, first) = self.contents.series_of(self.shown)?;
        let reports = self.reports.range(first..first + series.slices.len());
        let found: Vec<SliceReport> =
            reports.map(|(number, slice)| self.corrected(*number, slice).report).collect();
        let (name, warnings) = (series.name.clone(), series.warnings.clone());
        let is_done = found.len() == series.slices.len();
        is_done.then(|| SeriesReport::new(name, first, &found, series.distance_mm, warnings))
    }

    /// Everything found so far over the threshold, and the number of every slice in it.
    pub fn whole_report(&self) -> (Report, Vec<usize>) {
        let (models, device) = match &self.model {
            Some(model) => (model.models.clone(), model.device.as_str()),
            None => (ModelsInfo::default(), ""),
        };
        let mut report = Report::new(models, device);
        let mut numbers = Vec::new();
        let mut first = 0;
        for series in &self.contents.series {
            let range = first..first + series.slices.len();
            first = range.end;
            let (own, found): (Vec<usize>, Vec<SliceReport>) = self
                .reports
                .range(range.clone())
                .map(|(number, slice)| (*number, self.corrected(*number, slice).report))
                .unzip();
            if found.is_empty() {
                continue;
            }
            numbers.extend(own);
            let (name, warnings) = (series.name.clone(), series.warnings.clone());
            report.add_series(name, found, range.len(), series.distance_mm, warnings);
        }
        report.errors.clone_from(&self.contents.refused);
        (report, numbers)
    }
}

impl State {
    /// Changes what is shown.
    pub fn apply(&mut self, action: Action) {
        let concerns_report = matches!(
            action,
            Action::Submitted { .. }
                | Action::Show { .. }
                | Action::Done { .. }
                | Action::Threshold(_)
                | Action::ModelChosen(_)
                | Action::Correct(_)
                | Action::Undo
                | Action::Redo
        );
        self.change(action);
        if concerns_report {
            let shown = self.reports.get(&self.shown);
            let corrected = shown.map(|report| self.corrected(self.shown, report));
            (self.lesion_ids, self.rejected) = match &corrected {
                Some(corrected) => {
                    (corrected.ids.as_slice().into(), corrected.rejected.as_slice().into())
                }
                None => Default::default(),
            };
            if let Some(editing) = &mut self.editing {
                editing.lesion = editing.lesion.filter(|id| self.lesion_ids.contains(id));
            }
            self.shown_report = corrected.map(|corrected| Rc::new(corrected.report));
        }
    }

    /// Corrections belong to what one model found on one set of files.
    fn end_editing(&mut self) {
        (self.edits, self.editing, self.correction_error) = Default::default();
    }

    fn correct(&mut self, correction: &Correction) {
        let Some(report) = self.reports.get(&self.shown).cloned() else { return };
        let made = Rc::make_mut(&mut self.edits).correct(self.shown, correction, &report);
        self.correction_error = made.err();
        self.highlighted = None;
        if let (Ok(lesion), Some(editing)) = (made, &mut self.editing)
            && !matches!(
                correction,
                Correction::Class(_) | Correction::Measure(_) | Correction::Unmeasure(_)
            )
        {
            editing.lesion = lesion;
        }
    }

    fn change(&mut self, action: Action) {
        let state = self;
        match action {
            Action::Phase(phase) => state.phase = phase,
            Action::Ready(model) => {
                state.models_of_site = model.models_of_site.as_slice().into();
                state.chosen_model = Some(model.name.clone());
                state.model = Some(*model);
                state.phase = Phase::Idle;
            }
            Action::ModelChosen(name) => {
                state.chosen_model = Some(name);
                (state.model, state.card) = (None, None);
                (state.reports, state.scores) = Default::default();
                state.end_editing();
                (state.error, state.notice, state.highlighted) = (None, None, None);
                (state.cancelled, state.paused) = (false, false);
            }
            Action::DeviceChosen(device) => {
                state.chosen_device = device;
                state.notice = None;
            }
            Action::Submitted { files } => {
                // A model that still loads says so for longer.
                if matches!(state.phase, Phase::Idle | Phase::Running { .. }) {
                    state.phase = Phase::Opening { files, done: 0 };
                }
                state.problems = Rc::default();
                state.contents = Rc::default();
                state.picture = None;
                state.reports = Rc::default();
                state.scores = Rc::default();
                state.end_editing();
                state.window = None;
                state.display.view = View::default();
                (state.identifying, state.header) = (None, None);
                state.error = None;
                state.highlighted = None;
                (state.cancelled, state.paused) = (false, false);
            }
            Action::Opening { file, files } => {
                if matches!(state.phase, Phase::Idle | Phase::Opening { .. }) {
                    state.phase = Phase::Opening { files, done: file.min(files - 1) };
                }
            }
            Action::Opened(contents) => {
                let problems = Rc::make_mut(&mut state.problems);
                problems.extend(
                    contents.refused.iter().map(|e| format!("{}: {}", e.source, e.message)),
                );
                state.error = refusals(&contents);
                state.settle();
                state.contents = contents;
            }
            Action::Show { slice, window } => {
                if slice != state.shown {
                    state.highlighted = None;
                    state.correction_error = None;
                    state.editing =
                        state.editing.map(|editing| Editing { lesion: None, ..editing });
                    (state.identifying, state.header) = (None, None);
                }
                state.shown = slice;
                state.window = window;
            }
            Action::Shown(picture) => state.picture = Some(picture),
            Action::Queued => (state.cancelled, state.paused) = (false, false),
            Action::Paused => {
                // What runs on says so again.
                state.settle();
                state.paused = true;
            }
            Action::Settled => state.settle(),
            Action::Done { slice, report, scores } => {
                Rc::make_mut(&mut state.reports).insert(slice, report);
                Rc::make_mut(&mut state.scores).insert(slice, scores);
                state.phase = Phase::Idle;
            }
            Action::Cancelled => {
                state.settle();
                state.cancelled = true;
            }
            Action::Refused(message) => {
                Rc::make_mut(&mut state.problems).push(message.clone());
                state.error = Some(message);
                state.settle();
            }
            Action::Failed(message) => state.error = Some(message),
            Action::Broken(message) => {
                state.error = Some(message);
                state.phase = Phase::Broken;
            }
            Action::Notice(notice) => state.notice = Some(notice),
            Action::Highlight(lesion) => state.highlighted = lesion,
            Action::Display(display) => state.display = display,
            Action::Identified { slice, elements } => {
                // Another slice's patient is none of this one's.
                if slice == state.shown {
                    state.identifying = Some(elements.map(Rc::new));
                }
            }
            Action::Header { slice, elements } => {
                if slice == state.shown {
                    state.header = Some(elements.map(|elements| elements.map(Rc::new)));
                }
            }
            Action::Card { model, card } => {
                // Another may have been chosen meanwhile.
                if state.model.as_ref().is_some_and(|known| known.name == model) {
                    state.card = Some(card);
                }
            }
            Action::Language(language) => state.language = language,
            Action::Edit(editing) => {
                state.editing = editing;
                state.correction_error = None;
            }
            Action::Correct(correction) => state.correct(&correction),
            Action::Undo => {
                Rc::make_mut(&mut state.edits).undo();
                state.correction_error = None;
            }
            Action::Redo => {
                Rc::make_mut(&mut state.edits).redo();
                state.correction_error = None;
            }
            Action::Threshold(threshold) => {
                state.threshold = threshold;
                state.highlighted = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::LesionKind;
    use crate::image::{CtSlice, Refusal};
    use crate::report::corrections::Stroke;
    use crate::web::messages::reader::OpenedSeries;

    fn report() -> Rc<SliceReport> {
        let slice = CtSlice::new("slice", (1, 1), vec![0]);
        Rc::new(SliceReport::refused(&slice, Refusal::NoLung, BTreeMap::new()))
    }

    /// A page with two series of three and two slices, the first slice done.
    fn page() -> State {
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
    fn what_was_found_is_sorted_by_the_threshold_once_and_not_at_every_movement() {
        let mut state = page();
        let shown = state.report().unwrap();
        state.apply(Action::Highlight(Some(0)));
        state.apply(Action::Display(Display { opacity: 1.0, ..Display::default() }));
        assert!(Rc::ptr_eq(&shown, &state.report().unwrap()));
        state.apply(Action::Threshold(0.9));
        assert!(!Rc::ptr_eq(&shown, &state.report().unwrap()));
        assert_eq!(state.highlighted, None);
    }

    #[test]
    fn other_files_leave_nothing_of_those_before() {
        let mut state = page();
        state.apply(Action::Refused("a slice".into()));
        state.apply(Action::Identified { slice: 0, elements: None });
        state.apply(Action::Show { slice: 1, window: Some(Window::LUNG) });
        state.apply(Action::Submitted { files: 1 });
        assert!(state.reports.is_empty() && state.report().is_none() && state.problems.is_empty());
        assert_eq!((state.contents.slices(), state.error, state.window), (0, None, None));
        assert_eq!((state.identifying, state.header, state.picture), (None, None, None));
    }

    #[test]
    fn a_stroke_is_seen_in_list_sums_and_exports_and_undone() {
        let mut state = page();
        let wide = SliceReport { width: 20, height: 20, ..(*report()).clone() };
        for slice in 0..3 {
            let (report, scores) = (Rc::new(wide.clone()), Rc::default());
            state.apply(Action::Done { slice, report, scores });
        }
        state.apply(Action::Edit(Some(Editing::default())));
        let stroke = Stroke {
            lesion: None,
            points: vec![(10.0, 10.0)],
            radius: 3.0,
            erases: false,
            kind: LesionKind::Lesion,
        };
        state.apply(Action::Correct(Correction::Paint(stroke.clone())));
        let area = state.report().unwrap().lesions[0].area_px;
        assert_eq!((state.lesion_area(0), state.lesion_area(1)), (Some(area), Some(0)));
        assert_eq!(state.chosen_lesion(), Some(0), "the next stroke goes on with it");
        assert_eq!(state.series_report().unwrap().slices_with_lesions, 1);
        assert!(state.whole_report().0.is_corrected());
        state.apply(Action::Show { slice: 1, window: None });
        assert_eq!((state.chosen_lesion(), state.report().unwrap().lesions.len()), (None, 0));
        state.apply(Action::Undo);
        assert!(!state.whole_report().0.is_corrected());
        state.apply(Action::Redo);
        assert!(state.whole_report().0.is_corrected());
        let beside = Stroke { points: vec![(99.0, 99.0)], ..stroke };
        state.apply(Action::Correct(Correction::Paint(beside)));
        assert_eq!(state.correction_error, Some(CorrectionError::NothingChanged));
        state.apply(Action::Submitted { files: 1 });
        assert!(state.edits.is_empty() && state.editing.is_none());
        assert_eq!((state.edits.next_undo(), state.correction_error), (None, None));
    }

    #[test]
    fn a_step_stays_within_the_shown_series() {
        let mut state = page();
        assert_eq!(state.step(Step::By(-1)), Some(0));
        assert_eq!(state.step(Step::Last), Some(2));
        state.apply(Action::Show { slice: 4, window: None });
        assert_eq!((state.step(Step::First), state.step(Step::By(9))), (Some(3), Some(4)));
    }

    #[test]
    fn a_series_has_a_sum_once_all_of_its_slices_are_done() {
        let mut state = page();
        assert_eq!(state.series_report(), None);
        for slice in 1..3 {
            state.apply(Action::Done { slice, report: report(), scores: Rc::default() });
        }
        assert_eq!(
            state.series_report().map(|series| (series.first_slice, series.slices)),
            Some((0, 3))
        );
        let (whole, numbers) = state.whole_report();
        assert_eq!((whole.slices.len(), numbers), (3, vec![0, 1, 2]));
    }

    #[test]
    fn the_card_of_a_model_that_was_chosen_before_is_not_shown() {
        let mut state = page();
        let card = || Action::Card { model: "a".into(), card: "card".into() };
        let model = |name: &str| ModelState {
            device: "cpu".into(),
            details: String::new(),
            name: name.into(),
            models: ModelsInfo::default(),
            licence: String::new(),
            regions: None,
            downloads: Vec::new(),
            models_of_site: vec!["a".into(), "b".into()],
        };
        state.apply(Action::Ready(Box::new(model("a"))));
        state.apply(card());
        assert_eq!(state.card.as_deref(), Some("card"));
        state.apply(Action::ModelChosen("b".into()));
        assert!(state.reports.is_empty() && state.report().is_none() && state.card.is_none());
        state.apply(Action::Ready(Box::new(model("b"))));
        state.apply(card());
        assert_eq!((state.card, state.models_of_site.len()), (None, 2));
    }
}
