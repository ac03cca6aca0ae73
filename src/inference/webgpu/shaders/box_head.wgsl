// The box head behind its first product: sum of that product's parts, bias, ReLU; second layer, ReLU; class logits and
// deltas. Eight regions a workgroup, one feature a thread.

const FEATURES = 128u;
const REGIONS = 8u;

struct Shape {
    regions: u32,
    // Parts that the first product was cut into.
    parts: u32,
    // Logits and deltas of a region.
    outputs: u32,
}

// [parts, regions, features]
@group(0) @binding(0) var<storage, read> first: array<f32>;
@group(0) @binding(1) var<storage, read> first_bias: array<f32>;
// [features in, features out]
@group(0) @binding(2) var<storage, read> second: array<f32>;
@group(0) @binding(3) var<storage, read> second_bias: array<f32>;
// [features, outputs]
@group(0) @binding(4) var<storage, read> predictor: array<f32>;
@group(0) @binding(5) var<storage, read> predictor_bias: array<f32>;
// [regions, features]
@group(0) @binding(6) var<storage, read_write> representations: array<f32>;
// [regions, outputs]
@group(0) @binding(7) var<storage, read_write> outputs: array<f32>;
@group(0) @binding(8) var<uniform> shape: Shape;

var<workgroup> hidden: array<f32, 1024>;
var<workgroup> represented: array<f32, 1024>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) thread: vec3<u32>) {
    let feature = thread.x;
    let base = group.x * REGIONS;
    for (var index = 0u; index < REGIONS; index++) {
        // The last workgroup computes the last region again.
        let region = min(base + index, shape.regions - 1u);
        var sum = first_bias[feature];
        for (var part = 0u; part < shape.parts; part++) {
            sum += first[(part * shape.regions + region) * FEATURES + feature];
        }
        hidden[index * FEATURES + feature] = max(sum, 0.0);
    }
    workgroupBarrier();
    for (var index = 0u; index < REGIONS; index++) {
        var sum = second_bias[feature];
        for (var inner = 0u; inner < FEATURES; inner++) {
            sum += hidden[index * FEATURES + inner] * second[inner * FEATURES + feature];
        }
        represented[index * FEATURES + feature] = max(sum, 0.0);
    }
    workgroupBarrier();
    for (var index = 0u; index < REGIONS; index++) {
        let region = base + index;
        if region >= shape.regions {
            break;
        }
        representations[region * FEATURES + feature] = represented[index * FEATURES + feature];
        if feature < shape.outputs {
            var sum = predictor_bias[feature];
            for (var inner = 0u; inner < FEATURES; inner++) {
                sum += represented[index * FEATURES + inner] * predictor[inner * shape.outputs + feature];
            }
            outputs[region * shape.outputs + feature] = sum;
        }
    }
}
