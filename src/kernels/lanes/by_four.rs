//! Four channels at a time, and the rest one by one.

use super::{F32x4, Formula};

/// Applies a formula to every channel; all slices are as long as the first.
#[inline(always)]
pub fn map<const INPUTS: usize, const OUTPUTS: usize>(
    inputs: [&[f32]; INPUTS],
    outputs: [&mut [f32]; OUTPUTS],
    formula: &impl Formula<INPUTS, OUTPUTS>,
) {
    let channels = inputs[0].len();
    let inputs = inputs.map(|values| values[..channels].as_chunks::<4>());
    let mut outputs = outputs.map(|values| values[..channels].as_chunks_mut::<4>());
    for chunk in 0..channels / 4 {
        let results = formula.apply(inputs.map(|(chunks, _)| F32x4::load(&chunks[chunk])));
        for ((chunks, _), result) in outputs.iter_mut().zip(results) {
            result.store(&mut chunks[chunk]);
        }
    }
    for channel in 0..channels % 4 {
        let results = formula.apply(inputs.map(|(_, rest)| rest[channel]));
        for ((_, rest), result) in outputs.iter_mut().zip(results) {
            rest[channel] = result;
        }
    }
}

/// Replaces every channel's value by a formula of itself and another one.
#[inline(always)]
pub fn update(values: &mut [f32], others: &[f32], formula: &impl Formula<2, 1>) {
    let (values, values_rest) = values.as_chunks_mut::<4>();
    let (others, others_rest) = others.as_chunks::<4>();
    for (value, other) in values.iter_mut().zip(others) {
        let [result] = formula.apply([F32x4::load(value), F32x4::load(other)]);
        result.store(value);
    }
    for (value, other) in values_rest.iter_mut().zip(others_rest) {
        [*value] = formula.apply([*value, *other]);
    }
}
