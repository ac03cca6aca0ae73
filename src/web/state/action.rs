//! What changes the state, and how.

use std::rc::Rc;

use crate::export::session_file::SavedSlice;
use crate::image::Window;
use crate::image::decode::HeaderElement;
use crate::report::SliceReport;
use crate::report::correction::Correction;
use crate::web::editing::Editing;
use crate::web::messages::reader::OpenedStudy;
use crate::web::options::Device;
use crate::web::state::{
    Display, ModelState, NotListed, Phase, RenderedSections, RenderedSlice, Reslice, State,
};
use crate::web::texts::counted;
use crate::web::view::View;

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
    /// The planes through a column and a row of the shown series are looked at, or none.
    Reslice(Option<(usize, usize)>),
    /// They are there.
    Resliced(RenderedSections),
    /// There are none.
    NotResliced {
        /// First slice of the series.
        first: usize,
        /// The reason.
        message: String,
    },
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
    /// What was found and corrected on slices, from a session file.
    Restored {
        /// Number of each slice, and what was saved of it.
        slices: Vec<(usize, SavedSlice)>,
        /// The score threshold.
        threshold: f32,
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
    /// Changes what is shown.
    pub fn apply(&mut self, action: Action) {
        let concerns_report = matches!(
            action,
            Action::Submitted { .. }
                | Action::Show { .. }
                | Action::Done { .. }
                | Action::Restored { .. }
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

    /// Nothing of the user's is at work any more; a device that still starts, or is broken, stays so.
    fn settle(&mut self) {
        if matches!(self.phase, Phase::Opening { .. } | Phase::Running { .. }) {
            self.phase = Phase::Idle;
        }
    }

    /// Whether a reader corrected what a network found on a slice: that stays, whatever is predicted after it. What was
    /// refused has nothing that a prediction could take away.
    fn is_corrected(&self, slice: usize) -> bool {
        let was_analysed = |report: &Rc<SliceReport>| report.segmented || report.refusal.is_none();
        self.edits.of(slice).is_some_and(|made| !made.is_empty())
            && self.reports.get(&slice).is_some_and(was_analysed)
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
                // A file of the user's knows of none.
                if !model.models_of_site.is_empty() {
                    state.models_of_site = model.models_of_site.as_slice().into();
                }
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
                (state.picture, state.reslice) = (None, None);
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
            Action::Reslice(at) => {
                let known = state.reslice.take();
                state.reslice = at.map(|at| Reslice {
                    at,
                    rendered: known.and_then(|known| known.rendered),
                    error: None,
                });
            }
            Action::Resliced(rendered) => {
                if let Some(reslice) = &mut state.reslice {
                    reslice.rendered = Some(rendered);
                    reslice.error = None;
                }
            }
            Action::NotResliced { first, message } => {
                if let Some(reslice) = &mut state.reslice {
                    (reslice.rendered, reslice.error) = (None, Some((first, message)));
                }
            }
            Action::Queued => (state.cancelled, state.paused) = (false, false),
            Action::Paused => {
                // What runs on says so again.
                state.settle();
                state.paused = true;
            }
            Action::Settled => state.settle(),
            Action::Done { slice, .. } if state.is_corrected(slice) => state.phase = Phase::Idle,
            Action::Done { slice, report, scores } => {
                Rc::make_mut(&mut state.reports).insert(slice, report);
                Rc::make_mut(&mut state.scores).insert(slice, scores);
                state.phase = Phase::Idle;
            }
            Action::Restored { slices, threshold } => {
                let edits = Rc::make_mut(&mut state.edits);
                let reports = Rc::make_mut(&mut state.reports);
                for (slice, SavedSlice { report, corrections, .. }) in slices {
                    reports.insert(slice, Rc::new(report));
                    edits.restore(slice, corrections);
                }
                state.threshold = threshold;
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
    use crate::image::Window;
    use crate::report::ModelsInfo;
    use crate::web::state::tests::page;
    use crate::web::state::{Action, ModelState};

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
