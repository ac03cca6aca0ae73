//! Winograd's convolution F(4x4, 3x3): four times fewer multiplications for a 3x3 kernel.
//!
//! Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks". A 6x6 patch of the
//! input and the kernel are transformed, multiplied entry by entry (summed over channels: 36 matrix
//! products), and transformed back to 4x4 outputs. In f32 the result differs from the direct sum by
//! about 1e-6 of its size.

use super::cpu_conv::{ConvShape, Epilogue};
use crate::matmul::matmul;
use crate::parallel;

/// Outputs per tile and axis.
const TILE: usize = 4;
/// Inputs per tile and axis.
const PATCH: usize = TILE + 2;
/// Entries of a transformed patch.
const ENTRIES: usize = PATCH * PATCH;

/// `G g G^T` for every kernel: `[out, in, 3, 3]` to `[36, in, out]`.
pub fn transform_weights(weight: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    const G: [[f64; 3]; PATCH] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];
    let mut transformed = vec![0.0; ENTRIES * inputs * outputs];
    for output in 0..outputs {
        for input in 0..inputs {
            let kernel = &weight[(output * inputs + input) * 9..][..9];
            for (i, left) in G.iter().enumerate() {
                for (j, right) in G.iter().enumerate() {
                    let mut sum = 0.0;
                    for (y, a) in left.iter().enumerate() {
                        for (x, b) in right.iter().enumerate() {
                            sum += a * f64::from(kernel[y * 3 + x]) * b;
                        }
                    }
                    let entry = i * PATCH + j;
                    transformed[(entry * inputs + input) * outputs + output] = sum as f32;
                }
            }
        }
    }
    transformed
}

/// Convolves one image, channels last, with padding 1.
pub fn forward(
    weights: &[f32],
    shape: &ConvShape,
    input: &[f32],
    (height, width): (usize, usize),
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let (inputs, outputs) = (shape.inputs, shape.outputs);
    let tiles_across = width.div_ceil(TILE);
    // About 64 tiles a stripe: enough for the matrix products, and the scratch stays in cache.
    let stripe_tiles_down = (64 / tiles_across).clamp(1, height.div_ceil(TILE).div_ceil(2));
    let stripe = stripe_tiles_down * TILE * width * outputs;
    parallel::for_each_chunk(output, stripe, |index, out| {
        let rows = out.len() / (width * outputs);
        let first_row = index * stripe_tiles_down * TILE;
        let tiles = rows.div_ceil(TILE) * tiles_across;
        let mut patches = vec![0.0; ENTRIES * tiles * inputs];
        let mut scratch = vec![0.0; ENTRIES * inputs.max(outputs)];
        let zeros = vec![0.0; inputs];
        for tile in 0..tiles {
            let top = first_row + tile / tiles_across * TILE;
            let left = tile % tiles_across * TILE;
            let pixel = |i: usize, j: usize| {
                let (y, x) = ((top + i).wrapping_sub(1), (left + j).wrapping_sub(1));
                if y < height && x < width {
                    &input[(y * width + x) * inputs..][..inputs]
                } else {
                    &zeros[..]
                }
            };
            transform_patch(pixel, &mut scratch, &mut patches, inputs, tile, tiles);
        }
        let mut products = vec![0.0; ENTRIES * tiles * outputs];
        for entry in 0..ENTRIES {
            matmul(
                &mut products[entry * tiles * outputs..][..tiles * outputs],
                &patches[entry * tiles * inputs..][..tiles * inputs],
                &weights[entry * inputs * outputs..][..inputs * outputs],
                [tiles, inputs, outputs],
            );
        }
        for tile in 0..tiles {
            let place = TilePlace {
                row: tile / tiles_across * TILE,
                column: tile % tiles_across * TILE,
                rows,
                width,
                offset: index * stripe,
            };
            let product = |entry: usize| &products[(entry * tiles + tile) * outputs..][..outputs];
            store_tile(product, &mut scratch, out, outputs, &place, epilogue);
        }
    });
}

/// `B^T d B` of one patch, for all channels at once, into `patches` `[36, tiles, inputs]`.
fn transform_patch<'a>(
    pixel: impl Fn(usize, usize) -> &'a [f32],
    scratch: &mut [f32],
    patches: &mut [f32],
    channels: usize,
    tile: usize,
    tiles: usize,
) {
    for j in 0..PATCH {
        let mut rest = &mut scratch[j * PATCH * channels..][..PATCH * channels];
        let column: [&[f32]; PATCH] = std::array::from_fn(|i| pixel(i, j));
        let out: [&mut [f32]; PATCH] = std::array::from_fn(|_| take(&mut rest, channels));
        input_transform(column, out);
    }
    let mut slots: Vec<&mut [f32]> = Vec::with_capacity(ENTRIES);
    let mut rest = patches;
    for _ in 0..ENTRIES {
        let slot = take(&mut rest, tiles * channels);
        slots.push(&mut slot[tile * channels..][..channels]);
    }
    let mut slots = slots.into_iter();
    for i in 0..PATCH {
        let row: [&[f32]; PATCH] =
            std::array::from_fn(|j| &scratch[(j * PATCH + i) * channels..][..channels]);
        let out: [&mut [f32]; PATCH] = std::array::from_fn(|_| slots.next().unwrap_or_default());
        input_transform(row, out);
    }
}

