//! How the RoI batches of the three classes differ: Table 4, Table 5 and their figures
//! (docs/method.md, 8).

use serde::{Deserialize, Serialize};

use crate::classes::{CLASSES, SliceClass};
use crate::evaluate::kolmogorov_smirnov::{Alternative, KsTest, ks_test};
pub use crate::report::regions::THRESHOLDS;

/// The RoI batch of one slice, replicas included, by rank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SliceRegions {
    /// The slice.
    pub name: String,
    /// Its class.
    pub class: SliceClass,
    /// Score and area in square pixels of each slot.
    pub regions: Vec<(f64, f64)>,
}

impl SliceRegions {
    /// Slots with a higher score.
    pub fn over(&self, threshold: f64) -> usize {
        self.regions.iter().filter(|(score, _)| *score > threshold).count()
    }
}

/// A cell of Table 4.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Spread {
    /// Mean count.
    pub mean: f64,
    /// 1.96 sample standard deviations, which the paper prints as "0.95 CI".
    pub spread: f64,
    /// Slices.
    pub slices: usize,
}

/// A cell of Table 5.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// Class whose counts should be higher.
    pub higher: usize,
    /// Class compared with.
    pub lower: usize,
    /// Score threshold.
    pub threshold: f64,
    /// The test; none if a class has no slice, or no region of either passes the threshold.
    pub test: Option<KsTest>,
}

/// Tables 4 and 5.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoiDistribution {
    /// `[threshold][class]`.
    pub table4: Vec<[Option<Spread>; CLASSES]>,
    /// COVID-19 against common pneumonia and control, common pneumonia against control.
    pub table5: Vec<Comparison>,
}

/// Counts per slice, `[threshold][class]`.
pub fn counts(slices: &[SliceRegions]) -> Vec<[Vec<f64>; CLASSES]> {
    let of = |threshold: f64, class: SliceClass| {
        slices.iter().filter(|s| s.class == class).map(|s| s.over(threshold) as f64).collect()
    };
    THRESHOLDS.iter().map(|t| SliceClass::ALL.map(|class| of(*t, class))).collect()
}

/// Measures.
pub fn analyse(slices: &[SliceRegions]) -> RoiDistribution {
    let counts = counts(slices);
    let spread = |values: &Vec<f64>| {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (count - 1.0).max(1.0)).sqrt();
        (!values.is_empty()).then_some(Spread {
            mean,
            spread: 1.96 * deviation,
            slices: values.len(),
        })
    };
    let table4 = counts.iter().map(|classes| classes.each_ref().map(spread)).collect();
    let mut table5 = Vec::new();
    for (higher, lower) in [(2, 1), (2, 0), (1, 0)] {
        for (threshold, classes) in THRESHOLDS.into_iter().zip(&counts) {
            let (first, second) = (&classes[higher], &classes[lower]);
            // A sample of zeros alone says nothing; the paper writes N/A.
            let silent =
                second.iter().all(|count| *count == 0.0) && first.iter().all(|c| *c == 0.0);
            let test = ks_test(first, second, Alternative::Less).filter(|_| !silent);
            table5.push(Comparison { higher, lower, threshold, test });
        }
    }
    RoiDistribution { table4, table5 }
}
