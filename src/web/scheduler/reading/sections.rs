//! The planes across the shown series that the reader is asked for, one question at a time.

use std::rc::Rc;

use super::{Asked, Awaited};
use crate::image::Window;
use crate::image::sections::Sections;
use crate::web::messages::reader::Request;
use crate::web::scheduler::Scheduler;
use crate::web::state::{Action, RenderedSections};

/// What a question is about: the first slice of a series, where its planes lie, the window.
type Question = (usize, (usize, usize), Option<Window>);

/// Planes that are looked at.
#[derive(Debug, Default)]
pub(super) struct Reslicing {
    /// Column and row where they lie; `None` if nobody looks.
    at: Option<(usize, usize)>,
    /// What the reader was asked last.
    asked: Option<Question>,
    /// The first slice of a series that cannot be cut.
    failed: Option<usize>,
    /// Whether the reader owes an answer.
    pub(super) awaited: Awaited,
}

impl Reslicing {
    /// Another reader is asked anew.
    pub(super) fn restart(&mut self) {
        (self.asked, self.awaited) = Default::default();
    }
}

impl Scheduler {
    /// Shows the planes through a column and a row of the shown series, or none.
    pub fn reslice(&mut self, at: Option<(usize, usize)>) {
        self.dispatch(Action::Reslice(at));
        let reslicing = &mut self.reading.reslicing;
        (reslicing.at, reslicing.failed) = (at, None);
        if at.is_none() {
            reslicing.asked = None;
            if self.has_opened() {
                self.ask_reader(Request::EndReslicing);
            }
        }
        self.ask_for_sections();
    }

    /// Asks for the planes that are looked at, unless the reader was asked for them.
    pub(in crate::web::scheduler) fn ask_for_sections(&mut self) {
        let (slice, window) = self.reading.shown;
        let contents = self.contents();
        let cut = contents.as_ref().and_then(|contents| contents.series_of(slice));
        let first = cut.filter(|(series, _)| series.distance_mm.is_some()).map(|(_, first)| first);
        let Some((first, at)) = first.zip(self.reading.reslicing.at) else { return };
        let Some(batch) = self.batch_number().filter(|_| self.has_opened()) else { return };
        let question = Some((first, at, window));
        let reslicing = &mut self.reading.reslicing;
        match reslicing.awaited {
            _ if reslicing.asked == question || reslicing.failed == Some(first) => {}
            Awaited::Nothing => {
                (reslicing.asked, reslicing.awaited) = (question, Awaited::Shown);
                self.ask_reader(Request::Reslice { batch, slice, at, window });
            }
            _ => reslicing.awaited = Awaited::Outdated,
        }
    }

    /// The planes have come; if slices are missing, or others are wanted since, the reader is asked again.
    pub(super) fn resliced(
        &mut self,
        first: usize,
        read: usize,
        sections: Sections,
        bytes: Vec<u8>,
    ) {
        let [through_row, through_column] = sections.cuts().map(|cut| sections.picture_size(cut));
        let (mut row, middle) = (bytes, through_row.0 * through_row.1);
        if row.len() == middle + through_column.0 * through_column.1 {
            let column = row.split_off(middle);
            let pixels = [Rc::new(row), Rc::new(column)];
            self.dispatch(Action::Resliced(RenderedSections { first, read, sections, pixels }));
        }
        if read < sections.slices {
            self.reading.reslicing.asked = None;
        }
        self.sections_have_come();
    }

    /// The series that begins with slice `first` is not cut, for a reason.
    pub(super) fn not_resliced(&mut self, first: usize, message: String) {
        self.reading.reslicing.failed = Some(first);
        self.dispatch(Action::NotResliced { first, message });
        self.sections_have_come();
    }

    fn sections_have_come(&mut self) {
        self.reading.reslicing.awaited = Awaited::Nothing;
        self.ask_for_sections();
    }

    /// The reader broke: if it was at the planes, their series is not cut again unless a user asks for it.
    pub(super) fn blame_sections(&mut self, reason: &str) {
        let asked = self.reading.reslicing.asked.map(|(first, ..)| first);
        if let Some(first) = asked.filter(|_| self.reading.asked.front() == Some(&Asked::Planes)) {
            self.reading.reslicing.failed = Some(first);
            self.dispatch(Action::NotResliced { first, message: reason.to_owned() });
        }
    }
}
