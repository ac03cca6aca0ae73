//! A safe face for the `gemm` crate, which packs its operands itself.

/// `out = left * right`, all row-major and contiguous: `out` is `rows` x `columns`, `left` is
/// `rows` x `inner`, `right` is `inner` x `columns`.
///
/// Runs on the calling thread: callers split their work by [`crate::kernels::parallel`].
///
/// # Panics
/// If a slice has another length.
pub fn matmul(out: &mut [f32], left: &[f32], right: &[f32], sizes: [usize; 3]) {
    let [_, inner, _] = sizes;
    product(out, (left, [inner, 1]), right, sizes, false);
}

/// `out += left^T * right`, all row-major and contiguous: `out` is `rows` x `columns`, `left` is
/// `inner` x `rows`, `right` is `inner` x `columns`.
///
/// # Panics
/// If a slice has another length.
pub fn add_transposed_matmul(out: &mut [f32], left: &[f32], right: &[f32], sizes: [usize; 3]) {
    let [rows, _, _] = sizes;
    product(out, (left, [1, rows]), right, sizes, true);
}

/// Right operands of matrix products, all of one shape; here simply row-major.
#[derive(Clone, Debug)]
pub struct PackedMatrices {
    values: Vec<f32>,
    inner: usize,
    columns: usize,
}

impl PackedMatrices {
    /// From row-major matrices of `inner` x `columns`, one after the other.
    pub fn new(values: Vec<f32>, [inner, columns]: [usize; 2]) -> Self {
        Self { values, inner, columns }
    }

    /// `out = left * matrix` for the matrix of this index; `left` is `rows` x `inner`, `out` is `rows` x `columns`.
    ///
    /// Runs on the calling thread: callers split their work by [`crate::kernels::parallel`].
    ///
    /// # Panics
    /// If the slices do not fit each other.
    pub fn multiply(&self, index: usize, left: &[f32], out: &mut [f32]) {
        let size = self.inner * self.columns;
        let right = &self.values[index * size..][..size];
        matmul(out, left, right, [out.len() / self.columns, self.inner, self.columns]);
    }
}

/// The product; `left` comes with its row and column strides.
fn product(
    out: &mut [f32],
    (left, [row_stride, column_stride]): (&[f32], [usize; 2]),
    right: &[f32],
    [rows, inner, columns]: [usize; 3],
    add: bool,
) {
    assert_eq!(out.len(), rows * columns);
    assert_eq!(left.len(), rows * inner);
    assert_eq!(right.len(), inner * columns);
    assert!(row_stride * column_stride == row_stride.max(column_stride));
    #[expect(unsafe_code, reason = "gemm takes pointers; the lengths are checked above")]
    // SAFETY: the strides describe dense matrices that fill exactly the checked slices (one stride
    // is 1, the other the length of a row), and `out` is borrowed mutably, so it overlaps neither
    // operand.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns as isize,
            add,
            left.as_ptr(),
            column_stride as isize,
            row_stride as isize,
            right.as_ptr(),
            1,
            columns as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
