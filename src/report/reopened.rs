//! A report of which only what a reader made of it is known, taken apart again: what the model found, and what was
//! corrected.

use crate::detection::Mask;
use crate::report::correction::LesionId;
use crate::report::corrections::{SliceCorrections, rank};
use crate::report::slice::{Lesion, Origin, SliceReport};

impl SliceCorrections {
    /// The model's report behind a corrected one, and the corrections that make the second of the first; `None` if they
    /// contradict each other. What is not written down is lost: lesions under the threshold that the report was made with,
    /// the outlines of lesions that were rejected after they had been changed, and which parts of a split one were.
    pub fn reopened(corrected: SliceReport) -> Option<(SliceReport, Self)> {
        let mut own = Self { measurements: corrected.measurements.clone(), ..Self::default() };
        let Some(made) = corrected.corrections.clone() else {
            let models = corrected.lesions.iter().all(|lesion| lesion.origin.is_model());
            let report = SliceReport { measurements: Vec::new(), ..corrected };
            return models.then_some((report, own));
        };
        own.class = made.class;
        let mut report = SliceReport {
            lesions: made.model_lesions,
            corrections: None,
            measurements: Vec::new(),
            ..corrected
        };
        if !report.lesions.iter().all(|lesion| lesion.origin.is_model()) {
            return None;
        }
        let mut is_free = vec![true; report.lesions.len()];
        let mut changed = Vec::new();
        for lesion in corrected.lesions {
            if lesion.origin.is_model() {
                let place = (0..is_free.len())
                    .find(|place| is_free[*place] && report.lesions[*place] == lesion)?;
                is_free[place] = false;
            } else {
                changed.push(lesion);
            }
        }
        own.changed = numbered(changed, &report.lesions, &mut is_free);
        own.drawn = own.changed.iter().filter(|(id, _)| matches!(id, LesionId::Drawn(_))).count();
        // What is neither left nor changed was rejected, or joined to one that was changed.
        let mut gone: Vec<usize> = (0..is_free.len()).filter(|place| is_free[*place]).collect();
        let outlines: Vec<Mask> =
            own.changed.iter().filter_map(|(_, lesion)| mask(lesion)).collect();
        gone.sort_by_cached_key(|place| covered(&report.lesions[*place], &outlines));
        let joined = gone.split_off(made.rejected.min(gone.len()));
        gone.sort_unstable();
        own.rejected = gone.into_iter().map(LesionId::Found).collect();
        own.joined = joined.into_iter().map(LesionId::Found).collect();
        let labels = report.label_map();
        report.lungs = report.lungs.map(|lungs| lungs.with_lesions(&labels));
        Some((report, own))
    }
}

/// Which lesion each changed one is, from the order in which they are listed: first those that were drawn or split off,
/// the last first, then those of the model in its order. A lesion that was changed keeps its score.
fn numbered(
    changed: Vec<Lesion>,
    found: &[Lesion],
    is_free: &mut [bool],
) -> Vec<(LesionId, Lesion)> {
    let mut below = found.len();
    let mut ids = vec![None; changed.len()];
    for (id, lesion) in ids.iter_mut().zip(&changed).rev() {
        let is_own = |place: &usize| {
            is_free[*place] && found[*place].score.to_bits() == lesion.score.to_bits()
        };
        let place = (0..below).rev().find(is_own).filter(|_| lesion.origin == Origin::Edited);
        let Some(place) = place else { break };
        (below, is_free[place]) = (place, false);
        *id = Some(LesionId::Found(place));
    }
    let drawn = ids.iter().filter(|id| id.is_none()).count();
    let numbers = (0..drawn).rev().map(LesionId::Drawn);
    let ids = numbers.chain(ids.into_iter().flatten());
    let mut numbered: Vec<(LesionId, Lesion)> = ids.zip(changed).collect();
    numbered.sort_by_key(|(id, _)| rank(*id));
    numbered
}

fn mask(lesion: &Lesion) -> Option<Mask> {
    lesion.mask.as_ref()?.decode().ok()
}

/// Share of a lesion that lies in one of these masks, in thousandths.
fn covered(lesion: &Lesion, others: &[Mask]) -> usize {
    let Some(own) = mask(lesion) else { return 0 };
    let is_covered = |place: &usize| {
        let in_other = |other: &Mask| other.pixels.get(*place).is_some_and(|inside| *inside);
        own.pixels[*place] && others.iter().any(in_other)
    };
    1000 * (0..own.pixels.len()).filter(is_covered).count() / own.area().max(1)
}
