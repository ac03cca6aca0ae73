//! Cross-validation: parts of the data that share no patient.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::train::rng::shuffled;

/// What is kept together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FoldBy {
    /// Patients: every fold has some of every source.
    #[default]
    Patient,
    /// Sources: a fold is like data from elsewhere.
    Source,
    /// Patients, by a hash of their name: in whatever set or list they occur, they fall into the same fold.
    Name,
}

/// Which part is held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// Number of parts.
    pub folds: usize,
    /// The part that is held out, from 0.
    pub fold: usize,
    /// What is kept together.
    pub by: FoldBy,
}

/// What the division needs to know of a slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Its source.
    pub source: String,
    /// What should be spread evenly over the folds beside sources, such as the class.
    pub stratum: usize,
    /// Its patient, told apart over all sources.
    pub patient: String,
}

impl Fold {
    /// Whether each slice belongs to the held-out part. On the same data it is the same part in every run.
    pub fn held_out(&self, slices: &[Origin]) -> Vec<bool> {
        if self.by == FoldBy::Name {
            return slices
                .iter()
                .map(|origin| self.of_name(&origin.patient) == self.fold)
                .collect();
        }
        let key = |origin: &Origin| match self.by {
            FoldBy::Patient | FoldBy::Name => origin.patient.clone(),
            FoldBy::Source => origin.source.clone(),
        };
        // Patients by source and stratum; one that occurs in several strata counts in the first.
        let mut strata: BTreeMap<(String, usize), Vec<String>> = BTreeMap::new();
        let mut known = BTreeMap::new();
        let mut sorted: Vec<&Origin> = slices.iter().collect();
        sorted.sort();
        for origin in sorted {
            if known.insert(key(origin), 0).is_none() {
                let stratum = match self.by {
                    FoldBy::Patient | FoldBy::Name => (origin.source.clone(), origin.stratum),
                    FoldBy::Source => Default::default(),
                };
                strata.entry(stratum).or_default().push(key(origin));
            }
        }
        let mut dealt = 0;
        for (number, patients) in strata.into_values().enumerate() {
            let order = match self.by {
                FoldBy::Patient | FoldBy::Name => shuffled(patients.len(), 0, number as u64),
                FoldBy::Source => (0..patients.len()).collect(),
            };
            for place in order {
                known.insert(patients[place].clone(), dealt % self.folds.max(1));
                dealt += 1;
            }
        }
        slices.iter().map(|origin| known.get(&key(origin)) == Some(&self.fold)).collect()
    }

    fn of_name(&self, name: &str) -> usize {
        let hash = Sha256::digest(name);
        let number = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        (number % self.folds.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn slices() -> Vec<Origin> {
        let origin = |i: usize| Origin {
            source: ["a", "b", "c"][i % 3].into(),
            stratum: (i / 3) % 2,
            patient: format!("{}/{}", i % 3, i / 6),
        };
        (0..240).map(origin).collect()
    }

    #[test]
    fn every_slice_is_held_out_once_and_no_patient_is_on_both_sides() {
        for by in [FoldBy::Patient, FoldBy::Source] {
            let slices = slices();
            let mut times = vec![0; slices.len()];
            for fold in 0..3 {
                let held = Fold { folds: 3, fold, by }.held_out(&slices);
                let side = |wanted: bool| -> BTreeSet<&String> {
                    let pairs = slices.iter().zip(&held);
                    pairs.filter(|(_, held)| **held == wanted).map(|(s, _)| &s.patient).collect()
                };
                assert!(side(true).is_disjoint(&side(false)));
                times.iter_mut().zip(&held).for_each(|(t, held)| *t += usize::from(*held));
            }
            assert!(times.iter().all(|t| *t == 1));
        }
    }

    #[test]
    fn folds_by_patient_are_of_one_size_and_have_every_source() {
        let slices = slices();
        let held = Fold { folds: 4, fold: 2, by: FoldBy::Patient }.held_out(&slices);
        let count = |source: &str| {
            slices.iter().zip(&held).filter(|(s, held)| **held && s.source == source).count()
        };
        for source in ["a", "b", "c"] {
            assert!((14..=28).contains(&count(source)), "{}", count(source));
        }
    }

    #[test]
    fn by_name_a_patient_falls_into_the_same_part_of_every_list() {
        let origin = |source: &str, patient: usize| Origin {
            source: source.into(),
            stratum: 0,
            patient: patient.to_string(),
        };
        let one: Vec<Origin> = (0..400).map(|patient| origin("a", patient)).collect();
        let other: Vec<Origin> = (200..300).map(|patient| origin("b", patient)).collect();
        let fold = Fold { folds: 4, fold: 1, by: FoldBy::Name };
        let (held, there) = (fold.held_out(&one), fold.held_out(&other));
        assert_eq!(held[200..300], there);
        let count = held.iter().filter(|held| **held).count();
        assert!((70..130).contains(&count), "{count}");
    }
}
