//! The planes across the shown series that the reader is asked for, one question at a time.

use std::rc::Rc;

use super::Awaited;
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
    /// Whether it owes the answer.
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
        self.reading.reslicing.at = at;
        self.ask_for_sections();
    }

    /// Asks for the planes that are looked at, unless the reader was asked for them.
    pub(super) fn ask_for_sections(&mut self) {
        let (slice, window) = self.reading.shown;
        let contents = self.contents();
        let cut = contents.as_ref().and_then(|contents| contents.series_of(slice));
        let first = cut.filter(|(series, _)| series.distance_mm.is_some()).map(|(_, first)| first);
        let Some((first, at)) = first.zip(self.reading.reslicing.at) else { return };
        let Some(batch) = self.batch_number().filter(|_| self.has_opened()) else { return };
        let question = Some((first, at, window));
        let reslicing = &mut self.reading.reslicing;
        match reslicing.awaited {
            _ if reslicing.asked == question => {}
            Awaited::Nothing => {
                (reslicing.asked, reslicing.awaited) = (question, Awaited::Shown);
                self.ask_reader(Request::Reslice { batch, slice, at, window });
            }
            _ => reslicing.awaited = Awaited::Outdated,
        }
    }

    /// The planes have come; if others are wanted since, these are asked for.
    pub(super) fn resliced(&mut self, first: usize, sections: Sections, bytes: Vec<u8>) {
        let [through_row, through_column] = sections.cuts().map(|cut| sections.picture_size(cut));
        let (mut row, middle) = (bytes, through_row.0 * through_row.1);
        if row.len() == middle + through_column.0 * through_column.1 {
            let column = row.split_off(middle);
            let pixels = [Rc::new(row), Rc::new(column)];
            self.dispatch(Action::Resliced(RenderedSections { first, sections, pixels }));
        }
        self.sections_have_come();
    }

    /// The series is not cut, for a reason.
    pub(super) fn not_resliced(&mut self, message: String) {
        self.dispatch(Action::NotResliced(message));
        self.sections_have_come();
    }

    fn sections_have_come(&mut self) {
        std::mem::take(&mut self.reading.reslicing.awaited);
        self.ask_for_sections();
    }

    /// The reader broke while it owed planes: they are looked at no longer, for the next would break as well. Says
    /// whether it owed any.
    pub(super) fn give_up_sections(&mut self, reason: &str) -> bool {
        let owed = self.reading.reslicing.awaited != Awaited::Nothing;
        if owed {
            self.reading.reslicing = Reslicing::default();
            self.dispatch(Action::NotResliced(reason.to_owned()));
        }
        owed
    }
}
