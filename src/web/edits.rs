//! The corrections of all slices, to be undone and made again.

use std::rc::Rc;

use crate::report::SliceReport;
use crate::report::correction::{Correction, CorrectionError, LesionId};
use crate::report::corrections::SliceCorrections;

/// The corrections, and the way to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edits {
    // A map would be kilobytes of the page.
    slices: Vec<(usize, Rc<SliceCorrections>)>,
    undo: Vec<Change>,
    redo: Vec<Change>,
}

/// A slice, and its corrections on the other side of a change.
#[derive(Clone, Debug, PartialEq)]
struct Change {
    slice: usize,
    corrections: Rc<SliceCorrections>,
}

impl Edits {
    /// The corrections of a slice.
    pub fn of(&self, slice: usize) -> Option<&SliceCorrections> {
        self.slices.iter().find(|(own, _)| *own == slice).map(|(_, corrections)| &**corrections)
    }

    /// Gives a slice other corrections; returns those that it had.
    fn exchange(
        &mut self,
        slice: usize,
        corrections: Rc<SliceCorrections>,
    ) -> Rc<SliceCorrections> {
        match self.slices.iter_mut().find(|(own, _)| *own == slice) {
            Some((_, own)) => std::mem::replace(own, corrections),
            None => {
                self.slices.push((slice, corrections));
                Rc::default()
            }
        }
    }

    /// Corrects a slice whose report, at every score, is `report`; returns the lesion that was changed.
    ///
    /// # Errors
    /// If that is impossible; nothing is changed then.
    pub fn correct(
        &mut self,
        slice: usize,
        correction: &Correction,
        report: &SliceReport,
    ) -> Result<Option<LesionId>, CorrectionError> {
        let before = self.of(slice).cloned().unwrap_or_default();
        let mut after = before.clone();
        let lesion = after.apply(correction, report)?;
        if after != before {
            let corrections = self.exchange(slice, Rc::new(after));
            self.undo.push(Change { slice, corrections });
            self.redo.clear();
        }
        Ok(lesion)
    }

    /// Corrections of a slice that come from a file. What was before them is not known, and steps made before do not belong
    /// to them: nothing is undone from here on.
    pub fn restore(&mut self, slice: usize, corrections: SliceCorrections) {
        self.exchange(slice, Rc::new(corrections));
        self.undo.clear();
        self.redo.clear();
    }

    /// The slice that the next step back changes.
    pub fn next_undo(&self) -> Option<usize> {
        self.undo.last().map(|change| change.slice)
    }

    /// The slice that the next step forward changes.
    pub fn next_redo(&self) -> Option<usize> {
        self.redo.last().map(|change| change.slice)
    }

    /// Takes the last change back.
    pub fn undo(&mut self) {
        if let Some(Change { slice, corrections }) = self.undo.pop() {
            let corrections = self.exchange(slice, corrections);
            self.redo.push(Change { slice, corrections });
        }
    }

    /// Makes the change again that was last taken back.
    pub fn redo(&mut self) {
        if let Some(Change { slice, corrections }) = self.redo.pop() {
            let corrections = self.exchange(slice, corrections);
            self.undo.push(Change { slice, corrections });
        }
    }

    /// Whether anything differs from what the model found.
    pub fn is_empty(&self) -> bool {
        self.slices.iter().all(|(_, corrections)| corrections.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::classes::LesionKind;
    use crate::image::{CtSlice, Refusal};
    use crate::report::correction::Stroke;

    fn report() -> SliceReport {
        let slice = CtSlice::new("slice", (64, 20), Vec::new());
        SliceReport::refused(&slice, Refusal::NoLung, Default::default())
    }

    fn stroke(x: f64) -> Correction {
        let points = vec![(x, 10.0)];
        let kind = LesionKind::Lesion;
        Correction::Paint(Stroke { lesion: None, points, radius: 2.0, erases: false, kind })
    }

    #[test]
    fn steps_are_undone_to_the_beginning_and_made_again() {
        let mut edits = Edits::default();
        for (slice, x) in [(0, 5.0), (0, 20.0), (3, 5.0)] {
            edits.correct(slice, &stroke(x), &report()).unwrap();
        }
        let all = edits.slices.clone();
        assert_eq!(edits.next_undo(), Some(3));
        (0..3).for_each(|_| edits.undo());
        assert!(edits.is_empty());
        assert_eq!((edits.next_undo(), edits.next_redo()), (None, Some(0)));
        edits.undo();
        (0..4).for_each(|_| edits.redo());
        assert_eq!(edits.slices, all);
        assert_eq!((edits.next_undo(), edits.next_redo()), (Some(3), None));
    }

    #[test]
    fn a_new_change_ends_what_could_be_made_again_and_an_impossible_one_does_not() {
        let mut edits = Edits::default();
        edits.correct(0, &stroke(5.0), &report()).unwrap();
        edits.undo();
        assert!(edits.correct(0, &Correction::Reject(LesionId::Found(7)), &report()).is_err());
        assert_eq!(edits.next_redo(), Some(0));
        edits.correct(1, &stroke(5.0), &report()).unwrap();
        assert_eq!((edits.next_redo(), edits.next_undo()), (None, Some(1)));
    }

    proptest! {
        #[test]
        fn undoing_and_making_again_leads_back(steps in prop::collection::vec((0usize..3, 0f64..60.0), 1..8), back in 0usize..10) {
            let mut edits = Edits::default();
            for (slice, x) in steps {
                edits.correct(slice, &stroke(x), &report()).unwrap();
            }
            let all = edits.clone();
            (0..back).for_each(|_| edits.undo());
            (0..back).for_each(|_| edits.redo());
            prop_assert_eq!(edits, all);
        }
    }
}
