//! Dense matrix product on the CPU: a safe face for the `gemm` crate.

/// `out = left * right`, all row-major and contiguous: `out` is `rows` x `columns`, `left` is
/// `rows` x `inner`, `right` is `inner` x `columns`.
///
/// Runs on the calling thread: callers split their work by [`crate::parallel`].
///
/// # Panics
/// If a slice has another length.
pub fn matmul(out: &mut [f32], left: &[f32], right: &[f32], [rows, inner, columns]: [usize; 3]) {
    assert_eq!(out.len(), rows * columns);
    assert_eq!(left.len(), rows * inner);
    assert_eq!(right.len(), inner * columns);
    #[expect(unsafe_code, reason = "gemm takes pointers; the lengths are checked above")]
    // SAFETY: the strides describe row-major matrices that fill exactly the checked slices, and
    // `out` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns as isize,
            false,
            left.as_ptr(),
            1,
            inner as isize,
            right.as_ptr(),
            1,
            columns as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
