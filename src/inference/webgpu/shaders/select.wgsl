// The strongest boxes, each suppressing its class's weaker ones that overlap it: decode, then greedy suppression. One
// workgroup, whose threads share the rows, one row for each proposal and foreground class.
//
// The host decides what a lesion is, by the same rule. This says in advance whose masks it will want.

const THREADS = 256u;

struct Shape {
    proposals: u32,
    classes: u32,
    // Most boxes to choose.
    limit: u32,
    // Size of the level that the regions are cut from, and its cells per pixel.
    height: u32,
    width: u32,
    scale: f32,
    // Size of the picture.
    image_height: f32,
    image_width: f32,
    score_threshold: f32,
    nms_threshold: f32,
}

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

struct Chosen {
    corners: vec4<f32>,
    proposal: u32,
    class_index: u32,
    unused: vec2<u32>,
}

@group(0) @binding(0) var<storage, read> proposals: array<vec4<f32>>;
// [proposals, logits of all classes and deltas of all classes]
@group(0) @binding(1) var<storage, read> outputs: array<f32>;
// [rows] corners and scores; a score of zero is out
@group(0) @binding(2) var<storage, read_write> corners: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> regions: array<Region>;
@group(0) @binding(5) var<storage, read_write> chosen: array<Chosen>;
@group(0) @binding(6) var<storage, read_write> count: array<u32>;
@group(0) @binding(7) var<uniform> shape: Shape;

var<workgroup> best_scores: array<f32, THREADS>;
var<workgroup> best_rows: array<u32, THREADS>;
var<workgroup> strongest: vec4<f32>;
var<workgroup> is_left: u32;

// Weights of the box coder, and the largest logarithm of a scale, as torchvision's.
const CENTER_WEIGHT = 10.0;
const SIZE_WEIGHT = 5.0;
const MAX_LOG_SCALE = 4.135166556742356;

fn score(proposal: u32, class_index: u32) -> f32 {
    let first = proposal * shape.classes * 5u;
    var largest = outputs[first];
    for (var index = 1u; index < shape.classes; index++) {
        largest = max(largest, outputs[first + index]);
    }
    var sum = 0.0;
    for (var index = 0u; index < shape.classes; index++) {
        sum += exp(outputs[first + index] - largest);
    }
    return exp(outputs[first + class_index] - largest) / sum;
}

fn decode(proposal: u32, class_index: u32) -> vec4<f32> {
    let box = proposals[proposal];
    let first = (proposal * 5u + 1u) * shape.classes + class_index * 4u;
    let size = box.zw - box.xy;
    let center = box.xy + 0.5 * size
        + vec2<f32>(outputs[first], outputs[first + 1u]) / CENTER_WEIGHT * size;
    let log_scale = vec2<f32>(outputs[first + 2u], outputs[first + 3u]) / SIZE_WEIGHT;
    let half = 0.5 * size * exp(min(log_scale, vec2<f32>(MAX_LOG_SCALE)));
    let far = vec2<f32>(shape.image_width, shape.image_height);
    return vec4<f32>(clamp(center - half, vec2<f32>(), far), clamp(center + half, vec2<f32>(), far));
}

fn area(box: vec4<f32>) -> f32 {
    return (box.z - box.x) * (box.w - box.y);
}

fn overlap(a: vec4<f32>, b: vec4<f32>) -> f32 {
    let size = max(min(a.zw, b.zw) - max(a.xy, b.xy), vec2<f32>());
    let shared_area = size.x * size.y;
    return shared_area / (area(a) + area(b) - shared_area);
}

fn is_stronger(score: f32, row: u32, other_score: f32, other_row: u32) -> bool {
    return score > other_score || (score == other_score && row < other_row);
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_id) thread: vec3<u32>) {
    let own = thread.x;
    let foreground = shape.classes - 1u;
    let rows = shape.proposals * foreground;
    for (var row = own; row < rows; row += THREADS) {
        let box = decode(row / foreground, row % foreground + 1u);
        let value = score(row / foreground, row % foreground + 1u);
        corners[row] = box;
        scores[row] = select(0.0, value, value > shape.score_threshold && area(box) > 0.0);
    }
    var found = 0u;
    loop {
        var best_score = 0.0;
        var best_row = rows;
        for (var row = own; row < rows; row += THREADS) {
            if is_stronger(scores[row], row, best_score, best_row) {
                best_score = scores[row];
                best_row = row;
            }
        }
        best_scores[own] = best_score;
        best_rows[own] = best_row;
        workgroupBarrier();
        for (var step = THREADS / 2u; step > 0u; step /= 2u) {
            if own < step && is_stronger(best_scores[own + step], best_rows[own + step], best_scores[own], best_rows[own]) {
                best_scores[own] = best_scores[own + step];
                best_rows[own] = best_rows[own + step];
            }
            workgroupBarrier();
        }
        let row = best_rows[0];
        // The row's own thread knows its corners.
        if own == 0u {
            is_left = u32(best_scores[0] > 0.0 && found < shape.limit);
        }
        if row < rows && own == row % THREADS {
            strongest = corners[row];
        }
        if workgroupUniformLoad(&is_left) == 0u {
            break;
        }
        let box = workgroupUniformLoad(&strongest);
        let class_index = row % foreground + 1u;
        if own == 0u {
            let cells = box * shape.scale;
            regions[found] = Region(cells.x, cells.y, cells.z, cells.w, 0u, shape.height, shape.width, class_index);
            chosen[found] = Chosen(box, row / foreground, class_index, vec2<u32>());
        }
        for (var other = own; other < rows; other += THREADS) {
            let same_class = other % foreground + 1u == class_index;
            if other == row || (same_class && overlap(corners[other], box) > shape.nms_threshold) {
                scores[other] = 0.0;
            }
        }
        found++;
    }
    if own == 0u {
        count[0] = found;
    }
}
