//! Winograd's convolution F(4x4, 3x3): four times fewer multiplications for a 3x3 kernel.
//!
//! Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks". A 6x6 patch of the
//! input and the kernel are transformed, multiplied entry by entry (summed over channels: 36 matrix
//! products), and transformed back to 4x4 outputs. In f32 the result differs from the direct sum by
//! about 1e-6 of its size.

#[cfg(not(target_arch = "wasm32"))]
mod gradient;

use crate::kernels::conv::ConvShape;
use crate::kernels::epilogue::Epilogue;
use crate::kernels::lanes::{self, Formula, Number};
use crate::kernels::matmul::PackedMatrices;
use crate::kernels::parallel;
#[cfg(not(target_arch = "wasm32"))]
pub use gradient::{input_gradient, weight_gradient};

/// Outputs per tile and axis.
pub const TILE: usize = 4;
/// Inputs per tile and axis.
pub const PATCH: usize = TILE + 2;
/// Entries of a transformed patch.
pub const ENTRIES: usize = PATCH * PATCH;

/// `G g G^T` for every kernel: `[out, in, 3, 3]` to 36 matrices `[in, out]`.
pub fn transform_weights(weight: &[f32], inputs: usize, outputs: usize) -> PackedMatrices {
    let mut taps = vec![0.0; 9 * inputs * outputs];
    for (output, kernels) in weight.chunks_exact(inputs * 9).enumerate() {
        for (input, kernel) in kernels.chunks_exact(9).enumerate() {
            for (tap, value) in kernel.iter().enumerate() {
                taps[(tap * inputs + input) * outputs + output] = *value;
            }
        }
    }
    transform_taps(&taps, [inputs, outputs])
}

/// The same for kernels that lie tap by tap, `[9, in, out]`.
pub fn transform_taps(taps: &[f32], [inputs, outputs]: [usize; 2]) -> PackedMatrices {
    let length = inputs * outputs;
    let mut half = vec![0.0; PATCH * 3 * length];
    for column in 0..3 {
        let taps = [0, 3, 6].map(|row| &taps[(row + column) * length..][..length]);
        let mut rest = &mut half[column * PATCH * length..][..PATCH * length];
        kernel_transform(taps, std::array::from_fn(|_| split_front(&mut rest, length)));
    }
    let mut transformed = vec![0.0; ENTRIES * length];
    for (row, out) in transformed.chunks_exact_mut(PATCH * length).enumerate() {
        let taps = [0, 1, 2].map(|column| &half[(column * PATCH + row) * length..][..length]);
        let mut rest = out;
        kernel_transform(taps, std::array::from_fn(|_| split_front(&mut rest, length)));
    }
    PackedMatrices::new(transformed, [inputs, outputs])
}

/// `G g` along one axis.
fn kernel_transform(g: [&[f32]; 3], out: [&mut [f32]; PATCH]) {
    let [g0, g1, g2] = g;
    let [o0, o1, o2, o3, o4, o5] = out;
    for i in 0..g0.len() {
        let outer = (g0[i] + g2[i]) / 6.0;
        let middle = g1[i] / 6.0;
        let far = g0[i] / 24.0 + g2[i] / 6.0;
        let far_middle = g1[i] / 12.0;
        o0[i] = g0[i] / 4.0;
        o1[i] = -outer - middle;
        o2[i] = middle - outer;
        o3[i] = far + far_middle;
        o4[i] = far - far_middle;
        o5[i] = g2[i];
    }
}

/// How a batch of images is cut into tiles; tiles are numbered row by row, image by image.
#[derive(Clone, Copy, Debug)]
pub struct Tiling {
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
    down: usize,
    across: usize,
}

impl Tiling {
    /// Covers images of this size.
    pub fn new(height: usize, width: usize) -> Self {
        Self { height, width, down: height.div_ceil(TILE), across: width.div_ceil(TILE) }
    }

    /// Tiles of one image.
    pub fn per_image(&self) -> usize {
        self.down * self.across
    }

