"""Times one stage I training step of torchvision's Mask R-CNN, built as ResNet18-T1 with one FPN level,
beside `groundglass bench --training`: the two take turns, so that a busy machine slows both.

    pip install torch torchvision
    cargo build --release
    python tests/race/torchvision_training.py target/release/groundglass

Research use only, not a medical device.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import torch
import torchvision
from PIL import Image
from scipy import ndimage
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

ROUNDS = 3
STEPS = 7


class Backbone(torch.nn.Module):
    """ResNet18 without its last stage, one lateral and one output convolution."""

    def __init__(self):
        super().__init__()
        body = torchvision.models.resnet18(weights=None)
        self.body = IntermediateLayerGetter(body, {"layer3": "0"})
        self.fpn = FeaturePyramidNetwork([256], 256)
        self.out_channels = 256

    def forward(self, images):
        return self.fpn(self.body(images))


def network():
    anchors = AnchorGenerator(((8, 16, 32, 64, 128),), ((0.1, 0.25, 0.5, 1.0, 1.5, 2.0),))
    return MaskRCNN(
        Backbone(),
        min_size=512,
        max_size=1024,
        rpn_anchor_generator=anchors,
        rpn_nms_thresh=0.75,
        rpn_positive_fraction=0.75,
        box_roi_pool=MultiScaleRoIAlign(["0"], 7, 2),
        box_head=TwoMLPHead(256 * 7 * 7, 128),
        box_predictor=FastRCNNPredictor(128, 2),
        box_fg_iou_thresh=0.5,
        box_bg_iou_thresh=0.5,
        box_batch_size_per_image=256,
        box_positive_fraction=0.75,
        mask_roi_pool=MultiScaleRoIAlign(["0"], 14, 2),
        mask_head=MaskRCNNHeads(256, (128,), 1),
        mask_predictor=MaskRCNNPredictor(128, 128, 2),
    ).train()


def phantom(program):
    """The slice with most lesions among a few phantoms, as torchvision takes it."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program, "phantom", "--out", folder, "--count", "12", "--seed", "1"], check=True, stdout=subprocess.DEVNULL)
        train = pathlib.Path(folder) / "lesions" / "train"
        slices = []
        for path in sorted((train / "masks").iterdir()):
            values = numpy.asarray(Image.open(path))
            labels, count = ndimage.label(values >= 2, structure=numpy.ones((3, 3)))
            masks = [labels == k + 1 for k in range(count) if (labels == k + 1).sum() > 100]
            if masks:
                picture = next((train / "imgs").glob(path.stem + ".*"))
                slices.append((len(masks), numpy.asarray(Image.open(picture).convert("RGB")), masks))
    count, picture, masks = max(slices, key=lambda entry: entry[0])
    boxes = [[x.min(), y.min(), x.max() + 1, y.max() + 1] for y, x in map(numpy.nonzero, masks)]
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255
    target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.ones(count, dtype=torch.int64),
        "masks": torch.from_numpy(numpy.stack(masks).astype(numpy.uint8)),
    }
    return image, target


def torch_round(model, optimizer, image, target):
    times = []
    for step in range(STEPS + 2):
        started = time.perf_counter()
        loss = sum(model([image], [target]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step >= 2:
            times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def our_round(program):
    output = subprocess.run([program, "bench", "--training", "--runs", str(STEPS), "--json"], check=True, capture_output=True)
    return json.loads(output.stdout)["training_step_milliseconds"]


def prepared(program):
    """What a round needs."""
    image, target = phantom(program)
    torch.manual_seed(1)
    model = network()
    return model, torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=1e-3), image, target


def main():
    program = sys.argv[1]
    model, optimizer, image, target = prepared(program)
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {torch.get_num_threads()} threads, {len(target['boxes'])} lesions")
    ratios = []
    for number in range(ROUNDS):
        theirs = torch_round(model, optimizer, image, target)
        ours = our_round(program)
        ratios.append(theirs / ours)
        print(f"round {number + 1}: torch {theirs:.0f} ms, groundglass {ours:.0f} ms a step, ratio {theirs / ours:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f} (over 1: groundglass is faster)")


if __name__ == "__main__":
    main()
