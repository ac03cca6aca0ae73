// Winograd's F(4x4, 3x3), first part: B^T d B of every 6x6 patch of the input, padded with one cell.
//
// Points 0, +-sqrt(1/2), +-sqrt(2), infinity, whose error is smaller than that of 0, +-1, +-2. Four channels of a patch a thread.

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

// Whether only the first images count, as many as `count` says.
override IS_COUNTED: bool = false;

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> count: array<u32>;
// [36 entries, tiles, channels]
@group(0) @binding(2) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> shape: Shape;

struct Line {
    v0: vec4<f32>,
    v1: vec4<f32>,
    v2: vec4<f32>,
    v3: vec4<f32>,
    v4: vec4<f32>,
    v5: vec4<f32>,
}

const ROOT = 1.4142135623730951;
const HALF_ROOT = 0.7071067811865476;

// B^T along one axis.
fn transform(d: Line) -> Line {
    let even_small = d.v4 - 2.0 * d.v2;
    let odd_small = HALF_ROOT * d.v3 - ROOT * d.v1;
    let even_large = d.v4 - 0.5 * d.v2;
    let odd_large = ROOT * d.v3 - HALF_ROOT * d.v1;
    return Line(
        d.v0 - 2.5 * d.v2 + d.v4,
        even_small + odd_small,
        even_small - odd_small,
        even_large + odd_large,
        even_large - odd_large,
        d.v1 - 2.5 * d.v3 + d.v5,
    );
}

fn load(image: u32, y: u32, x: u32, channel: u32) -> vec4<f32> {
    let inside = y < shape.height && x < shape.width;
    let cell = (image * shape.height + select(0u, y, inside)) * shape.width + select(0u, x, inside);
    return select(vec4<f32>(), input[cell * shape.channels + channel], inside);
}

// One row of the patch, or one column.
fn row(image: u32, y: u32, left: u32, channel: u32) -> Line {
    return Line(
        load(image, y, left, channel),
        load(image, y, left + 1u, channel),
        load(image, y, left + 2u, channel),
        load(image, y, left + 3u, channel),
        load(image, y, left + 4u, channel),
        load(image, y, left + 5u, channel),
    );
}

@compute @workgroup_size(32, 2)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let channel = thread.x;
    let tile = thread.y;
    let tiles = shape.images * shape.down * shape.across;
    if channel >= shape.channels || tile >= tiles {
        return;
    }
    let image = tile / (shape.down * shape.across);
    if IS_COUNTED && image >= count[0] {
        return;
    }
    let rest = tile % (shape.down * shape.across);
    // One cell of padding: unsigned, so what is left of zero is larger than any size.
    let top = (rest / shape.across) * 4u - 1u;
    let left = (rest % shape.across) * 4u - 1u;
    let r0 = transform(row(image, top, left, channel));
    let r1 = transform(row(image, top + 1u, left, channel));
    let r2 = transform(row(image, top + 2u, left, channel));
    let r3 = transform(row(image, top + 3u, left, channel));
    let r4 = transform(row(image, top + 4u, left, channel));
    let r5 = transform(row(image, top + 5u, left, channel));
    store(0u, tile, channel, transform(Line(r0.v0, r1.v0, r2.v0, r3.v0, r4.v0, r5.v0)));
    store(1u, tile, channel, transform(Line(r0.v1, r1.v1, r2.v1, r3.v1, r4.v1, r5.v1)));
    store(2u, tile, channel, transform(Line(r0.v2, r1.v2, r2.v2, r3.v2, r4.v2, r5.v2)));
    store(3u, tile, channel, transform(Line(r0.v3, r1.v3, r2.v3, r3.v3, r4.v3, r5.v3)));
    store(4u, tile, channel, transform(Line(r0.v4, r1.v4, r2.v4, r3.v4, r4.v4, r5.v4)));
    store(5u, tile, channel, transform(Line(r0.v5, r1.v5, r2.v5, r3.v5, r4.v5, r5.v5)));
}

// A column of the transformed patch.
fn store(column: u32, tile: u32, channel: u32, values: Line) {
    let step = shape.images * shape.down * shape.across * shape.channels;
    let place = column * step + tile * shape.channels + channel;
    output[place] = values.v0;
    output[place + 6u * step] = values.v1;
    output[place + 12u * step] = values.v2;
    output[place + 18u * step] = values.v3;
    output[place + 24u * step] = values.v4;
    output[place + 30u * step] = values.v5;
}
