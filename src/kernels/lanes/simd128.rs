//! The vectors of WebAssembly.

use std::arch::wasm32::{
    f32x4_add, f32x4_mul, f32x4_pmax, f32x4_relaxed_madd, f32x4_splat, f32x4_sub, v128, v128_load,
    v128_store,
};
use std::ops::{Add, Sub};

use super::Number;

/// Four numbers.
#[derive(Clone, Copy)]
pub struct F32x4(v128);

impl F32x4 {
    /// From a slice of four.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the instruction takes a pointer")]
    pub fn load(values: &[f32]) -> Self {
        assert_eq!(values.len(), 4);
        // SAFETY: the slice has the sixteen bytes that are read; they need not be aligned.
        Self(unsafe { v128_load(values.as_ptr().cast()) })
    }

    /// Into a slice of four.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the instruction takes a pointer")]
    pub fn store(self, values: &mut [f32]) {
        assert_eq!(values.len(), 4);
        // SAFETY: the slice has the sixteen bytes that are written; they need not be aligned.
        unsafe { v128_store(values.as_mut_ptr().cast(), self.0) }
    }

    /// `self * factor + other`.
    #[inline(always)]
    pub fn mul_add(self, factor: Self, other: Self) -> Self {
        Self(f32x4_add(f32x4_mul(self.0, factor.0), other.0))
    }
}

impl F32x4 {
    /// `self * factor + other`, rounded once where the machine can. An engine that does not know the instruction refuses
    /// the whole module, so it must not be linked into a program for all.
    #[inline]
    #[target_feature(enable = "relaxed-simd")]
    pub fn fused_mul_add(self, factor: Self, other: Self) -> Self {
        Self(f32x4_relaxed_madd(self.0, factor.0, other.0))
    }
}

impl Add for F32x4 {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(f32x4_add(self.0, other.0))
    }
}

impl Sub for F32x4 {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(f32x4_sub(self.0, other.0))
    }
}

impl Number for F32x4 {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self(f32x4_splat(value))
    }

    #[inline(always)]
    fn times(self, factor: f32) -> Self {
        Self(f32x4_mul(self.0, f32x4_splat(factor)))
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self(f32x4_pmax(self.0, other.0))
    }
}
