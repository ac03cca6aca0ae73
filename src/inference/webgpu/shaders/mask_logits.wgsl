// The mask of each region's own class: a product with one row of the predictor's weights. A thread computes one of 28 x 28
// cells, of which each pixel of the transposed convolution's input holds four.

const SIDE = 28u;

// Whether only the first regions count, as many as `count` says.
override IS_COUNTED: bool = false;

struct Region {
    x1: f32,
    y1: f32,
    x2: f32,
    y2: f32,
    first: u32,
    height: u32,
    width: u32,
    class_index: u32,
}

struct Shape {
    regions: u32,
    // Features in fours.
    features: u32,
}

// [regions, 14, 14, row within the pixel, column within it, features]
@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
// [classes, features]
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> regions: array<Region>;
@group(0) @binding(4) var<storage, read> count: array<u32>;
// [regions, 28, 28]
@group(0) @binding(5) var<storage, read_write> output: array<f32>;
@group(0) @binding(6) var<uniform> shape: Shape;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    let cell = group.x * 64u + thread.x;
    let region = group.y;
    if cell >= SIDE * SIDE || (IS_COUNTED && region >= count[0]) {
        return;
    }
    let y = cell / SIDE;
    let x = cell % SIDE;
    let pixel = (region * SIDE / 2u + y / 2u) * SIDE / 2u + x / 2u;
    let first = (pixel * 4u + (y % 2u) * 2u + x % 2u) * shape.features;
    let class_index = regions[region].class_index;
    var sum = bias[class_index];
    for (var feature = 0u; feature < shape.features; feature++) {
        sum += dot(input[first + feature], weights[class_index * shape.features + feature]);
    }
    output[region * SIDE * SIDE + cell] = sum;
}
