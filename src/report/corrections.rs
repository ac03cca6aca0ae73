//! What a reader corrects of a slice's findings, and measures on it. The model's own findings stay beside it.

use serde::{Deserialize, Serialize};

use crate::detection::Mask;
use crate::detection::mask::connected_components::connected_components;
use crate::report::correction::{Correction, CorrectionError, LesionId, Stroke};
use crate::report::measurements::Measurement;
use crate::report::slice::{Corrections, Lesion, Origin, ReaderClass, SliceReport};

/// The order in which lesions are listed, and cover each other: what was drawn last lies on top.
pub(super) fn rank(id: LesionId) -> (bool, usize) {
    match id {
        LesionId::Drawn(index) => (false, usize::MAX - index),
        LesionId::Found(index) => (true, index),
    }
}

/// All changes of a slice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SliceCorrections {
    // Few of each, in order, and a map would be kilobytes of the page.
    pub(super) rejected: Vec<LesionId>,
    /// Lesions that were changed or drawn, as they are now.
    pub(super) changed: Vec<(LesionId, Lesion)>,
    /// Lesions that became part of others.
    pub(super) joined: Vec<LesionId>,
    /// How many were drawn or split off.
    pub(super) drawn: usize,
    pub(super) class: Option<ReaderClass>,
    pub(super) measurements: Vec<Measurement>,
}

/// What a slice's report is with its corrections.
#[derive(Clone, Debug, PartialEq)]
pub struct Corrected {
    /// The report.
    pub report: SliceReport,
    /// Of each of its lesions, which it is.
    pub ids: Vec<LesionId>,
    /// Lesions that were rejected.
    pub rejected: Vec<(LesionId, Lesion)>,
}

