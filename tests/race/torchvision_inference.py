"""Times one slice through torchvision's Mask R-CNN, built as ResNet18-T1 with one FPN level, beside
`groundglass bench`: the two take turns, so that a busy machine slows both.

Both choose 1000 proposals of a 512 x 512 phantom and look at all of them. torchvision's weights are random,
so it finds nothing to outline; ours outlines one lesion and classifies the slice besides.

    pip install torch torchvision
    cargo build --release
    python tests/race/torchvision_inference.py target/release/groundglass

Research use only, not a medical device.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time

import numpy
import torch
import torchvision
from PIL import Image

from torchvision_training import network

ROUNDS = 5
RUNS = 15


def torch_round(model, image):
    times = []
    with torch.inference_mode():
        for run in range(RUNS + 2):
            started = time.perf_counter()
            model([image])
            if run >= 2:
                times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def our_round(program):
    output = subprocess.run([program, "bench", "--model", "resnet18t1", "--runs", str(RUNS), "--json", "--site", "none"], check=True, capture_output=True)
    return json.loads(output.stdout)["median_milliseconds"]["total"]


def prepared():
    """The network and the phantom."""
    path = pathlib.Path(__file__).parents[2] / "www/samples/phantom-covid19.png"
    picture = numpy.asarray(Image.open(path).convert("RGB"))
    image = torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255
    torch.manual_seed(1)
    model = network().eval()
    model.rpn._pre_nms_top_n = model.rpn._post_nms_top_n = {"training": 1000, "testing": 1000}
    model.roi_heads.score_thresh, model.roi_heads.nms_thresh = 0.75, 0.75
    return model, image


def main():
    program = sys.argv[1]
    model, image = prepared()
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, {torch.get_num_threads()} threads")
    ratios = []
    for number in range(ROUNDS):
        theirs = torch_round(model, image)
        ours = our_round(program)
        ratios.append(theirs / ours)
        print(f"round {number + 1}: torch {theirs:.0f} ms, groundglass {ours:.0f} ms a slice, ratio {theirs / ours:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f} (over 1: groundglass is faster)")


if __name__ == "__main__":
    main()
