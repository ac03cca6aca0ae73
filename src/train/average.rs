//! A moving average of the weights.
//!
//! With one slice per step, the last weights lean towards the last slices. Their exponential average
//! leans less (Polyak & Juditsky 1992; Tarvainen & Valpola 2017). The paper does not do it.

use crate::network::StateDict;

/// Steps between two updates: an update reads every parameter.
const EVERY: u64 = 10;

/// The average over the steps so far.
#[derive(Clone, Debug)]
pub struct WeightAverage {
    keep: f64,
    state: StateDict,
}

impl WeightAverage {
    /// An average that begins at `start` and keeps the share `keep` of itself at every step.
    pub fn new(keep: f64, start: StateDict) -> Self {
        Self { keep, state: start }
    }

    /// Takes in the weights after step `step` of `steps`; `weights` is asked for them only when they count.
    pub fn update(&mut self, step: u64, steps: u64, weights: impl FnOnce() -> StateDict) {
        let since = match step % EVERY {
            0 => EVERY,
            since if step == steps => since,
            _ => return,
        };
        // A young average must not lean on weights from before the run: it spans a third of the steps so far.
        let young = step as f64 / (step as f64 + 3.0 * EVERY as f64);
        let add = (1.0 - self.keep.powi(since as i32).min(young)) as f32;
        for (name, parameter) in weights().tensors {
            let Some(mean) = self.state.tensors.get_mut(&name) else { continue };
            for (mean, value) in mean.values.iter_mut().zip(parameter.values) {
                *mean += add * (value - *mean);
            }
        }
    }

    /// The averaged weights.
    pub fn state(&self) -> &StateDict {
        &self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::weights::Parameter;

    fn weights(value: f32) -> StateDict {
        let mut state = StateDict::default();
        state.tensors.insert("w".into(), Parameter { shape: vec![1], values: vec![value] });
        state
    }

    #[test]
    fn it_settles_between_weights_that_swing() {
        let mut average = WeightAverage::new(0.99, weights(100.0));
        for step in 1..=2000 {
            let swing = if (step / EVERY).is_multiple_of(2) { 4.0 } else { 2.0 };
            average.update(step, 2000, || weights(swing));
        }
        let mean = average.state().tensors["w"].values[0];
        assert!((mean - 3.0).abs() < 0.1, "{mean}");
    }

    #[test]
    fn steps_between_updates_are_not_read_but_for_the_last() {
        let mut average = WeightAverage::new(0.9, weights(1.0));
        average.update(3, 8, || panic!("nobody needs these weights"));
        assert_eq!(average.state().tensors["w"].values, [1.0]);
        average.update(8, 8, || weights(2.0));
        let mean = average.state().tensors["w"].values[0];
        assert!(mean > 1.5, "a short run would ship its beginning: {mean}");
    }
}
