//! Four channels at a time, and the rest one by one.
//!
//! Where a program is built for size, an array that a loop fills stays in memory instead of registers. So loading and
//! storing are written out, by a macro, for the numbers of inputs and outputs that formulas have.

use super::{F32x4, Formula};

/// What a formula reads: slices of one length.
pub trait Inputs<const COUNT: usize>: Sized {
    /// All cut to the length of the first, and that length.
    fn cut(self) -> (Self, usize);
    /// Of four channels from this one on.
    fn load(&self, channel: usize) -> [F32x4; COUNT];
    /// Of one channel.
    fn get(&self, channel: usize) -> [f32; COUNT];
}

/// What a formula writes.
pub trait Outputs<const COUNT: usize>: Sized {
    /// All cut to a length.
    fn cut(self, length: usize) -> Self;
    /// Of four channels from this one on.
    fn store(&mut self, channel: usize, results: [F32x4; COUNT]);
    /// Of one channel.
    fn set(&mut self, channel: usize, results: [f32; COUNT]);
}

macro_rules! slices {
    ($($count:literal: $($index:literal)+;)+) => {$(
        impl Inputs<$count> for [&[f32]; $count] {
            #[inline(always)]
            fn cut(self) -> (Self, usize) {
                let length = self[0].len();
                ([$(&self[$index][..length]),+], length)
            }

            #[inline(always)]
            fn load(&self, channel: usize) -> [F32x4; $count] {
                [$(F32x4::load(&self[$index][channel..channel + 4])),+]
            }

            #[inline(always)]
            fn get(&self, channel: usize) -> [f32; $count] {
                [$(self[$index][channel]),+]
            }
        }

        impl Outputs<$count> for [&mut [f32]; $count] {
            #[inline(always)]
            fn cut(mut self, length: usize) -> Self {
                [$(&mut std::mem::take(&mut self[$index])[..length]),+]
            }

            #[inline(always)]
            fn store(&mut self, channel: usize, results: [F32x4; $count]) {
                $(results[$index].store(&mut self[$index][channel..channel + 4]);)+
            }

            #[inline(always)]
            fn set(&mut self, channel: usize, results: [f32; $count]) {
                $(self[$index][channel] = results[$index];)+
            }
        }
    )+};
}

slices! {
    1: 0;
    2: 0 1;
    4: 0 1 2 3;
    6: 0 1 2 3 4 5;
}

/// Applies a formula to every channel; all slices are at least as long as the first.
#[inline(always)]
pub fn map<const INPUTS: usize, const OUTPUTS: usize>(
    inputs: impl Inputs<INPUTS>,
    outputs: impl Outputs<OUTPUTS>,
    formula: &impl Formula<INPUTS, OUTPUTS>,
) {
    let (inputs, channels) = inputs.cut();
    let mut outputs = outputs.cut(channels);
    let mut channel = 0;
    while channel + 4 <= channels {
        outputs.store(channel, formula.apply(inputs.load(channel)));
        channel += 4;
    }
    while channel < channels {
        outputs.set(channel, formula.apply(inputs.get(channel)));
        channel += 1;
    }
}

/// Replaces every channel's value by a formula of itself and that of another slice, which is at least as long.
#[inline(always)]
pub fn update(values: &mut [f32], others: &[f32], formula: &impl Formula<2, 1>) {
    let others = &others[..values.len()];
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
