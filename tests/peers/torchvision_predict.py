"""Loads the file of `groundglass export --format safetensors` into torchvision's Mask R-CNN and runs it.

usage: torchvision_predict.py WEIGHTS.safetensors SLICE.png [--score S] [--nms T]   prints lesions as JSON
Slices of 512 x 512 pixels. Needs torch, torchvision, safetensors and Pillow. Research use only. Not a medical device.
"""
import argparse
import json

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign


class Backbone(torch.nn.Module):
    """A ResNet without its last layers, one lateral and one output convolution."""

    def __init__(self, layers, depth):
        super().__init__()
        body = getattr(torchvision.models, f"resnet{depth}")(weights=None)
        self.body = IntermediateLayerGetter(body, {f"layer{layers}": "0"})
        self.fpn = FeaturePyramidNetwork([32 << layers], 256)
        self.out_channels = 256

    def forward(self, images):
        return self.fpn(self.body(images))


def network(path):
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["groundglass.anchors"])
        state = {name: file.get_tensor(name) for name in file.keys()}
    # The slice's classifier is a network of its own, and module S none of torchvision's.
    detector = {name: value for name, value in state.items() if name.split(".")[0] in ("backbone", "rpn", "roi_heads")}
    layers = max(int(name.split(".body.layer")[1][0]) for name in detector if ".body.layer" in name)
    depth = 34 if "backbone.body.layer1.2.conv1.weight" in detector else 18
    classes = len(detector["roi_heads.box_predictor.cls_score.bias"])
    model = MaskRCNN(
        Backbone(layers, depth),
        min_size=512,
        max_size=1024,
        rpn_anchor_generator=AnchorGenerator((tuple(about["sizes"]),), (tuple(about["aspect_ratios"]),)),
        rpn_pre_nms_top_n_test=1000,
        rpn_post_nms_top_n_test=1000,
        rpn_nms_thresh=0.75,
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
        box_head=TwoMLPHead(256 * 7 * 7, 128),
        box_predictor=FastRCNNPredictor(128, classes),
        mask_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
        mask_head=MaskRCNNHeads(256, (128,), 1),
        mask_predictor=MaskRCNNPredictor(128, 128, classes),
    )
    # Strict: every tensor finds its place, and none is missing but counters that nothing reads.
    own = model.state_dict()
    counters = {name: value for name, value in own.items() if name.endswith("num_batches_tracked")}
    model.load_state_dict(detector | counters, strict=True)
    return model.eval()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("slice")
    parser.add_argument("--score", type=float, default=0.05)
    parser.add_argument("--nms", type=float, default=0.5)
    given = parser.parse_args()
    model = network(given.weights)
    model.roi_heads.score_thresh, model.roi_heads.nms_thresh = given.score, given.nms
    model.roi_heads.detections_per_img = 128
    picture = np.asarray(Image.open(given.slice).convert("RGB")).copy()
    with torch.inference_mode():
        found = model([torch.from_numpy(picture).permute(2, 0, 1).float() / 255])[0]
    lesions = []
    for score, box, mask in zip(found["scores"].tolist(), found["boxes"].tolist(), found["masks"][:, 0] > 0.5):
        columns = mask.numpy().T.ravel()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], columns, [False]]).astype(int)))
        runs = np.diff(np.concatenate([[0], edges, [columns.size]])).tolist()
        lesions.append({"score": score, "box": box, "runs": runs})
    print(json.dumps({"lesions": lesions}))
