//! A small computation with a known answer, run before a device is used.
//!
//! A device may compute wrong values without a word: a driver's fault, a shader that was compiled wrongly. So every worker
//! computes the self-test first, through the same network code as a slice, and compares it with values stored beside the
//! model.

use serde::{Deserialize, Serialize};

use crate::detection::BBox;
use crate::image::{CtSlice, NetworkInput};

/// Side of the self-test's picture.
pub const SIDE: usize = 64;
/// Largest difference from the stored values, relative to their largest magnitude. f32 on
/// different devices differs by 1e-4; a failed kernel by much more.
pub const TOLERANCE: f32 = 1e-2;
/// Values kept of each tensor.
const SAMPLES: usize = 24;

/// Expected samples of the network's outputs on the self-test's picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// Objectness logits and deltas of the proposals.
    pub proposals: Vec<f32>,
    /// Class logits and deltas of two fixed boxes.
    pub boxes: Vec<f32>,
    /// Mask logits of the same boxes; empty without a mask branch.
    pub masks: Vec<f32>,
}

impl SelfTest {
    /// The first disagreement with `actual`, in words.
    pub fn disagreement(&self, actual: &Self) -> Option<String> {
        [
            ("proposal maps", &self.proposals, &actual.proposals),
            ("box outputs", &self.boxes, &actual.boxes),
            ("masks", &self.masks, &actual.masks),
        ]
        .into_iter()
        .find_map(|(name, expected, actual)| {
            if expected.len() != actual.len() {
                return Some(format!("{name}: {} values, not {}", actual.len(), expected.len()));
            }
            let largest = expected.iter().fold(0.0f32, |max, value| max.max(value.abs()));
            let off = expected
                .iter()
                .zip(actual)
                .map(|(e, a)| if a.is_finite() { (e - a).abs() } else { f32::INFINITY })
                .fold(0.0f32, f32::max);
            (off > TOLERANCE * largest.max(1e-3))
                .then(|| format!("{name} are off by {off} where the largest is {largest}"))
        })
    }
}

/// The self-test's picture: rings and a ramp, the same everywhere.
pub fn input() -> NetworkInput {
    let pixels = (0..SIDE * SIDE)
        .map(|index| {
            let (x, y) = ((index % SIDE) as i32, (index / SIDE) as i32);
            let squared = (x - 26) * (x - 26) + (y - 34) * (y - 34);
            (40 + 2 * x + if squared / 90 % 2 == 0 { 90 } else { 0 }) as u8
        })
        .collect();
    let slice = CtSlice::new("self-test", (SIDE, SIDE), pixels);
    NetworkInput::with_sides(&slice, SIDE, SIDE)
}

/// The self-test's boxes.
pub fn boxes() -> [BBox; 2] {
    [BBox::new(6.0, 9.0, 41.0, 52.0), BBox::new(30.5, 3.0, 63.0, 30.0)]
}

/// A spread of samples from a tensor's values.
pub fn sample(values: &[f32]) -> Vec<f32> {
    let step = (values.len() / SAMPLES).max(1);
    // An odd step visits all channels and positions in turn.
    values.iter().step_by(step | 1).take(SAMPLES).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn self_test() -> SelfTest {
        SelfTest { proposals: vec![1.0, -8.0], boxes: vec![3.0], masks: vec![0.5] }
    }

    #[test]
    fn small_differences_pass_and_wrong_missing_or_nan_values_do_not() {
        let mut actual = self_test();
        actual.proposals[0] += 0.05;
        assert_eq!(self_test().disagreement(&actual), None);
        for change in [
            |c: &mut SelfTest| c.proposals[1] = 0.0,
            |c: &mut SelfTest| c.boxes[0] = f32::NAN,
            |c: &mut SelfTest| c.masks.clear(),
        ] {
            let mut actual = self_test();
            change(&mut actual);
            assert!(self_test().disagreement(&actual).is_some(), "{actual:?}");
        }
    }
}
