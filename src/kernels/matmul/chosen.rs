//! Which kernel a program multiplies by.

use std::sync::OnceLock;

use super::panels::{Kernel, PackedMatrices, fused, rounded_twice};

static CHOSEN: OnceLock<Kernel> = OnceLock::new();

/// Multiplies and adds in one step from now on. For programs that only run where the engine knows "relaxed SIMD".
pub fn fuse_multiply_add() {
    // It has been called before if the place is taken.
    let _ = CHOSEN.set(fused);
}

impl PackedMatrices {
    /// `out = left * matrix` for the matrix of this index; `left` is `rows` x `inner`, `out` is `rows` x `columns`.
    ///
    /// # Panics
    /// If the slices do not fit each other.
    pub fn multiply(&self, index: usize, left: &[f32], out: &mut [f32]) {
        let kernel = CHOSEN.get().copied().unwrap_or(rounded_twice);
        self.multiply_by(kernel, index, left, out);
    }
}
