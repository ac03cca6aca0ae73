//! Formulas over channels: written once, computed one channel at a time natively and four at a time in wasm.
//!
//! Natively the compiler makes vectors of such a loop. Programs for the web are built for size, where it does not.

#[cfg(all(test, not(target_arch = "wasm32")))]
mod array;
#[cfg(any(test, target_arch = "wasm32"))]
mod by_four;
#[cfg(not(target_arch = "wasm32"))]
mod by_one;
#[cfg(target_arch = "wasm32")]
mod simd128;

use std::ops::{Add, Sub};

#[cfg(all(test, not(target_arch = "wasm32")))]
pub use array::F32x4;
#[cfg(target_arch = "wasm32")]
pub use by_four::{map, update};
#[cfg(not(target_arch = "wasm32"))]
pub use by_one::{map, update};
#[cfg(target_arch = "wasm32")]
pub use simd128::F32x4;

/// What a formula is computed with: a number, or four at a time.
pub trait Number: Copy + Add<Output = Self> + Sub<Output = Self> {
    /// A constant.
    fn splat(value: f32) -> Self;
    /// Multiplied by a constant.
    fn times(self, factor: f32) -> Self;
    /// The larger of two numbers; `self` if `other` is none.
    fn max(self, other: Self) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn times(self, factor: f32) -> Self {
        self * factor
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
}

/// What becomes of the values of one channel.
pub trait Formula<const INPUTS: usize, const OUTPUTS: usize> {
    /// The outputs.
    fn apply<N: Number>(&self, inputs: [N; INPUTS]) -> [N; OUTPUTS];
}

/// The sum of two values.
pub struct Sum;

impl Formula<2, 1> for Sum {
    #[inline(always)]
    fn apply<N: Number>(&self, [a, b]: [N; 2]) -> [N; 1] {
        [a + b]
    }
}

/// The sum of two values, or zero if that is more.
pub struct SumThenRelu;

impl Formula<2, 1> for SumThenRelu {
    #[inline(always)]
    fn apply<N: Number>(&self, [a, b]: [N; 2]) -> [N; 1] {
        [N::splat(0.0).max(a + b)]
    }
}

/// The first value and a multiple of the second.
pub struct AddMultiple(pub f32);

impl Formula<2, 1> for AddMultiple {
    #[inline(always)]
    fn apply<N: Number>(&self, [sum, value]: [N; 2]) -> [N; 1] {
        [sum + value.times(self.0)]
    }
}

/// The larger of two values.
pub struct Max;

impl Formula<2, 1> for Max {
    #[inline(always)]
    fn apply<N: Number>(&self, [a, b]: [N; 2]) -> [N; 1] {
        [a.max(b)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_at_a_time_give_what_one_at_a_time_gives() {
        for channels in [0, 1, 3, 4, 7, 64] {
            let values = |seed: usize| -> Vec<f32> {
                (0..channels).map(|channel| ((channel + seed) * 37 % 19) as f32 - 9.0).collect()
            };
            let (first, second) = (values(1), values(5));
            let (mut one, mut four) = (vec![0.0; channels], vec![0.0; channels]);
            by_one::map([&first, &second], [&mut one], &SumThenRelu);
            by_four::map([&first[..], &second], [&mut four[..]], &SumThenRelu);
            assert_eq!(one, four);
            let (mut one, mut four) = (first.clone(), first);
            // The other slice may be longer.
            let longer = [&second[..], &[5.0; 9]].concat();
            by_one::update(&mut one, &longer, &AddMultiple(0.5));
            by_four::update(&mut four, &longer, &AddMultiple(0.5));
            assert_eq!(one, four);
        }
    }

    #[test]
    fn a_maximum_passes_over_what_is_no_number() {
        assert_eq!(Max.apply([1.0, f32::NAN]), [1.0]);
        assert_eq!(SumThenRelu.apply([f32::NAN, 1.0]), [0.0]);
        let mut stored = [0.0; 4];
        F32x4::load(&[1.0; 4]).max(F32x4::load(&[f32::NAN, 2.0, 0.0, 1.0])).store(&mut stored);
        assert_eq!(stored, [1.0, 2.0, 1.0, 1.0]);
    }
}