impl SliceCorrections {
    /// A lesion as it is now.
    fn lesion<'a>(
        &'a self,
        id: LesionId,
        report: &'a SliceReport,
    ) -> Result<&'a Lesion, CorrectionError> {
        let found = || match id {
            LesionId::Found(index) => report.lesions.get(index),
            LesionId::Drawn(_) => None,
        };
        let changed = self.changed.iter().find(|(own, _)| *own == id).map(|(_, lesion)| lesion);
        changed.or_else(found).ok_or(CorrectionError::NoLesion)
    }

    fn mask(&self, id: LesionId, report: &SliceReport) -> Result<Mask, CorrectionError> {
        let mask = self.lesion(id, report)?.mask.as_ref().ok_or(CorrectionError::NoLesion)?;
        mask.decode().map_err(|_| CorrectionError::NoLesion)
    }

    /// Makes a change to what `report` holds, which is the model's at every score; returns the lesion that it was made to.
    ///
    /// # Errors
    /// If it is impossible; nothing is changed then.
    pub fn apply(
        &mut self,
        correction: &Correction,
        report: &SliceReport,
    ) -> Result<Option<LesionId>, CorrectionError> {
        match correction {
            Correction::Reject(id) => {
                self.lesion(*id, report)?;
                self.reject(*id);
                Ok(None)
            }
            Correction::Restore(id) => {
                self.lesion(*id, report)?;
                self.rejected.retain(|own| own != id);
                Ok(Some(*id))
            }
            Correction::Relabel(id, kind) => {
                let lesion = Lesion { label: *kind, ..self.lesion(*id, report)?.clone() };
                self.change(*id, lesion);
                Ok(Some(*id))
            }
            Correction::Paint(stroke) => self.paint(stroke, report),
            Correction::Split(id) => {
                let lesion = self.lesion(*id, report)?.clone();
                let mut parts = connected_components(&self.mask(*id, report)?, 0);
                if parts.len() < 2 {
                    return Err(CorrectionError::InOnePiece);
                }
                // The largest keeps its name.
                parts.sort_by_key(|part| std::cmp::Reverse(part.area));
                let ids = std::iter::once(*id).chain((self.drawn..).map(LesionId::Drawn));
                for (id, part) in ids.zip(&parts) {
                    let part = lesion.with_mask(&part.mask, report.spacing_mm);
                    self.change(id, part.ok_or(CorrectionError::NoLesion)?);
                }
                self.drawn += parts.len() - 1;
                Ok(Some(*id))
            }
            Correction::Join(id, other) => {
                if id == other || [id, other].into_iter().any(|id| self.joined.contains(id)) {
                    return Err(CorrectionError::NothingChanged);
                }
                let mut mask = self.mask(*id, report)?;
                mask.add(&self.mask(*other, report)?);
                // What the model had a part in keeps the model's score.
                let (own, joined) = (self.lesion(*id, report)?, self.lesion(*other, report)?);
                let scored = if own.origin == Origin::Reader { joined } else { own };
                let joined = Lesion { label: own.label, ..scored.clone() };
                let joined = joined.with_mask(&mask, report.spacing_mm);
                self.change(*id, joined.ok_or(CorrectionError::NoLesion)?);
                self.joined.push(*other);
                Ok(Some(*id))
            }
            Correction::Class(class) => {
                self.class.clone_from(class);
                Ok(None)
            }
            Correction::Measure(measurement) => {
                if [measurement.length_px, measurement.area_px]
                    .iter()
                    .flatten()
                    .all(|it| *it <= 0.0)
                {
                    return Err(CorrectionError::NothingChanged);
                }
                self.measurements.push(*measurement);
                Ok(None)
            }
            Correction::Unmeasure(place) => {
                if *place >= self.measurements.len() {
                    return Err(CorrectionError::NothingChanged);
                }
                self.measurements.remove(*place);
                Ok(None)
            }
        }
    }

    fn paint(
        &mut self,
        stroke: &Stroke,
        report: &SliceReport,
    ) -> Result<Option<LesionId>, CorrectionError> {
        let (id, before) = match stroke.lesion {
            Some(id) => (id, self.mask(id, report)?),
            None => (LesionId::Drawn(self.drawn), Mask::empty(report.width, report.height)),
        };
        let mut mask = before.clone();
        mask.paint(&stroke.points, stroke.radius, !stroke.erases);
        if mask == before {
            return Err(CorrectionError::NothingChanged);
        }
        let new = Lesion::drawn(stroke.kind);
        let lesion = match stroke.lesion {
            Some(id) => self.lesion(id, report)?,
            None => &new,
        };
        match lesion.with_mask(&mask, report.spacing_mm) {
            Some(lesion) => {
                self.change(id, lesion);
                self.drawn += usize::from(stroke.lesion.is_none());
                Ok(Some(id))
            }
            // Nothing is left of it: it can be restored as it was before.
            None => {
                self.reject(id);
                Ok(None)
            }
        }
    }

    fn change(&mut self, id: LesionId, lesion: Lesion) {
        let origin = match lesion.origin {
            Origin::Reader => Origin::Reader,
            Origin::Model | Origin::Edited => Origin::Edited,
        };
        let lesion = Lesion { origin, ..lesion };
        match self.changed.binary_search_by_key(&rank(id), |(own, _)| rank(*own)) {
            Ok(place) => self.changed[place].1 = lesion,
            Err(place) => self.changed.insert(place, (id, lesion)),
        }
    }

    fn reject(&mut self, id: LesionId) {
        if let Err(place) = self.rejected.binary_search(&id) {
            self.rejected.insert(place, id);
        }
    }

    /// Whether they can have been made to what `report` holds. Corrections that come from a file need not be.
    pub fn fit(&self, report: &SliceReport) -> bool {
        let is_known = |id: &LesionId| match id {
            LesionId::Found(index) => *index < report.lesions.len(),
            LesionId::Drawn(_) => self.changed.iter().any(|(own, _)| own == id),
        };
        let is_own = |id: &LesionId| match id {
            LesionId::Found(_) => true,
            LesionId::Drawn(index) => *index < self.drawn,
        };
        let changed = || self.changed.iter().map(|(id, _)| id);
        let drawn = changed().filter(|id| matches!(id, LesionId::Drawn(_))).count();
        self.drawn == drawn
            && self.rejected.is_sorted_by(|one, other| one < other)
            && changed().is_sorted_by(|one, other| rank(**one) < rank(**other))
            && [&self.rejected, &self.joined].into_iter().flatten().chain(changed()).all(is_known)
            && changed().all(is_own)
            && self.changed.iter().all(|(_, lesion)| lesion.fits(report))
    }

    /// Whether the report stays as the model gave it.
    pub fn is_empty(&self) -> bool {
        self.corrects_nothing() && self.measurements.is_empty()
    }

    fn corrects_nothing(&self) -> bool {
        self.rejected.is_empty() && self.changed.is_empty() && self.class.is_none()
    }

    /// The class that the reader gave.
    pub fn class(&self) -> Option<&ReaderClass> {
        self.class.as_ref()
    }

    /// The corrected report: what a reader drew, the last first, then what a reader changed, then lesions of the model that
    /// nobody touched if their score is over `threshold`.
    pub fn corrected(&self, report: &SliceReport, threshold: f32) -> Corrected {
        let mut model = report.with_threshold(threshold);
        model.measurements.clone_from(&self.measurements);
        if self.corrects_nothing() {
            let ids = (0..model.lesions.len()).map(LesionId::Found).collect();
            return Corrected { report: model, ids, rejected: Vec::new() };
        }
        let untouched = (0..model.lesions.len())
            .map(LesionId::Found)
            .filter(|id| self.changed.iter().all(|(own, _)| own != id));
        let standing = self.changed.iter().map(|(id, _)| *id).chain(untouched);
        let is_gone = |id: &LesionId| self.rejected.contains(id) || self.joined.contains(id);
        let ids: Vec<LesionId> = standing.filter(|id| !is_gone(id)).collect();
        let lesion = |id: &LesionId| self.lesion(*id, report).ok().cloned();
        let rejected: Vec<(LesionId, Lesion)> =
            self.rejected.iter().filter_map(|id| Some((*id, lesion(id)?))).collect();
        let is_models =
            |lesion: &Lesion| lesion.origin != Origin::Reader && lesion.score > threshold;
        let mut corrected = model.clone();
        corrected.lesions = ids.iter().filter_map(lesion).collect();
        let labels = corrected.label_map();
        corrected.lungs = model.lungs.as_ref().map(|lungs| lungs.with_lesions(&labels));
        corrected.corrections = Some(Corrections {
            rejected: rejected.iter().filter(|(_, lesion)| is_models(lesion)).count(),
            class: self.class.clone(),
            model_lesions: model.lesions,
        });
        Corrected { report: corrected, ids, rejected }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::classes::{LesionKind, SliceClass};
    use crate::image::lungs::{Lungs, Midline};
    use crate::image::{CtSlice, Refusal};
    use crate::report::lungs::LungsSlice;
    use crate::report::measurements::{Shape, Unit};

    const SIZE: (usize, usize) = (12, 4);

    fn mask(columns: impl IntoIterator<Item = usize>) -> Mask {
        let columns: Vec<usize> = columns.into_iter().collect();
        let inside = |place: usize| columns.contains(&(place % SIZE.0));
        let pixels = (0..SIZE.0 * SIZE.1).map(inside).collect();
        Mask { width: SIZE.0, height: SIZE.1, pixels }
    }

    /// Two lesions in the right lung, and one of two parts in the left.
    fn report() -> SliceReport {
        let slice = CtSlice::new("slice", SIZE, Vec::new());
        let lesion = |score: f32, columns: &[usize]| {
            let bare = Lesion { score, origin: Origin::Model, ..Lesion::drawn(LesionKind::Lesion) };
            bare.with_mask(&mask(columns.iter().copied()), Some([2.0, 0.5])).unwrap()
        };
        let lungs = Lungs {
            right: mask(0..5),
            left: mask(7..12),
            midline: Midline { column: 6, right_first: true },
        };
        let lesions = vec![lesion(0.9, &[1]), lesion(0.6, &[7, 10, 11]), lesion(0.2, &[3, 4])];
        let refused = SliceReport::refused(&slice, Refusal::NoLung, Default::default());
        let report = SliceReport { spacing_mm: Some([2.0, 0.5]), lesions, ..refused };
        let lungs = Some(LungsSlice::new(&lungs, &report.label_map()));
        SliceReport { lungs, ..report }
    }

    fn stroke(lesion: Option<LesionId>, points: &[(f64, f64)], erases: bool) -> Correction {
        let (points, kind) = (points.to_vec(), LesionKind::GroundGlass);
        Correction::Paint(Stroke { lesion, points, radius: 0.5, erases, kind })
    }

    fn corrected(corrections: &[Correction], threshold: f32) -> Corrected {
        let mut all = SliceCorrections::default();
        for correction in corrections {
            all.apply(correction, &report()).unwrap();
        }
        all.corrected(&report(), threshold)
    }

    const FIRST: LesionId = LesionId::Found(0);
    const SECOND: LesionId = LesionId::Found(1);

    #[test]
    fn without_corrections_the_report_is_the_models() {
        let found = corrected(&[], 0.5);
        assert_eq!(found.report, report().with_threshold(0.5));
        assert_eq!(found.ids, [FIRST, SECOND]);
        let json = serde_json::to_string(&found.report).unwrap();
        assert!(!json.contains("origin") && !json.contains("corrections"), "{json}");
    }

    #[test]
    fn what_is_rejected_goes_and_comes_back_and_the_lungs_are_counted_again() {
        let affected = |found: &Corrected| {
            found.report.lungs.as_ref().unwrap().sides().map(|lung| lung.affected_px)
        };
        assert_eq!(affected(&corrected(&[], 0.5)), [4, 12]);
        let found = corrected(&[Correction::Reject(FIRST)], 0.5);
        assert_eq!((found.ids.as_slice(), affected(&found)), (&[SECOND][..], [0, 12]));
        assert_eq!(found.rejected[0].0, FIRST);
        let corrections = found.report.corrections.as_ref().unwrap();
        assert_eq!((corrections.rejected, corrections.model_lesions.len()), (1, 2));
        let back = corrected(&[Correction::Reject(FIRST), Correction::Restore(FIRST)], 0.5);
        assert_eq!(back.report, report().with_threshold(0.5), "nothing is corrected any more");
    }

    #[test]
    fn a_lesion_that_a_reader_changed_stands_whatever_its_score() {
        let weak = LesionId::Found(2);
        let found = corrected(&[Correction::Relabel(weak, LesionKind::Consolidation)], 0.5);
        assert_eq!(found.ids, [weak, FIRST, SECOND]);
        let lesion = &found.report.lesions[0];
        assert_eq!((lesion.label, lesion.origin), (LesionKind::Consolidation, Origin::Edited));
        assert_eq!(corrected(&[Correction::Reject(FIRST)], 0.1).ids, [SECOND, weak]);
    }

    #[test]
    fn a_stroke_draws_a_lesion_and_the_eraser_takes_it_away() {
        let drawn = stroke(None, &[(5.5, 1.5), (6.5, 1.5)], false);
        let found = corrected(std::slice::from_ref(&drawn), 0.95);
        let lesion = &found.report.lesions[0];
        assert_eq!((lesion.area_px, lesion.area_mm2), (2, Some(2.0)));
        assert_eq!(<[f32; 4]>::from(lesion.bbox), [5.0, 1.0, 7.0, 2.0]);
        assert_eq!((lesion.score, lesion.origin), (1.0, Origin::Reader));
        assert_eq!(
            found.report.corrections_summary().unwrap(),
            "Edited by a reader; lesions rejected: 0, changed: 0, drawn: 1"
        );
        let own = LesionId::Drawn(0);
        let erased = stroke(Some(own), &[(5.5, 1.5), (6.5, 1.5)], true);
        let found = corrected(&[drawn, erased], 0.95);
        assert_eq!((found.ids.len(), found.rejected[0].1.area_px), (0, 2), "as it was before");
    }

    #[test]
    fn parts_become_lesions_and_are_joined_again() {
        let mut all = SliceCorrections::default();
        assert_eq!(
            all.apply(&Correction::Split(FIRST), &report()),
            Err(CorrectionError::InOnePiece)
        );
        assert_eq!(all, SliceCorrections::default());
        let found = corrected(&[Correction::Split(SECOND)], 0.5);
        assert_eq!(found.ids, [LesionId::Drawn(0), SECOND, FIRST]);
        let areas: Vec<usize> = found.report.lesions.iter().map(|lesion| lesion.area_px).collect();
        assert_eq!(areas, [4, 8, 4]);
        let part = &found.report.lesions[0];
        assert_eq!((part.origin, part.score), (Origin::Edited, 0.6), "nobody drew it");
        let joined = Correction::Join(SECOND, LesionId::Drawn(0));
        let found = corrected(&[Correction::Split(SECOND), joined], 0.5);
        assert_eq!(found.report.lesions[0].mask, report().lesions[1].mask);
        assert_eq!((found.ids, found.rejected), (vec![SECOND, FIRST], Vec::new()));
        assert_eq!(found.report.corrections.unwrap().rejected, 0, "what was joined is still there");
        let drawn = stroke(None, &[(5.5, 1.5)], false);
        let found = corrected(&[drawn, Correction::Join(LesionId::Drawn(0), FIRST)], 0.5);
        let both = &found.report.lesions[0];
        assert_eq!((both.origin, both.score, both.area_px), (Origin::Edited, 0.9, 5));
        assert_eq!(both.label, LesionKind::GroundGlass);
    }

    #[test]
    fn what_was_drawn_last_lies_on_top_of_everything() {
        let retouched = stroke(Some(FIRST), &[(2.5, 1.5)], false);
        let drawn = |row: f64| stroke(None, &[(1.5, row), (2.5, row)], false);
        let consolidation = Correction::Relabel(LesionId::Drawn(1), LesionKind::Consolidation);
        let found = corrected(&[drawn(1.5), drawn(1.5), retouched, consolidation], 0.5);
        assert_eq!(found.ids[..3], [LesionId::Drawn(1), LesionId::Drawn(0), FIRST]);
        let labels = found.report.label_map();
        assert_eq!(labels[SIZE.0..][1..3], [2, 2]);
    }

    #[test]
    fn a_rejected_lesion_counts_where_its_score_does() {
        let weak = Correction::Reject(LesionId::Found(2));
        let rejected = |threshold| {
            let found = corrected(std::slice::from_ref(&weak), threshold);
            found.report.corrections.unwrap().rejected
        };
        assert_eq!((rejected(0.1), rejected(0.5)), (1, 0));
        let part = [Correction::Split(SECOND), Correction::Reject(LesionId::Drawn(0))];
        assert_eq!(corrected(&part, 0.5).report.corrections.unwrap().rejected, 1);
    }

    #[test]
    fn a_class_is_overruled_with_a_note_and_the_models_stays_beside_it() {
        let class = ReaderClass { class: SliceClass::Covid19, note: "PCR".into() };
        let found = corrected(&[Correction::Class(Some(class))], 0.5);
        let said = found.report.corrections_summary().unwrap();
        assert!(said.ends_with("; class given by the reader: COVID-19 (PCR)"), "{said}");
        assert_eq!(found.report.classes, report().classes);
        let withdrawn = corrected(&[Correction::Class(None)], 0.5);
        assert_eq!(withdrawn.report.corrections, None);
    }

    #[test]
    fn a_measurement_changes_no_finding_and_can_be_removed() {
        let measured = |shape: Shape| {
            let value = |_: usize| Some(1.0);
            Correction::Measure(Measurement::of(shape, SIZE, None, Unit::Grey, value))
        };
        let ruler = measured(Shape::Ruler([(1.0, 1.0), (4.0, 1.0)]));
        let found = corrected(std::slice::from_ref(&ruler), 0.5);
        assert_eq!((found.report.measurements.len(), found.report.corrections), (1, None));
        assert_eq!(found.report.lesions, report().with_threshold(0.5).lesions);
        let both = corrected(&[ruler.clone(), Correction::Reject(FIRST)], 0.5);
        assert!(both.report.corrections.is_some() && both.report.measurements.len() == 1);
        assert_eq!(corrected(&[ruler, Correction::Unmeasure(0)], 0.5).report.measurements, []);
        let mut all = SliceCorrections::default();
        for nothing in [measured(Shape::Ruler([(1.0, 1.0); 2])), Correction::Unmeasure(0)] {
            assert_eq!(all.apply(&nothing, &report()), Err(CorrectionError::NothingChanged));
        }
    }

    #[test]
    fn what_is_not_there_cannot_be_changed() {
        let mut all = SliceCorrections::default();
        let nobody = LesionId::Found(9);
        for correction in [
            Correction::Reject(nobody),
            Correction::Restore(LesionId::Drawn(0)),
            Correction::Split(nobody),
            Correction::Join(FIRST, nobody),
            Correction::Join(nobody, FIRST),
            stroke(Some(nobody), &[(1.0, 1.0)], false),
        ] {
            let said = all.apply(&correction, &report());
            assert_eq!(said, Err(CorrectionError::NoLesion), "{correction:?}");
        }
        let beside = stroke(None, &[(-9.0, 1.0)], false);
        assert_eq!(all.apply(&beside, &report()), Err(CorrectionError::NothingChanged));
        assert_eq!(all, SliceCorrections::default());
    }

    #[test]
    fn a_corrected_report_is_taken_apart_into_what_the_model_found_and_what_was_corrected() {
        let class = ReaderClass { class: SliceClass::Covid19, note: "PCR".into() };
        let steps = [
            Correction::Reject(FIRST),
            Correction::Relabel(SECOND, LesionKind::Consolidation),
            stroke(None, &[(5.5, 1.5)], false),
            Correction::Class(Some(class)),
        ];
        let found = corrected(&steps, 0.1);
        let (model, again) = SliceCorrections::reopened(found.report.clone()).unwrap();
        assert_eq!(model, report().with_threshold(0.1));
        assert_eq!(again.corrected(&model, 0.1), found);
        let forged = |change: fn(&mut SliceReport)| {
            let mut forged = found.report.clone();
            change(&mut forged);
            SliceCorrections::reopened(forged)
        };
        assert!(forged(|report| report.lesions[2].score += 0.01).is_none(), "not the model's");
        assert!(forged(|report| report.corrections = None).is_none(), "drawn by nobody");
    }

    proptest! {
        #[test]
        fn whatever_is_done_areas_and_boxes_are_those_of_the_masks(
            steps in prop::collection::vec((0usize..6, 0usize..5, 0usize..5, 0f64..12.0, 0f64..4.0), 0..12)
        ) {
            let id = |index: usize| match index {
                0..3 => LesionId::Found(index),
                _ => LesionId::Drawn(index - 3),
            };
            let mut all = SliceCorrections::default();
            for (what, one, other, x, y) in steps {
                let correction = match what {
                    0 => Correction::Reject(id(one)),
                    1 => Correction::Restore(id(one)),
                    2 => Correction::Split(id(one)),
                    3 => Correction::Join(id(one), id(other)),
                    4 => stroke(None, &[(x, y), (y, x)], false),
                    _ => stroke(Some(id(one)), &[(x, y)], other > 2),
                };
                let before = all.clone();
                if all.apply(&correction, &report()).is_err() {
                    prop_assert_eq!(&all, &before);
                }
            }
            let found = all.corrected(&report(), 0.1);
            prop_assert_eq!(found.ids.len(), found.report.lesions.len());
            for lesion in &found.report.lesions {
                let mask = lesion.mask.as_ref().unwrap().decode().unwrap();
                prop_assert_eq!(lesion.area_px, mask.area());
                prop_assert!(lesion.area_px > 0);
                prop_assert_eq!(lesion.area_mm2, Some(mask.area() as f64));
            }
            // Written and opened again, it is what it was, and can be edited further.
            let known = found.report.lesions.clone();
            let (model, again) = SliceCorrections::reopened(found.report.clone()).unwrap();
            prop_assert!(again.fit(&model));
            prop_assert_eq!(&model, &report().with_threshold(0.1));
            let reopened = again.corrected(&model, 0.1);
            prop_assert_eq!(&reopened.report.lesions, &known);
            prop_assert_eq!(&reopened.report.lungs, &found.report.lungs);
            let models = |report: &SliceReport| {
                report.corrections.as_ref().map(|made| (made.model_lesions.clone(), made.class.clone()))
            };
            let (before, after) = (models(&found.report), models(&reopened.report));
            prop_assert!(after.is_none() || before == after);
            let is_plain = found.report.corrections.is_none();
            prop_assert!(!is_plain || reopened.report.corrections.is_none());
        }
    }
}
