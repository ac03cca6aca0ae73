"""Writes the golden values beside this file: every stage of the six light variants, by torch and torchvision.

Weights are drawn by a short generator that `tests/golden.rs` repeats, the slice is a phantom of this repository,
and outputs are sampled, so that the files stay small.

    pip install torch torchvision safetensors
    python tests/golden/make.py

Research use only, not a medical device.
"""

import json
import math
import pathlib

import numpy
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_convert, clip_boxes_to_image, nms, roi_align

HERE = pathlib.Path(__file__).parent
SLICE = HERE.parents[1] / "www/samples/phantom-covid19.png"
VARIANTS = ("resnet18", "resnet18t1", "resnet18t2", "resnet34", "resnet34t1", "resnet34t2")
SAMPLES = 256
SIZES, RATIOS = (2, 4, 8, 16, 32), (0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
MOST = 1000
ROI_BATCH = 128
MASKS = 4


def draw(name, shape):
    """SplitMix64, begun with the FNV-1a hash of the name; uniform in [0, 1)."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 % 2**64
    count = math.prod(shape)
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(start) + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z = z ^ (z >> numpy.uint64(31))
    uniform = (z >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(2**24)
    return torch.from_numpy(uniform.reshape(shape))


def parameter(name, shape):
    """Kernels and matrices after He, those that give scores and boxes smaller and those that give masks larger;
    norms around a half."""
    uniform = draw(name, shape)
    if len(shape) > 1:
        scale = math.sqrt(6 / (math.prod(shape) / shape[0]))
        if "cls_logits" in name or "bbox_pred" in name or "cls_score" in name:
            scale /= 10
        if "mask_fcn_logits" in name:
            scale *= 4
        return (uniform * 2 - 1) * numpy.float32(scale)
    if name.endswith("running_var") or (name.endswith("weight") and (".bn" in name or "downsample" in name)):
        return uniform + 0.5 if name.endswith("running_var") else uniform * 0.5 + 0.25
    return (uniform - 0.5) * numpy.float32(0.2)


class Network:
    """Mask R-CNN by its parameters' names, stage by stage."""

    def __init__(self, variant):
        depth, cut = variant[:8], {"": 4, "t1": 3, "t2": 2}[variant[8:]]
        body = getattr(torchvision.models, depth)(weights=None)
        self.body = IntermediateLayerGetter(body, {f"layer{cut}": "0"}).eval()
        self.channels, self.stride = 32 << cut, 4 << (cut - 1)
        self.shapes = {}
        state = {}
        for name, value in self.body.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                state[name] = self.weight(f"backbone.body.{name}", list(value.shape))
        missing = self.body.load_state_dict(state, strict=False).missing_keys
        assert all(name.endswith("num_batches_tracked") for name in missing), missing

    def weight(self, name, shape):
        self.shapes[name] = shape
        return parameter(name, shape)

    def both(self, name, shape):
        outputs = shape[1] if "conv5_mask" in name else shape[0]
        return self.weight(f"{name}.weight", shape), self.weight(f"{name}.bias", [outputs])

    def pyramid(self, image):
        last = self.body(image)["0"]
        inner = functional.conv2d(last, *self.both("backbone.fpn.inner_blocks.0", [256, self.channels, 1, 1]))
        return functional.conv2d(inner, *self.both("backbone.fpn.layer_blocks.0", [256, 256, 3, 3]), padding=1)

    def proposal_maps(self, features):
        hidden = functional.relu(functional.conv2d(features, *self.both("rpn.head.conv", [256, 256, 3, 3]), padding=1))
        anchors = len(SIZES) * len(RATIOS)
        objectness = functional.conv2d(hidden, *self.both("rpn.head.cls_logits", [anchors, 256, 1, 1]))
        deltas = functional.conv2d(hidden, *self.both("rpn.head.bbox_pred", [4 * anchors, 256, 1, 1]))
        return objectness, deltas

    def proposals(self, image, objectness, deltas):
        grid = AnchorGenerator((SIZES,), (RATIOS,))
        anchors = grid(ImageList(image, [tuple(image.shape[-2:])]), [objectness])[0]
        height, width = objectness.shape[-2:]
        scores = objectness[0].permute(1, 2, 0).reshape(-1)
        deltas = deltas[0].view(-1, 4, height, width).permute(2, 3, 0, 1).reshape(-1, 4)
        best = scores.topk(MOST + 1)
        boxes = decode(deltas, anchors, (1, 1, 1, 1))[best.indices[:MOST]]
        boxes = clip_boxes_to_image(boxes, tuple(image.shape[-2:]))
        kept = nms(boxes, best.values[:MOST], 0.75)
        margin = (best.values[MOST - 1] - best.values[MOST]).item()
        return boxes[kept], margin

    def boxes(self, features, proposals):
        pooled = roi_align(features, [proposals], 7, 1 / self.stride, 2).flatten(1)
        hidden = functional.relu(functional.linear(pooled, *self.both("roi_heads.box_head.fc6", [128, 256 * 49])))
        hidden = functional.relu(functional.linear(hidden, *self.both("roi_heads.box_head.fc7", [128, 128])))
        logits = functional.linear(hidden, *self.both("roi_heads.box_predictor.cls_score", [2, 128]))
        deltas = functional.linear(hidden, *self.both("roi_heads.box_predictor.bbox_pred", [8, 128]))
        return logits, deltas

    def masks(self, features, boxes):
        pooled = roi_align(features, [boxes], 14, 1 / self.stride, 2)
        hidden = functional.relu(functional.conv2d(pooled, *self.both("roi_heads.mask_head.mask_fcn1", [128, 256, 3, 3]), padding=1))
        hidden = functional.relu(functional.conv_transpose2d(hidden, *self.both("roi_heads.mask_predictor.conv5_mask", [128, 128, 2, 2]), stride=2))
        return functional.conv2d(hidden, *self.both("roi_heads.mask_predictor.mask_fcn_logits", [2, 128, 1, 1]))[:, 1]

    def classes(self, batch):
        hidden = functional.relu(functional.linear(batch.flatten(), *self.both("s2new.fc_scores", [512, 5 * ROI_BATCH])))
        hidden = functional.relu(functional.linear(hidden, *self.both("s2new.fc_scores_2", [512, 512])))
        return functional.linear(hidden, *self.both("s2new.fc_scores_img", [3, 512]))


def decode(deltas, boxes, weights):
    sizes = boxes[:, 2:] - boxes[:, :2]
    centres = boxes[:, :2] + sizes / 2
    scaled = deltas / torch.tensor(weights, dtype=torch.float32)
    centres = centres + scaled[:, :2] * sizes
    sizes = sizes * scaled[:, 2:].clamp(max=math.log(1000 / 16)).exp()
    return torch.cat([centres - sizes / 2, centres + sizes / 2], 1)


def detections(proposals, logits, deltas, size):
    """All boxes of the lesion class with an area, after suppression at 0.75, strongest first."""
    scores = logits.softmax(1)[:, 1]
    boxes = clip_boxes_to_image(decode(deltas[:, 4:], proposals, (10, 10, 5, 5)), size)
    whole = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) > 0).nonzero()[:, 0]
    kept = whole[nms(boxes[whole], scores[whole], 0.75)]
    return boxes[kept], scores[kept], deltas[kept, 4:]


