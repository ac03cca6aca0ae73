//! Channel by channel, in loops of which a compiler makes vectors.

use super::Formula;

/// Applies a formula to every channel; all slices are as long as the first.
#[inline(always)]
pub fn map<const INPUTS: usize, const OUTPUTS: usize>(
    inputs: [&[f32]; INPUTS],
    outputs: [&mut [f32]; OUTPUTS],
    formula: &impl Formula<INPUTS, OUTPUTS>,
) {
    let channels = inputs[0].len();
    let inputs = inputs.map(|values| &values[..channels]);
    let mut outputs = outputs.map(|values| &mut values[..channels]);
    for channel in 0..channels {
        let results = formula.apply(inputs.map(|values| values[channel]));
        for (output, result) in outputs.iter_mut().zip(results) {
            output[channel] = result;
        }
    }
}

/// Replaces every channel's value by a formula of itself and that of another slice, which is at least as long.
#[inline(always)]
pub fn update(values: &mut [f32], others: &[f32], formula: &impl Formula<2, 1>) {
    for (value, other) in values.iter_mut().zip(others) {
        [*value] = formula.apply([*value, *other]);
    }
}
