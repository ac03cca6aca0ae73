// A convolution as a matrix product: rows are output pixels, columns are output channels, and what is summed are the
// kernel's taps and the input channels. With a 1x1 kernel it is a product of plain matrices.
//
// A thread holds 4 rows x 8 columns in eight named accumulators, a workgroup 32 x 64. Activations lie channels last, so
// a row's channels and the weights' columns are both read four at a time; caches share what neighbouring threads read.

// The kernel's side, its stride and padding.
override KERNEL: u32 = 1u;
override STRIDE: u32 = 1u;
override PADDING: u32 = 0u;
// What follows the sum.
override HAS_BIAS: bool = true;
override HAS_RESIDUAL: bool = false;
// Whether the residual is half as large along both axes, so that each of its cells is added to four.
override IS_RESIDUAL_COARSER: bool = false;
override HAS_RELU: bool = false;
// Whether only the first images count, as many as `count` says.
override IS_COUNTED: bool = false;

struct Shape {
    // Output pixels of one product, and of one image.
    rows: u32,
    image_rows: u32,
    // Output channels in fours.
    columns: u32,
    // Input channels in fours: of a pixel, and those that one product sums.
    channels: u32,
    inner: u32,
    // Input and output size.
    height: u32,
    width: u32,
    out_width: u32,
    // Width of a coarser residual.
    residual_width: u32,
    // From one product to the next, in fours: several may be run at once.
    input_step: u32,
    weight_step: u32,
    output_step: u32,
}

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
// [taps, input channels, output channels]
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> count: array<u32>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> shape: Shape;

// Where a row's tap lies in the input.
struct Tap {
    start: u32,
    inside: bool,
}

fn tap(row: u32, ky: u32, kx: u32, product: u32) -> Tap {
    let image = row / shape.image_rows;
    let pixel = row % shape.image_rows;
    // Unsigned: what is left of zero is larger than any size.
    let y = (pixel / shape.out_width) * STRIDE + ky - PADDING;
    let x = (pixel % shape.out_width) * STRIDE + kx - PADDING;
    let inside = y < shape.height && x < shape.width;
    let cell = (image * shape.height + select(0u, y, inside)) * shape.width + select(0u, x, inside);
    return Tap(product * shape.input_step + cell * shape.channels, inside);
}

fn load(tap: Tap, channel: u32) -> vec4<f32> {
    return select(vec4<f32>(), input[tap.start + channel], tap.inside);
}

fn residual_place(row: u32, column: u32, place: u32) -> u32 {
    if !IS_RESIDUAL_COARSER {
        return place;
    }
    let y = (row / shape.out_width) / 2u;
    let x = (row % shape.out_width) / 2u;
    return (y * shape.residual_width + x) * shape.columns + column;
}

fn store(sum: vec4<f32>, row: u32, column: u32, product: u32) {
    if row >= shape.rows || column >= shape.columns {
        return;
    }
    let place = product * shape.output_step + row * shape.columns + column;
    var value = sum;
    if HAS_BIAS {
        value += bias[column];
    }
    if HAS_RESIDUAL {
        value += residual[residual_place(row, column, place)];
    }
    if HAS_RELU {
        value = max(value, vec4<f32>());
    }
    output[place] = value;
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    let column = group.x * 16u + thread.x * 2u;
    let row = group.y * 32u + thread.y * 4u;
    let product = group.z;
    if IS_COUNTED && group.y * 32u >= count[0] * shape.image_rows {
        return;
    }
    // The last tile reads its last row and column again, and does not write them.
    let last_row = shape.rows - 1u;
    let last_column = shape.columns - 1u;
    let column_a = min(column, last_column);
    let column_b = min(column + 1u, last_column);
    var a0 = vec4<f32>(); var b0 = vec4<f32>();
    var a1 = vec4<f32>(); var b1 = vec4<f32>();
    var a2 = vec4<f32>(); var b2 = vec4<f32>();
    var a3 = vec4<f32>(); var b3 = vec4<f32>();
    var weight = product * shape.weight_step;
    for (var ky = 0u; ky < KERNEL; ky++) {
        for (var kx = 0u; kx < KERNEL; kx++) {
            let t0 = tap(min(row, last_row), ky, kx, product);
            let t1 = tap(min(row + 1u, last_row), ky, kx, product);
            let t2 = tap(min(row + 2u, last_row), ky, kx, product);
            let t3 = tap(min(row + 3u, last_row), ky, kx, product);
            for (var channel = 0u; channel < shape.inner; channel++) {
                let x0 = load(t0, channel);
                let x1 = load(t1, channel);
                let x2 = load(t2, channel);
                let x3 = load(t3, channel);
                var a = weights[weight + column_a];
                var b = weights[weight + column_b];
                a0 += x0.x * a; b0 += x0.x * b;
                a1 += x1.x * a; b1 += x1.x * b;
                a2 += x2.x * a; b2 += x2.x * b;
                a3 += x3.x * a; b3 += x3.x * b;
                weight += shape.columns;
                a = weights[weight + column_a];
                b = weights[weight + column_b];
                a0 += x0.y * a; b0 += x0.y * b;
                a1 += x1.y * a; b1 += x1.y * b;
                a2 += x2.y * a; b2 += x2.y * b;
                a3 += x3.y * a; b3 += x3.y * b;
                weight += shape.columns;
                a = weights[weight + column_a];
                b = weights[weight + column_b];
                a0 += x0.z * a; b0 += x0.z * b;
                a1 += x1.z * a; b1 += x1.z * b;
                a2 += x2.z * a; b2 += x2.z * b;
                a3 += x3.z * a; b3 += x3.z * b;
                weight += shape.columns;
                a = weights[weight + column_a];
                b = weights[weight + column_b];
                a0 += x0.w * a; b0 += x0.w * b;
                a1 += x1.w * a; b1 += x1.w * b;
                a2 += x2.w * a; b2 += x2.w * b;
                a3 += x3.w * a; b3 += x3.w * b;
                weight += shape.columns;
            }
        }
    }
    store(a0, row, column, product);
    store(b0, row, column + 1u, product);
    store(a1, row + 1u, column, product);
    store(b1, row + 1u, column + 1u, product);
    store(a2, row + 2u, column, product);
    store(b2, row + 2u, column + 1u, product);
    store(a3, row + 3u, column, product);
    store(b3, row + 3u, column + 1u, product);
}
