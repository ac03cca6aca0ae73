//! How good a run is on slices that it does not learn from, while it lasts.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::train::checkpoint::{CheckpointError, write_whole};
use crate::train::tensorboard;

/// File name of the best weights so far in the run's folder.
pub const BEST: &str = "best.bpk";

/// One look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Steps done.
    pub step: u64,
    /// What decides; more is better.
    pub score: f64,
    /// Everything measured, by name.
    pub measures: Vec<(String, f64)>,
}

/// All looks of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Looks(pub Vec<Look>);

impl Looks {
    /// The best look so far, the first of equals.
    pub fn best(&self) -> Option<&Look> {
        self.0.iter().rev().max_by(|a, b| a.score.total_cmp(&b.score))
    }

    /// Adds a look; whether it is the best.
    pub fn push(&mut self, look: Look) -> bool {
        let better = self.best().is_none_or(|best| look.score > best.score);
        self.0.push(look);
        better
    }

    /// Whether the last `patience` looks brought nothing better.
    pub fn stalled(&self, patience: usize) -> bool {
        let best = self.best().map_or(0, |best| best.step);
        self.0.iter().filter(|look| look.step > best).count() >= patience
    }

    /// Writes `validation.csv` and TensorBoard's event file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), CheckpointError> {
        let Some(first) = self.0.first() else { return Ok(()) };
        let names: Vec<&str> = first.measures.iter().map(|(name, _)| name.as_str()).collect();
        let mut text = format!("step,score,{}\n", names.join(","));
        for look in &self.0 {
            let values: Vec<String> = look.measures.iter().map(|(_, v)| v.to_string()).collect();
            writeln!(text, "{},{},{}", look.step, look.score, values.join(",")).ok();
        }
        write_whole(&folder.join("validation.csv"), text.as_bytes())?;
        let tags: Vec<String> = names.iter().map(|name| format!("validation/{name}")).collect();
        let values = |look: &Look| look.measures.iter().map(|(_, value)| *value as f32).collect();
        let steps = self.0.iter().map(|look| (look.step, values(look)));
        tensorboard::write(folder, "validation", &tags, steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_look_is_known_and_so_is_a_run_that_does_not_improve() {
        let mut looks = Looks::default();
        let mut push = |step, score| looks.push(Look { step, score, measures: Vec::new() });
        assert!(push(10, 0.3));
        assert!(push(20, 0.5));
        assert!(!push(30, 0.4));
        assert!(!push(40, 0.5));
        assert_eq!(looks.best().map(|look| look.step), Some(20));
        assert!(looks.stalled(2) && !looks.stalled(3));
    }
}
