//! Patches of an image as rows of a matrix.

use super::ConvShape;

/// Appends the pixels of an image `[height, width, in]` under the kernel at an output pixel (row, column):
/// `[kernel, kernel, in]`, with zeros for those outside.
pub fn append_patch(
    columns: &mut Vec<f32>,
    image: &[f32],
    (height, width): (usize, usize),
    shape: &ConvShape,
    [row, column]: [usize; 2],
) {
    let ConvShape { inputs, kernel, stride, padding, .. } = *shape;
    let left = (column * stride) as isize - padding as isize;
    for ky in 0..kernel {
        let y = (row * stride + ky).wrapping_sub(padding);
        let line = (y < height).then(|| &image[y * width * inputs..][..width * inputs]);
        append_taps(columns, line, left, kernel, inputs);
    }
}

/// Appends `kernel` neighbouring pixels of an image's line, the first at column `left`; zeros stand for
/// what lies outside. Pixels of a line lie together, so those inside are one copy.
fn append_taps(
    columns: &mut Vec<f32>,
    line: Option<&[f32]>,
    left: isize,
    kernel: usize,
    inputs: usize,
) {
    let end = columns.len() + kernel * inputs;
    if let Some(line) = line {
        let width = (line.len() / inputs) as isize;
        let first = left.clamp(0, width);
        let last = (left + kernel as isize).clamp(first, width);
        columns.resize(columns.len() + (first - left).min(kernel as isize) as usize * inputs, 0.0);
        columns.extend_from_slice(&line[first as usize * inputs..last as usize * inputs]);
    }
    columns.resize(end, 0.0);
}
