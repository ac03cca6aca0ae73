// The largest of 3x3 cells, stride 2, padding 1: four channels of an output cell a thread.

struct Shape {
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    // Channels in fours.
    channels: u32,
}

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> shape: Shape;

@compute @workgroup_size(16, 8)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let channel = thread.x;
    let cell = thread.y;
    if channel >= shape.channels || cell >= shape.out_height * shape.out_width {
        return;
    }
    let top = (cell / shape.out_width) * 2u;
    let left = (cell % shape.out_width) * 2u;
    var largest = input[(top * shape.width + left) * shape.channels + channel];
    for (var ky = 0u; ky < 3u; ky++) {
        for (var kx = 0u; kx < 3u; kx++) {
            let y = top + ky - 1u;
            let x = left + kx - 1u;
            if y < shape.height && x < shape.width {
                largest = max(largest, input[(y * shape.width + x) * shape.channels + channel]);
            }
        }
    }
    output[cell * shape.channels + channel] = largest;
}
