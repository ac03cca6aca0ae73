// RoIAlign, two samples a bin and axis, as torchvision's without the half-pixel offset: a workgroup's row of threads
// gathers one bin of one region, four channels a thread.

// Bins along an axis.
override BINS: u32 = 7u;
// Whether only the first regions count, as many as `count` says.
override IS_COUNTED: bool = false;

struct Region {
    // Corners in cells of the region's level.
    x1: f32,
    y1: f32,
    x2: f32,
    y2: f32,
    // The level: its first cell and its size.
    first: u32,
    height: u32,
    width: u32,
    // Whose mask is wanted.
    class_index: u32,
}

struct Shape {
    regions: u32,
    // Channels in fours.
    channels: u32,
}

@group(0) @binding(0) var<storage, read> levels: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> regions: array<Region>;
@group(0) @binding(2) var<storage, read> count: array<u32>;
// [regions, bins, bins, channels]
@group(0) @binding(3) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> shape: Shape;

// Two neighbouring cells along an axis, and their weights.
struct Tap {
    low: u32,
    high: u32,
    low_weight: f32,
    high_weight: f32,
}

fn tap(position: f32, length: u32) -> Tap {
    if position < -1.0 || position > f32(length) {
        return Tap(0u, 0u, 0.0, 0.0);
    }
    let inside = max(position, 0.0);
    let low = u32(inside);
    if low + 1u >= length {
        return Tap(length - 1u, length - 1u, 1.0, 0.0);
    }
    let fraction = inside - f32(low);
    return Tap(low, low + 1u, 1.0 - fraction, fraction);
}

// The sample's place along an axis: `index` counts half bins.
fn position(start: f32, end: f32, index: u32) -> f32 {
    let bin = max(end - start, 1.0) / f32(BINS);
    return start + f32(index / 2u) * bin + (f32(index % 2u) + 0.5) * bin / 2.0;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    let bin = group.x;
    let index = group.y;
    if IS_COUNTED && index >= count[0] {
        return;
    }
    let region = regions[index];
    for (var channel = thread.x; channel < shape.channels; channel += 64u) {
        var sum = vec4<f32>();
        for (var sample = 0u; sample < 4u; sample++) {
            let row = tap(position(region.y1, region.y2, (bin / BINS) * 2u + sample / 2u), region.height);
            let column = tap(position(region.x1, region.x2, (bin % BINS) * 2u + sample % 2u), region.width);
            let low = region.first + row.low * region.width;
            let high = region.first + row.high * region.width;
            let above = levels[(low + column.low) * shape.channels + channel] * column.low_weight
                + levels[(low + column.high) * shape.channels + channel] * column.high_weight;
            let below = levels[(high + column.low) * shape.channels + channel] * column.low_weight
                + levels[(high + column.high) * shape.channels + channel] * column.high_weight;
            sum += above * row.low_weight + below * row.high_weight;
        }
        output[(index * BINS * BINS + bin) * shape.channels + channel] = sum * 0.25;
    }
}
