// The first convolution, 7x7 with stride 2, of a grey picture.
//
// A normalised channel is (grey - mean) / deviation inside the picture and zero in the padding: so two channels, the
// intensity and "inside", say all that three do. One plane is uploaded; "inside" follows from the picture's size.

const KERNEL = 7u;

struct Shape {
    // The plane's size and the picture's in it.
    height: u32,
    width: u32,
    image_height: u32,
    image_width: u32,
    out_width: u32,
    rows: u32,
    // Output channels in fours.
    columns: u32,
}

@group(0) @binding(0) var<storage, read> grey: array<f32>;
// [49 taps, grey and inside, output channels]
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> shape: Shape;

// Intensity and "inside" under a tap.
fn load(row: u32, ky: u32, kx: u32) -> vec2<f32> {
    let y = (row / shape.out_width) * 2u + ky - 3u;
    let x = (row % shape.out_width) * 2u + kx - 3u;
    let inside = y < shape.image_height && x < shape.image_width;
    let place = select(0u, y * shape.width + x, inside);
    return select(vec2<f32>(), vec2<f32>(grey[place], 1.0), inside);
}

fn store(sum: vec4<f32>, row: u32, column: u32) {
    if row < shape.rows && column < shape.columns {
        output[row * shape.columns + column] = max(sum + bias[column], vec4<f32>());
    }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    let column = group.x * 16u + thread.x * 2u;
    let row = group.y * 32u + thread.y * 4u;
    let last = shape.rows - 1u;
    let column_a = min(column, shape.columns - 1u);
    let column_b = min(column + 1u, shape.columns - 1u);
    var a0 = vec4<f32>(); var b0 = vec4<f32>();
    var a1 = vec4<f32>(); var b1 = vec4<f32>();
    var a2 = vec4<f32>(); var b2 = vec4<f32>();
    var a3 = vec4<f32>(); var b3 = vec4<f32>();
    var weight = 0u;
    for (var ky = 0u; ky < KERNEL; ky++) {
        for (var kx = 0u; kx < KERNEL; kx++) {
            let x0 = load(min(row, last), ky, kx);
            let x1 = load(min(row + 1u, last), ky, kx);
            let x2 = load(min(row + 2u, last), ky, kx);
            let x3 = load(min(row + 3u, last), ky, kx);
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
        }
    }
    store(a0, row, column);
    store(b0, row, column + 1u);
    store(a1, row + 1u, column);
    store(b1, row + 1u, column + 1u);
    store(a2, row + 2u, column);
    store(b2, row + 2u, column + 1u);
    store(a3, row + 3u, column);
    store(b3, row + 3u, column + 1u);
}
