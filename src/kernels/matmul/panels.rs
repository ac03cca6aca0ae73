//! Matrix products for wasm.
//!
//! An engine has sixteen vector registers for four numbers each. A tile of four rows and eight columns keeps eight of
//! them for its sums and needs three more for operands; larger tiles spill. The right operand lies in panels of eight
//! columns, so that it is read from front to back; the left one needs no order of its own, since one value of a row is
//! read at a time.

use crate::kernels::lanes::{F32x4, Number};

/// A row of a panel: its eight columns, as two vectors.
pub type PanelRow = [[f32; 4]; 2];
/// Columns of a tile, and of a panel.
const WIDTH: usize = 8;
/// Rows of a tile.
const ROWS: usize = 4;
/// Products summed before the sums go back to memory: a panel of this depth stays in the first-level cache.
const DEPTH: usize = 256;

/// Right operands of matrix products, all of one shape, in panels.
#[derive(Clone, Debug)]
pub struct PackedMatrices {
    /// `[matrix, panel, inner]` rows of a panel; what is beyond the last column is zero.
    rows: Vec<PanelRow>,
    inner: usize,
    columns: usize,
}

impl PackedMatrices {
    /// From row-major matrices of `inner` x `columns`, one after the other.
    pub fn new(values: Vec<f32>, [inner, columns]: [usize; 2]) -> Self {
        assert_eq!(values.len() % (inner * columns), 0);
        let mut rows = Vec::with_capacity(values.len().div_ceil(WIDTH));
        for matrix in values.chunks_exact(inner * columns) {
            for first in (0..columns).step_by(WIDTH) {
                let width = WIDTH.min(columns - first);
                rows.extend(matrix.chunks_exact(columns).map(|row| {
                    let mut padded = PanelRow::default();
                    padded.as_flattened_mut()[..width].copy_from_slice(&row[first..][..width]);
                    padded
                }));
            }
        }
        Self { rows, inner, columns }
    }

    /// `out = left * matrix` for the matrix of this index, by this kernel; `left` is `rows` x `inner`, `out` is `rows` x
    /// `columns`.
    ///
    /// # Panics
    /// If the slices do not fit each other.
    pub fn multiply_by(&self, kernel: Kernel, index: usize, left: &[f32], out: &mut [f32]) {
        let (inner, columns) = (self.inner, self.columns);
        assert_eq!((left.len() % inner, out.len() % columns), (0, 0));
        assert_eq!(left.len() / inner, out.len() / columns);
        let size = columns.div_ceil(WIDTH) * inner;
        let matrix = &self.rows[index * size..][..size];
        #[expect(
            unsafe_code,
            reason = "the fused kernel needs an engine that knows its instruction"
        )]
        // SAFETY: an engine that does not know it does not accept a program that has it.
        unsafe {
            kernel(matrix, [inner, columns], left, out);
        }
    }
}

/// Where a tile lies in its product.
pub struct Place {
    inner: usize,
    columns: usize,
    /// First of the products that are summed.
    start: usize,
    /// First column.
    first: usize,
}

/// Multiplies rows by a matrix in panels, of `inner` x `columns`.
pub type Kernel = unsafe fn(matrix: &[PanelRow], sizes: [usize; 2], left: &[f32], out: &mut [f32]);

