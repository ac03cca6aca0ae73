//! How long each stage of a slice took.

use std::collections::BTreeMap;

use web_time::Instant;

use crate::inference::progress::Stage;

/// A clock that is lapped at the end of every stage.
#[derive(Debug)]
pub struct StageTimes {
    started: Instant,
    lap: Instant,
    milliseconds: BTreeMap<String, f64>,
}

impl StageTimes {
    /// Starts the first stage.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { started: now, lap: now, milliseconds: BTreeMap::new() }
    }

    /// Ends a stage; what a stage takes in several laps is summed.
    pub fn lap(&mut self, stage: Stage) {
        let spent = self.lap.elapsed().as_secs_f64() * 1e3;
        *self.milliseconds.entry(stage.name().into()).or_default() += spent;
        self.lap = Instant::now();
    }

    /// Milliseconds by the name of the stage, and in total.
    pub fn finish(mut self) -> BTreeMap<String, f64> {
        let total = self.started.elapsed().as_secs_f64() * 1e3;
        self.milliseconds.insert("total".into(), total);
        self.milliseconds
    }
}
