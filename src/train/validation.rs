//! How good a run is on slices that it does not learn from, while it lasts.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::train::checkpoint::{CheckpointError, write_whole};
use crate::train::tensorboard;

/// File name of the best weights so far in the run's folder.
pub const BEST: &str = "best.bpk";

/// One validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationPoint {
    /// Steps done.
    pub step: u64,
    /// What decides; more is better.
    pub score: f64,
    /// Everything measured, by name.
    pub measures: Vec<(String, f64)>,
}

/// All validations of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ValidationHistory(pub Vec<ValidationPoint>);

impl ValidationHistory {
    /// The best so far, the first of equals.
    pub fn best(&self) -> Option<&ValidationPoint> {
        self.0.iter().rev().max_by(|a, b| a.score.total_cmp(&b.score))
    }

    /// Adds one; whether it is the best.
    pub fn push(&mut self, point: ValidationPoint) -> bool {
        let better = self.best().is_none_or(|best| point.score > best.score);
        self.0.push(point);
        better
    }

    /// Whether the last `patience` validations brought nothing better.
    pub fn stalled(&self, patience: usize) -> bool {
        let best = self.best().map_or(0, |best| best.step);
        self.0.iter().filter(|point| point.step > best).count() >= patience
    }

    /// Writes `validation.csv` and TensorBoard's event file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), CheckpointError> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let names: Vec<&str> = first.measures.iter().map(|(name, _)| name.as_str()).collect();
        let mut text = format!("step,score,{}\n", names.join(","));
        for point in &self.0 {
            let values: Vec<String> = point.measures.iter().map(|(_, v)| v.to_string()).collect();
            writeln!(text, "{},{},{}", point.step, point.score, values.join(",")).ok();
        }
        write_whole(&folder.join("validation.csv"), text.as_bytes())?;
        let tags: Vec<String> = names.iter().map(|name| format!("validation/{name}")).collect();
        let values = |point: &ValidationPoint| {
            point.measures.iter().map(|(_, value)| *value as f32).collect()
        };
        let steps = self.0.iter().map(|point| (point.step, values(point)));
        tensorboard::write(folder, "validation", &tags, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_validation_is_known_and_so_is_a_run_that_does_not_improve() {
        let mut history = ValidationHistory::default();
        let mut push =
            |step, score| history.push(ValidationPoint { step, score, measures: Vec::new() });
        assert!(push(10, 0.3));
        assert!(push(20, 0.5));
        assert!(!push(30, 0.4));
        assert!(!push(40, 0.5));
        assert_eq!(history.best().map(|point| point.step), Some(20));
        assert!(history.stalled(2) && !history.stalled(3));
    }
}