    /// Image, first row and first column of a tile's outputs.
    pub fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (image, rest) = (tile / self.per_image(), tile % self.per_image());
        (image, rest / self.across * TILE, rest % self.across * TILE)
    }

    /// How to share tiles among threads: about 64 at a time are enough for the matrix products, and
    /// their scratch stays in cache. `(tiles, pixels)` of a part, which never straddles two images
    /// unless it holds whole ones.
    fn part(&self) -> (usize, usize) {
        let wanted = 64;
        if self.per_image() < wanted {
            let images = wanted.div_ceil(self.per_image());
            return (images * self.per_image(), images * self.height * self.width);
        }
        let rows = (wanted / self.across).clamp(1, self.down.div_ceil(2));
        (rows * self.across, rows * TILE * self.width)
    }
}

/// Convolves a batch of images, channels last, with padding 1.
pub fn forward(
    weights: &PackedMatrices,
    shape: &ConvShape,
    input: &[f32],
    tiling: &Tiling,
    output: &mut [f32],
    epilogue: &Epilogue<'_>,
) {
    let (part_tiles, part_pixels) = tiling.part();
    let image = tiling.height * tiling.width;
    // Parts of a large image end with it.
    let run = if part_pixels < image { image } else { output.len() / shape.outputs };
    for (index, output) in output.chunks_mut(run * shape.outputs).enumerate() {
        let first_tile = index * tiling.per_image();
        let offset = index * run * shape.outputs;
        parallel::for_each_chunk(output, part_pixels * shape.outputs, |part, out| {
            let first = first_tile + part * part_tiles;
            let place = Part { first, offset: offset + part * part_pixels * shape.outputs };
            forward_part(weights, shape, input, tiling, out, epilogue, &place);
        });
    }
}

/// A run of tiles and where its outputs begin in the whole output.
struct Part {
    first: usize,
    offset: usize,
}

fn forward_part(
    weights: &PackedMatrices,
    shape: &ConvShape,
    input: &[f32],
    tiling: &Tiling,
    out: &mut [f32],
    epilogue: &Epilogue<'_>,
    part: &Part,
) {
    let (inputs, outputs) = (shape.inputs, shape.outputs);
    let row = tiling.width * outputs;
    let rows = out.len() / row;
    let tiles = if rows > tiling.height {
        rows / tiling.height * tiling.per_image()
    } else {
        rows.div_ceil(TILE) * tiling.across
    };
    let patches = gather_patches(input, inputs, tiling, part.first..part.first + tiles);
    let mut products = vec![0.0; ENTRIES * tiles * outputs];
    for entry in 0..ENTRIES {
        let patches = &patches[entry * tiles * inputs..][..tiles * inputs];
        let products = &mut products[entry * tiles * outputs..][..tiles * outputs];
        weights.multiply(entry, patches, products);
    }
    let mut scratch = vec![0.0; ENTRIES * outputs];
    let (first_image, first_row, _) = tiling.place(part.first);
    for tile in 0..tiles {
        let (image, top, left) = tiling.place(part.first + tile);
        let place = TilePlace {
            row: (image - first_image) * tiling.height + top - first_row,
            column: left,
            rows: TILE.min(tiling.height - top),
            width: tiling.width,
            offset: part.offset,
        };
        let product = |entry: usize| &products[(entry * tiles + tile) * outputs..][..outputs];
        store_tile(product, &mut scratch, out, outputs, &place, epilogue);
    }
}