/// Defines a tile: adds a panel's products with rows of the left operand to what lies in the output; the first ones
/// replace it. It is written out row by row, for an array that a loop fills would stay in memory.
macro_rules! tile {
    ($(#[$attribute:meta])? $name:ident, $mul_add:ident, $($row:literal: $left:ident $near:ident $far:ident)+) => {
        $(#[$attribute])?
        fn $name(left: &[f32], panel: &[PanelRow], out: &mut [f32], place: &Place) {
            let Place { inner, columns, start, first } = *place;
            let width = WIDTH.min(columns - first);
            let depth = panel.len();
            $(
                let $left = &left[$row * inner + start..][..depth];
                let [mut $near, mut $far] = if start > 0 {
                    load_row(&out[$row * columns + first..][..width])
                } else {
                    [F32x4::splat(0.0); 2]
                };
            )+
            for (index, [near, far]) in panel.iter().enumerate() {
                let (near, far) = (F32x4::load(near), F32x4::load(far));
                $(
                    #[expect(unsafe_code, reason = "checked indices cost a third of the speed")]
                    // SAFETY: every row has been cut to the length of the panel.
                    let value = F32x4::splat(unsafe { *$left.get_unchecked(index) });
                    $near = value.$mul_add(near, $near);
                    $far = value.$mul_add(far, $far);
                )+
            }
            $(store_row([$near, $far], &mut out[$row * columns + first..][..width]);)+
        }
    };
}

/// Defines a kernel from a way to multiply and add.
macro_rules! kernel {
    ($(#[$attribute:meta])? $name:ident, $mul_add:ident) => {
        mod $name {
            use super::*;

            tile!($(#[$attribute])? one_row, $mul_add, 0: a a0 a1);
            tile!($(#[$attribute])? two_rows, $mul_add, 0: a a0 a1  1: b b0 b1);
            tile!($(#[$attribute])? three_rows, $mul_add, 0: a a0 a1  1: b b0 b1  2: c c0 c1);
            tile!($(#[$attribute])? four_rows, $mul_add, 0: a a0 a1  1: b b0 b1  2: c c0 c1  3: d d0 d1);

            $(#[$attribute])?
            pub fn multiply(matrix: &[PanelRow], [inner, columns]: [usize; 2], left: &[f32], out: &mut [f32]) {
                for start in (0..inner).step_by(DEPTH) {
                    let depth = DEPTH.min(inner - start);
                    for (panel, first) in matrix.chunks_exact(inner).zip((0..columns).step_by(WIDTH)) {
                        let panel = &panel[start..][..depth];
                        let place = Place { inner, columns, start, first };
                        for (left, out) in left.chunks(ROWS * inner).zip(out.chunks_mut(ROWS * columns)) {
                            match out.len() / columns {
                                ROWS => four_rows(left, panel, out, &place),
                                3 => three_rows(left, panel, out, &place),
                                2 => two_rows(left, panel, out, &place),
                                _ => one_row(left, panel, out, &place),
                            }
                        }
                    }
                }
            }
        }
        pub use $name::multiply as $name;
    };
}

kernel!(rounded_twice, mul_add);
#[cfg(target_arch = "wasm32")]
kernel!(
    #[target_feature(enable = "relaxed-simd")]
    fused,
    fused_mul_add
);
#[cfg(not(target_arch = "wasm32"))]
kernel!(fused, fused_mul_add);

/// A row of a tile, which may be narrower.
#[inline(always)]
fn load_row(values: &[f32]) -> [F32x4; 2] {
    if values.len() == WIDTH {
        return [F32x4::load(&values[..4]), F32x4::load(&values[4..])];
    }
    let mut padded = [0.0; WIDTH];
    padded[..values.len()].copy_from_slice(values);
    [F32x4::load(&padded[..4]), F32x4::load(&padded[4..])]
}

/// Writes a row of a tile, which may be narrower.
#[inline(always)]
fn store_row([near, far]: [F32x4; 2], values: &mut [f32]) {
    if values.len() == WIDTH {
        near.store(&mut values[..4]);
        far.store(&mut values[4..]);
        return;
    }
    let mut padded = [0.0; WIDTH];
    near.store(&mut padded[..4]);
    far.store(&mut padded[4..]);
    values.copy_from_slice(&padded[..values.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn products_of_any_size_are_sums_of_products(
            count in 1usize..3, rows in 1usize..10, inner in 1usize..600, columns in 1usize..30,
        ) {
            // Small whole numbers: every order of summing gives the same.
            let numbers = |length: usize, seed: usize| -> Vec<f32> {
                (0..length).map(|index| ((index + seed) * 7919 % 13) as f32 - 6.0).collect()
            };
            let (left, right) = (numbers(rows * inner, 1), numbers(count * inner * columns, 2));
            let packed = PackedMatrices::new(right.clone(), [inner, columns]);
            for index in 0..count {
                let right = &right[index * inner * columns..];
                for kernel in [rounded_twice as Kernel, fused as Kernel] {
                    let mut out = vec![f32::NAN; rows * columns];
                    packed.multiply_by(kernel, index, &left, &mut out);
                    for (place, value) in out.iter().enumerate() {
                        let (row, column) = (place / columns, place % columns);
                        let products = (0..inner).map(|k| left[row * inner + k] * right[k * columns + column]);
                        prop_assert_eq!(*value, products.sum::<f32>());
                    }
                }
            }
        }
    }
}
