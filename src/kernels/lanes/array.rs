//! Stands for the vectors of WebAssembly where their code is tested natively.

use std::ops::{Add, Sub};

use super::Number;

/// Four numbers.
#[derive(Clone, Copy)]
pub struct F32x4([f32; 4]);

impl F32x4 {
    /// From a slice of four.
    pub fn load(values: &[f32]) -> Self {
        Self(std::array::from_fn(|lane| values[lane]))
    }

    /// Into a slice of four.
    pub fn store(self, values: &mut [f32]) {
        values.copy_from_slice(&self.0);
    }

    /// `self * factor + other`.
    pub fn mul_add(self, factor: Self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + other.0[lane]))
    }
}

impl F32x4 {
    /// `self * factor + other`, rounded once.
    pub fn fused_mul_add(self, factor: Self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane].mul_add(factor.0[lane], other.0[lane])))
    }
}

impl Add for F32x4 {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }
}

impl Sub for F32x4 {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] - other.0[lane]))
    }
}

impl Number for F32x4 {
    fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    fn times(self, factor: f32) -> Self {
        Self(self.0.map(|value| value * factor))
    }

    fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| Number::max(self.0[lane], other.0[lane])))
    }
}
