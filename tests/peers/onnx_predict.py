"""Reproduces `groundglass predict` through onnxruntime from the files of `groundglass export --format onnx`.

usage: onnx_predict.py FOLDER SLICE.png [--score S] [--nms T]   prints lesions and class logits as JSON
The class of a classifier by regions (module S) is left out: its batch is filled up by groundglass's own seeded draws.
Needs numpy, onnxruntime and Pillow. Research use only. Not a medical device.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def axis(source, target):
    """Neighbours and weights of a bilinear resize with half-pixel centres."""
    at = np.maximum((np.arange(target, dtype=np.float32) + 0.5) * np.float32(source / target) - 0.5, 0)
    low = np.minimum(at.astype(int), source - 1)
    return low, np.minimum(low + 1, source - 1), (at - low).astype(np.float32)


def resize(image, rows, columns):
    (y0, y1, fy), (x0, x1, fx) = axis(image.shape[0], rows), axis(image.shape[1], columns)
    across = image[:, x0] * (1 - fx) + image[:, x1] * fx
    return across[y0] * (1 - fy)[:, None] + across[y1] * fy[:, None]


def decode(deltas, boxes, weights, limit):
    size = boxes[:, 2:] - boxes[:, :2]
    center = boxes[:, :2] + 0.5 * size + deltas[:, :2] / weights[:2] * size
    half = 0.5 * np.exp(np.minimum(deltas[:, 2:] / weights[2:], limit)) * size
    return np.concatenate([center - half, center + half], 1).astype(np.float32)


def nms(boxes, scores, threshold):
    order, kept = np.argsort(-scores, kind="stable"), []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.size:
        first, rest = order[0], order[1:]
        kept.append(first)
        low, high = np.maximum(boxes[first, :2], boxes[rest, :2]), np.minimum(boxes[first, 2:], boxes[rest, 2:])
        both = np.maximum(high - low, 0).prod(1)
        with np.errstate(invalid="ignore"):
            order = rest[~(both / (area[first] + area[rest] - both) > threshold)]
    return np.array(kept, int)


def paste(mask, box, shape):
    mask = np.pad(1 / (1 + np.exp(-mask)), 1)
    center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * np.float32(mask.shape[0] / (mask.shape[0] - 2))
    (x1, y1), (x2, y2) = np.trunc(center - half).astype(int), np.trunc(center + half).astype(int)
    large = resize(mask, max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1))
    whole = np.zeros(shape, bool)
    top, left, bottom, right = max(y1, 0), max(x1, 0), min(y2 + 1, shape[0]), min(x2 + 1, shape[1])
    whole[top:bottom, left:right] = large[top - y1 : bottom - y1, left - x1 : right - x1] > 0.5
    return whole


def detect(folder, about, grey, score, suppress):
    """Boxes in pixels of the slice, scores and masks."""
    d, load = about["detector"], lambda name: onnxruntime.InferenceSession(folder / name)
    short, long = (d["resize"]["short_side"], d["resize"]["long_side"])
    long = short if d["resize"]["side"] == "long-side" else long
    scale = min(short / min(grey.shape), long / max(grey.shape))
    rows, columns = (max(int(side * scale + 1e-6), 1) for side in grey.shape)
    multiple = d["resize"]["pad_to_multiple_of"]
    image = np.zeros((1, 3, -(-rows // multiple) * multiple, -(-columns // multiple) * multiple), np.float32)
    mean, deviation = (np.float32(about["input"][k])[:, None, None] for k in ("mean", "standard_deviation"))
    image[0, :, :rows, :columns] = (resize(grey / np.float32(255), rows, columns) - mean) / deviation
    pyramid, objectness, deltas = load("features.onnx").run(["pyramid", "objectness", "deltas"], {"image": image})
    sizes, ratios = (np.float32(d["anchors"][k]) for k in ("sizes", "aspect_ratios"))
    h, w = (np.sqrt(ratios)[:, None] * sizes).ravel(), (1 / np.sqrt(ratios)[:, None] * sizes).ravel()
    base = np.round(np.stack([-w / 2, -h / 2, w / 2, h / 2], 1))
    y, x = np.mgrid[: pyramid.shape[2], : pyramid.shape[3]] * np.float32(d["stride"])
    anchors = (np.stack([x, y, x, y], -1).reshape(-1, 1, 4) + base).reshape(-1, 4).astype(np.float32)
    rank = objectness[0].transpose(1, 2, 0).ravel()
    moves = deltas[0].reshape(-1, 4, *pyramid.shape[2:]).transpose(2, 3, 0, 1).reshape(-1, 4)
    top = np.argsort(-rank, kind="stable")[: d["proposals"]["before_nms"]]
    limit, edge = d["detections"]["max_log_scale"], np.float32([columns, rows, columns, rows])
    proposals = np.clip(decode(moves[top], anchors[top], np.ones(4, np.float32), limit), 0, edge)
    proposals = proposals[nms(proposals, rank[top], d["proposals"]["nms"])][: d["proposals"]["after_nms"]]
    regions, one = load("regions.onnx"), np.float32([[0, 0, 16, 16]])
    run = lambda boxes, masks, wanted: regions.run(wanted, {
        i.name: {"pyramid": pyramid, "boxes": boxes, "mask_boxes": masks}.get(i.name, np.zeros((1, i.shape[1]), np.float32))
        for i in regions.get_inputs()})
    logits, moves = run(proposals, one, ["logits", "deltas"])
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    found = []
    for label in range(1, d["classes"]):
        weights = np.float32(d["detections"]["box_weights"])
        boxes = np.clip(decode(moves[:, 4 * label : 4 * label + 4], proposals, weights, limit), 0, edge)
        keep = (shares[:, label] > score) & ((boxes[:, 2:] - boxes[:, :2]).prod(1) > 0)
        boxes, scores = boxes[keep], shares[keep, label]
        found += [(scores[i], label, boxes[i]) for i in nms(boxes, scores, suppress)]
    found = sorted(found, key=lambda lesion: -lesion[0])[: d["detections"]["most"]]
    masks = run(one, np.stack([f[2] for f in found]), ["masks"])[0] if found and d["mask_branch"] else []
    back = np.float32([grey.shape[1] / columns, grey.shape[0] / rows] * 2)
    lesions = []
    for (s, label, b), m in zip(found, masks):
        mask = paste(m[label], b * back, grey.shape)
        shared = lambda known: 2 * (mask & known["mask"]).sum() > min(mask.sum(), known["mask"].sum()) > 0
        if not (d["detections"]["merge"] and any(known["label"] == label and shared(known) for known in lesions)):
            lesions.append({"score": float(s), "label": label, "box": (b * back).tolist(), "mask": mask})
    return lesions


def classify(folder, about, picture):
    side, (width, height) = about["classifier"]["side"], picture.size
    scale = min(side / width, side / height)
    small = picture.resize((max(int(width * scale + 1e-6), 1), max(int(height * scale + 1e-6), 1)), Image.BILINEAR)
    square = Image.new("L", (side, side))
    square.paste(small, ((side - small.width) // 2, (side - small.height) // 2))
    grey = np.asarray(square, np.float32) / 255
    mean, deviation = (np.float32(about["input"][k])[:, None, None] for k in ("mean", "standard_deviation"))
    images = np.stack([(g - mean) / deviation for g in (grey, grey[:, ::-1])]).astype(np.float32)
    return onnxruntime.InferenceSession(folder / "classifier.onnx").run(None, {"images": images})[0].mean(0).tolist()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("slice")
    parser.add_argument("--score", type=float)
    parser.add_argument("--nms", type=float)
    given = parser.parse_args()
    about, picture = json.loads((given.folder / "groundglass.json").read_text()), Image.open(given.slice).convert("L")
    settings = about["detector"]["detections"] if about["detector"] else {}
    lesions = detect(given.folder, about, np.asarray(picture, np.float32),
                     settings["score"] if given.score is None else given.score,
                     settings["nms"] if given.nms is None else given.nms) if about["detector"] else []
    for lesion in lesions:
        columns = lesion.pop("mask").T.ravel()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], columns, [False]]).astype(int)))
        lesion["runs"] = np.diff(np.concatenate([[0], edges, [columns.size]])).tolist()
    logits = classify(given.folder, about, picture) if about["classifier"] else None
    print(json.dumps({"lesions": lesions, "class_logits": logits}))
