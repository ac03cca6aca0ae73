// Winograd's F(4x4, 3x3), last part: A^T m A of every tile, then bias, residual and ReLU. Four channels of a tile a thread.

// What follows the sum.
override HAS_RESIDUAL: bool = false;
override HAS_RELU: bool = false;
// Whether only the first images count, as many as `count` says.
override IS_COUNTED: bool = false;

struct Shape {
    images: u32,
    height: u32,
    width: u32,
    // Tiles down and across.
    down: u32,
    across: u32,
    // Channels in fours.
    channels: u32,
}

// [36 entries, tiles, channels]
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> count: array<u32>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> shape: Shape;

struct Line {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
}

const ROOT = 1.4142135623730951;
const HALF_ROOT = 0.7071067811865476;

// A^T along one axis.
fn transform(m0: vec4<f32>, m1: vec4<f32>, m2: vec4<f32>, m3: vec4<f32>, m4: vec4<f32>, m5: vec4<f32>) -> Line {
    let even_small = m1 + m2;
    let odd_small = m1 - m2;
    let even_large = m3 + m4;
    let odd_large = m3 - m4;
    return Line(
        m0 + even_small + even_large,
        HALF_ROOT * odd_small + ROOT * odd_large,
        0.5 * even_small + 2.0 * even_large,
        0.5 * HALF_ROOT * odd_small + 2.0 * ROOT * odd_large + m5,
    );
}

// A row of the tile's products.
fn row(index: u32, tile: u32, channel: u32) -> Line {
    let step = shape.images * shape.down * shape.across * shape.channels;
    let place = index * 6u * step + tile * shape.channels + channel;
    return transform(
        input[place],
        input[place + step],
        input[place + 2u * step],
        input[place + 3u * step],
        input[place + 4u * step],
        input[place + 5u * step],
    );
}

fn store(sum: vec4<f32>, image: u32, y: u32, x: u32, channel: u32) {
    if y >= shape.height || x >= shape.width {
        return;
    }
    let place = ((image * shape.height + y) * shape.width + x) * shape.channels + channel;
    var value = sum + bias[channel];
    if HAS_RESIDUAL {
        value += residual[place];
    }
    if HAS_RELU {
        value = max(value, vec4<f32>());
    }
    output[place] = value;
}

fn write_column(values: Line, image: u32, y: u32, x: u32, channel: u32) {
    store(values.v0, image, y, x, channel);
    store(values.v1, image, y + 1u, x, channel);
    store(values.v2, image, y + 2u, x, channel);
    store(values.v3, image, y + 3u, x, channel);
}

@compute @workgroup_size(32, 2)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let channel = thread.x;
    let tile = thread.y;
    if channel >= shape.channels || tile >= shape.images * shape.down * shape.across {
        return;
    }
    let image = tile / (shape.down * shape.across);
    if IS_COUNTED && image >= count[0] {
        return;
    }
    let rest = tile % (shape.down * shape.across);
    let y = (rest / shape.across) * 4u;
    let x = (rest % shape.across) * 4u;
    let r0 = row(0u, tile, channel);
    let r1 = row(1u, tile, channel);
    let r2 = row(2u, tile, channel);
    let r3 = row(3u, tile, channel);
    let r4 = row(4u, tile, channel);
    let r5 = row(5u, tile, channel);
    write_column(transform(r0.v0, r1.v0, r2.v0, r3.v0, r4.v0, r5.v0), image, y, x, channel);
    write_column(transform(r0.v1, r1.v1, r2.v1, r3.v1, r4.v1, r5.v1), image, y, x + 1u, channel);
    write_column(transform(r0.v2, r1.v2, r2.v2, r3.v2, r4.v2, r5.v2), image, y, x + 2u, channel);
    write_column(transform(r0.v3, r1.v3, r2.v3, r3.v3, r4.v3, r5.v3), image, y, x + 3u, channel);
}