/// `B^T d B` for a range of tiles: `[36, tiles, channels]`.
pub fn gather_patches(
    input: &[f32],
    channels: usize,
    tiling: &Tiling,
    range: std::ops::Range<usize>,
) -> Vec<f32> {
    let Tiling { height, width, .. } = *tiling;
    let tiles = range.len();
    let mut patches = vec![0.0; ENTRIES * tiles * channels];
    let mut scratch = vec![0.0; ENTRIES * channels];
    let zeros = vec![0.0; channels];
    for (tile, global) in range.enumerate() {
        let (image, top, left) = tiling.place(global);
        let pixel = |i: usize, j: usize| {
            let (y, x) = ((top + i).wrapping_sub(1), (left + j).wrapping_sub(1));
            if y < height && x < width {
                &input[((image * height + y) * width + x) * channels..][..channels]
            } else {
                &zeros[..]
            }
        };
        transform_patch(pixel, &mut scratch, &mut patches, channels, tile, tiles);
    }
    patches
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
        let out: [&mut [f32]; PATCH] = std::array::from_fn(|_| split_front(&mut rest, channels));
        lanes::map(column, out, &InputTransform);
    }
    let mut slots: Vec<&mut [f32]> = Vec::with_capacity(ENTRIES);
    let mut rest = patches;
    for _ in 0..ENTRIES {
        let slot = split_front(&mut rest, tiles * channels);
        slots.push(&mut slot[tile * channels..][..channels]);
    }
    let mut slots = slots.into_iter();
    for i in 0..PATCH {
        let row: [&[f32]; PATCH] =
            std::array::from_fn(|j| &scratch[(j * PATCH + i) * channels..][..channels]);
        let out: [&mut [f32]; PATCH] = std::array::from_fn(|_| slots.next().unwrap_or_default());
        lanes::map(row, out, &InputTransform);
    }
}

/// Splits the first `length` values off.
pub fn split_front<'a>(rest: &mut &'a mut [f32], length: usize) -> &'a mut [f32] {
    let (head, tail) = std::mem::take(rest).split_at_mut(length);
    *rest = tail;
    head
}

/// `B^T d` along one axis.
struct InputTransform;

impl Formula<PATCH, PATCH> for InputTransform {
    #[inline(always)]
    fn apply<N: Number>(&self, [d0, d1, d2, d3, d4, d5]: [N; PATCH]) -> [N; PATCH] {
        let (even, odd) = (d4 - d2.times(4.0), d3 - d1.times(4.0));
        let (even_far, odd_far) = (d4 - d2, (d3 - d1).times(2.0));
        [
            d0.times(4.0) - d2.times(5.0) + d4,
            even + odd,
            even - odd,
            even_far + odd_far,
            even_far - odd_far,
            d1.times(4.0) - d3.times(5.0) + d5,
        ]
    }
}

/// Where a tile's outputs go within a part.
struct TilePlace {
    row: usize,
    column: usize,
    /// Rows of the tile inside its image.
    rows: usize,
    width: usize,
    /// Start of the part in the whole output.
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
        let half: [&mut [f32]; TILE] = std::array::from_fn(|_| split_front(&mut rest, channels));
        lanes::map(column, half, &OutputTransform);
    }
    let across = TILE.min(place.width - place.column);
    let mut spill = vec![0.0; (TILE - across) * channels];
    for i in 0..place.rows {
        let start = ((place.row + i) * place.width + place.column) * channels;
        let row: [&[f32]; PATCH] =
            std::array::from_fn(|j| &scratch[(j * TILE + i) * channels..][..channels]);
        let mut inside = &mut out[start..][..across * channels];
        let mut outside = &mut spill[..];
        let cells: [&mut [f32]; TILE] = std::array::from_fn(|j| {
            split_front(if j < across { &mut inside } else { &mut outside }, channels)
        });
        lanes::map(row, cells, &OutputTransform);
        for j in 0..across {
            let pixel = start + j * channels;
            epilogue.apply(&mut out[pixel..][..channels], place.offset + pixel);
        }
    }
}

/// `A^T m` along one axis.
struct OutputTransform;

impl Formula<PATCH, TILE> for OutputTransform {
    #[inline(always)]
    fn apply<N: Number>(&self, [m0, m1, m2, m3, m4, m5]: [N; PATCH]) -> [N; TILE] {
        let (near_sum, near_difference) = (m1 + m2, m1 - m2);
        let (far_sum, far_difference) = (m3 + m4, m3 - m4);
        [
            m0 + near_sum + far_sum,
            near_difference + far_difference.times(2.0),
            near_sum + far_sum.times(4.0),
            near_difference + far_difference.times(8.0) + m5,
        ]
    }
}