def paste(values, box, size):
    """A 28 x 28 map at its place in the slice, as the reference pastes it (integers, one pixel of border)."""
    padded = functional.pad(values, (1, 1, 1, 1))
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * (30 / 28)
    x1, y1, x2, y2 = torch.cat([centre - half, centre + half]).to(torch.int64).tolist()
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    grown = functional.interpolate(padded[None, None], size=(height, width), mode="bilinear", align_corners=False)[0, 0]
    out = torch.zeros(size)
    top, left, bottom, right = max(y1, 0), max(x1, 0), min(y2 + 1, size[0]), min(x2 + 1, size[1])
    out[top:bottom, left:right] = grown[top - y1:bottom - y1, left - x1:right - x1]
    return out


def sampled(tensor):
    flat = tensor.flatten()
    return flat[torch.arange(SAMPLES) * (len(flat) // SAMPLES)].clone()


def main():
    picture = numpy.asarray(Image.open(SLICE).convert("RGB")).copy()
    grey = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    image = ((grey - mean[:, None, None]) / deviation[:, None, None])[None]
    size = tuple(image.shape[-2:])
    for variant in VARIANTS:
        with torch.inference_mode():
            network = Network(variant)
            features = network.pyramid(image)
            objectness, deltas = network.proposal_maps(features)
            proposals, margin = network.proposals(image, objectness, deltas)
            box_logits, box_deltas = network.boxes(features, proposals)
            boxes, scores, encoded = detections(proposals, box_logits, box_deltas, size)
            batch = torch.cat([scores[:, None], encoded], 1)[:ROI_BATCH]
            # The largest of the strongest: their masks have many pixels.
            areas = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))[:50]
            outlined = areas.topk(MASKS).indices
            masks = network.masks(features, boxes[outlined])
            # As torchvision: probabilities are pasted; the cut is at the reference's logit of 0.5.
            cut = torch.tensor(0.5).sigmoid()
            pasted = torch.stack([paste(*pair, size) > cut for pair in zip(masks.sigmoid(), boxes[outlined])])
            print(f"{variant}: {len(proposals)} proposals (margin {margin:.1e}), {len(boxes)} boxes, scores {scores[0]:.3f} to {scores[-1]:.3f}, features up to {features.abs().max():.1f}, mask pixels {pasted.sum((1, 2)).tolist()}")
            every = max(len(proposals) // 100, 1)
            chosen = slice(0, None, every)
            tensors = {
                "features": sampled(features), "objectness": sampled(objectness),
                "deltas": sampled(deltas),
                "proposals": proposals[chosen], "box_logits": box_logits[chosen], "box_deltas": box_deltas[chosen],
                "boxes": boxes[outlined], "scores": scores[outlined], "mask_rows": pasted.sum(2).to(torch.int32), "mask_columns": pasted.sum(1).to(torch.int32),
            }
            assert len(batch) == ROI_BATCH, "replication is random"
            tensors |= {"roi_batch": batch, "logits": network.classes(batch)}
        metadata = {"proposals": str(len(proposals)), "shapes": json.dumps(network.shapes)}
        save_file({name: value.contiguous() for name, value in tensors.items()}, HERE / f"{variant}.safetensors", metadata)
        (HERE / f"{variant}.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