/// Splits the first `length` values off.
fn take<'a>(rest: &mut &'a mut [f32], length: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(rest).split_at_mut(length);
    *rest = tail;
    head
}

/// `B^T d` along one axis.
fn input_transform(d: [&[f32]; PATCH], out: [&mut [f32]; PATCH]) {
    let [d0, d1, d2, d3, d4, d5] = d;
    let [o0, o1, o2, o3, o4, o5] = out;
    let n = d0.len();
    let (d1, d2, d3, d4, d5) = (&d1[..n], &d2[..n], &d3[..n], &d4[..n], &d5[..n]);
    let (o0, o1, o2) = (&mut o0[..n], &mut o1[..n], &mut o2[..n]);
    let (o3, o4, o5) = (&mut o3[..n], &mut o4[..n], &mut o5[..n]);
    for c in 0..n {
        let even = d4[c] - 4.0 * d2[c];
        let odd = d3[c] - 4.0 * d1[c];
        let even_far = d4[c] - d2[c];
        let odd_far = 2.0 * (d3[c] - d1[c]);
        o0[c] = 4.0 * d0[c] - 5.0 * d2[c] + d4[c];
        o1[c] = even + odd;
        o2[c] = even - odd;
        o3[c] = even_far + odd_far;
        o4[c] = even_far - odd_far;
        o5[c] = 4.0 * d1[c] - 5.0 * d3[c] + d5[c];
    }
}

/// Where a tile's outputs go within a stripe.
struct TilePlace {
    row: usize,
    column: usize,
    rows: usize,
    width: usize,
    /// Start of the stripe in the whole output.
    offset: usize,
}

/// `A^T m A` of one tile, for all channels at once, into the output.
fn store_tile<'a>(
    product: impl Fn(usize) -> &'a [f32],
    scratch: &mut [f32],
    out: &mut [f32],
    channels: usize,
    place: &TilePlace,
    epilogue: &Epilogue<'_>,
) {
    for j in 0..PATCH {
        let mut rest = &mut scratch[j * TILE * channels..][..TILE * channels];
        let column: [&[f32]; PATCH] = std::array::from_fn(|i| product(i * PATCH + j));
        let half: [&mut [f32]; TILE] = std::array::from_fn(|_| take(&mut rest, channels));
        output_transform(column, half);
    }
    let across = TILE.min(place.width - place.column);
    let mut spill = vec![0.0; (TILE - across) * channels];
    for i in 0..TILE.min(place.rows - place.row) {
        let start = ((place.row + i) * place.width + place.column) * channels;
        let row: [&[f32]; PATCH] =
            std::array::from_fn(|j| &scratch[(j * TILE + i) * channels..][..channels]);
        let mut inside = &mut out[start..][..across * channels];
        let mut outside = &mut spill[..];
        let cells: [&mut [f32]; TILE] = std::array::from_fn(|j| {
            take(if j < across { &mut inside } else { &mut outside }, channels)
        });
        output_transform(row, cells);
        for j in 0..across {
            let pixel = start + j * channels;
            epilogue.apply(&mut out[pixel..][..channels], place.offset + pixel);
        }
    }
}

/// `A^T m` along one axis.
fn output_transform(m: [&[f32]; PATCH], out: [&mut [f32]; TILE]) {
    let [m0, m1, m2, m3, m4, m5] = m;
    let [o0, o1, o2, o3] = out;
    let n = m0.len();
    let (m1, m2, m3, m4, m5) = (&m1[..n], &m2[..n], &m3[..n], &m4[..n], &m5[..n]);
    let (o0, o1, o2, o3) = (&mut o0[..n], &mut o1[..n], &mut o2[..n], &mut o3[..n]);
    for c in 0..n {
        let near_sum = m1[c] + m2[c];
        let near_difference = m1[c] - m2[c];
        let far_sum = m3[c] + m4[c];
        let far_difference = m3[c] - m4[c];
        o0[c] = m0[c] + near_sum + far_sum;
        o1[c] = near_difference + 2.0 * far_difference;
        o2[c] = near_sum + 4.0 * far_sum;
        o3[c] = near_difference + 8.0 * far_difference + m5[c];
    }
}
