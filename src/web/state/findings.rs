//! What was found, over the threshold and as a reader corrected it: of a slice, of a series, of all.

use std::rc::Rc;

use crate::detection::BBox;
use crate::export::session_file::{SavedSlice, SessionFile};
use crate::report::corrections::{Corrected, SliceCorrections};
use crate::report::{Lesion, ModelsInfo, Report, SeriesReport, SliceReport};
use crate::web::state::State;

impl State {
    /// What was found on a slice, whose report at every score is `report`, over the threshold and as corrected.
    pub(super) fn corrected(&self, slice: usize, report: &SliceReport) -> Corrected {
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

    /// Column and row where planes cross the shown slice, if its series has any and they are looked at.
    pub fn cross(&self) -> Option<(usize, usize)> {
        let (series, first) = self.contents.series_of(self.shown)?;
        let reslice = self.reslice.as_ref().filter(|_| series.distance_mm.is_some())?;
        let has_failed = reslice.error.as_ref().is_some_and(|(failed, _)| *failed == first);
        (!has_failed).then_some(reslice.at)
    }

    /// Column and row in the middle of the largest lesion of the shown slice, or of the slice if there is none.
    pub fn middle_of_findings(&self) -> (usize, usize) {
        let lesions = self.shown_report.iter().flat_map(|report| &report.lesions);
        if let Some(largest) = lesions.max_by_key(|lesion| lesion.area_px) {
            let BBox { x1, y1, x2, y2 } = largest.bbox;
            return (((x1 + x2) / 2.0).max(0.0) as usize, ((y1 + y2) / 2.0).max(0.0) as usize);
        }
        let size = self.picture.as_ref().map(|it| (it.shown.width / 2, it.shown.height / 2));
        size.unwrap_or_default()
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

    /// What was found on the slices of the shown series that are done, over the threshold and as corrected, with their
    /// numbers.
    pub fn reports_of_series(&self) -> Vec<(usize, SliceReport)> {
        let Some((series, first)) = self.contents.series_of(self.shown) else { return Vec::new() };
        let reports = self.reports.range(first..first + series.slices.len());
        reports.map(|(number, slice)| (*number, self.corrected(*number, slice).report)).collect()
    }

    /// The sum of the shown series over the threshold, once all of its slices are done.
    pub fn series_report(&self) -> Option<SeriesReport> {
        let (series, first) = self.contents.series_of(self.shown)?;
        let found: Vec<SliceReport> =
            self.reports_of_series().into_iter().map(|(_, report)| report).collect();
        let (name, warnings) = (series.name.clone(), series.warnings.clone());
        let is_done = found.len() == series.slices.len();
        is_done.then(|| SeriesReport::new(name, first, &found, series.distance_mm, warnings))
    }

    /// What is to be kept of it all, to go on another day; `None` if no model has found anything yet.
    pub fn session_file(&self) -> Option<SessionFile> {
        let models = self.model.as_ref()?.models.clone();
        let keys = self.contents.keys();
        let saved = self.reports.iter().filter_map(|(number, report)| {
            let corrections = self.edits.of(*number).cloned().unwrap_or_default();
            let (key, report) = (*keys.get(*number)?, (**report).clone());
            Some(SavedSlice { key, report, corrections })
        });
        let slices: Vec<SavedSlice> = saved.collect();
        let shown = self.reports.keys().position(|number| *number == self.shown);
        (!slices.is_empty()).then(|| SessionFile::new(models, self.threshold, shown, slices))
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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use crate::classes::LesionKind;
    use crate::report::SliceReport;
    use crate::report::correction::{Correction, CorrectionError, Stroke};
    use crate::web::editing::Editing;
    use crate::web::state::tests::{page, report};
    use crate::web::state::{Action, Display};

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
}
