"""Runs groundglass and its peers on the same slice, by turns in one sitting, and prints a table of times and ratios.

    make race                                              everything that this machine has
    python tests/race/race.py PROGRAM [--dist DIST] [--web NODE_MODULES] [--rounds N] [--runs N]

Natively: ONNX Runtime with the exported graphs, torchvision's Mask R-CNN and a training step of it. In Chromium:
onnxruntime-web with the same graphs, with one thread and with two, and on WebGPU if there is a real GPU.

What is counted: of ONNX Runtime the runs of the graphs alone, without what a program has to do before, between and after
them (resizing, proposals, suppression, pasting); of groundglass the whole slice. The graphs get the boxes that the slice
has. Before anything is timed, both must find the same lesions.

Research use only. Not a medical device.
"""

import argparse
import functools
import http.server
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SLICE = ROOT / "www/samples/phantom-covid19.png"
MODEL = "resnet18t1"
STAGES = ["features", "boxes", "masks", "classification"]

sys.path += [str(HERE), str(ROOT / "tests/peers")]
import onnx_predict  # noqa: E402
from webdriver import Browser  # noqa: E402


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}: {done.stderr}")
    return done.stdout


class Recorded:
    """A session of ONNX Runtime that remembers what it was given."""

    calls = []

    def __init__(self, path):
        self.name = pathlib.Path(path).stem
        options = onnx_predict.onnxruntime.SessionOptions()
        # As many as there are for this process, which is what ours takes.
        options.intra_op_num_threads = processors()
        self.session = onnx_predict.onnxruntime.ORIGINAL(path, options)
        # What is not asked for is not computed.
        self.options = onnx_predict.onnxruntime.RunOptions()
        self.options.only_execute_path_to_fetches = True

    def get_inputs(self):
        return self.session.get_inputs()

    def run(self, wanted, inputs):
        Recorded.calls.append((self, wanted, inputs))
        return self.session.run(wanted, inputs, self.options)


def export(program, folder):
    """The graphs, their inputs for the slice, and what ONNX Runtime finds with them."""
    run(program, "export", ROOT / f"models/{MODEL}.bpk", "--format", "onnx", "--out", folder)
    onnx_predict.onnxruntime.ORIGINAL = onnx_predict.onnxruntime.InferenceSession
    onnx_predict.onnxruntime.InferenceSession = Recorded
    about = json.loads((folder / "groundglass.json").read_text())
    picture = onnx_predict.Image.open(SLICE).convert("L")
    settings = about["detector"]["detections"]
    grey = numpy.asarray(picture, numpy.float32)
    lesions = onnx_predict.detect(folder, about, grey, settings["score"], settings["nms"])
    onnx_predict.classify(folder, about, picture)
    features, boxes, masks, classes = Recorded.calls
    inputs = {
        "image": features[2]["image"],
        "boxes": boxes[2]["boxes"],
        "mask_boxes": masks[2]["mask_boxes"],
        "no_box": boxes[2]["mask_boxes"],
        "images": classes[2]["images"],
    }
    for name, values in inputs.items():
        values.astype("<f4").tofile(folder / f"{name}.bin")
    (folder / "inputs.json").write_text(json.dumps({name: {"dims": v.shape} for name, v in inputs.items()}))
    logits = boxes[0].session.run(["logits"], boxes[2])[0]
    return lesions, dict(zip(STAGES, Recorded.calls)), logits


def same_lesions(program, theirs):
    report = json.loads(run(program, "predict", SLICE, "--model", MODEL, "--json", "-"))
    ours = report["slices"][0]["lesions"]
    assert len(ours) == len(theirs), f"{len(ours)} lesions here, {len(theirs)} there"
    for own in ours:
        near = [t for t in theirs if numpy.abs(numpy.subtract(t["box"], own["box"])).max() < 0.05]
        assert near and abs(near[0]["score"] - own["score"]) < 1e-3, f"{own['box']} is missing"
    return len(ours)


def timed(calls, runs):
    times = {stage: [] for stage in STAGES}
    for number in range(runs + 2):
        for stage, (session, wanted, inputs) in calls.items():
            started = time.perf_counter()
            session.session.run(wanted, inputs, session.options)
            if number >= 2:
                times[stage].append((time.perf_counter() - started) * 1e3)
    return {stage: statistics.median(values) for stage, values in times.items()}


def ours(program, runs):
    found = json.loads(run(program, "bench", "--model", MODEL, "--slice", SLICE, "--runs", runs, "--json", "--site", "none"))
    return found["median_milliseconds"]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, isolated from other sites: threads in WebAssembly need that. Counts what it sends of programs and weights."""

    sent = 0
    inputs = {"inputs.json", "image.bin", "boxes.bin", "mask_boxes.bin", "no_box.bin", "images.bin", "phantom-covid19.png"}
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".wasm": "application/wasm", ".mjs": "text/javascript", ".js": "text/javascript"}

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def copyfile(self, source, outputfile):
        if self.path.split("?")[0].rsplit("/", 1)[-1] not in self.inputs:
            Handler.sent += os.fstat(source.fileno()).st_size
        super().copyfile(source, outputfile)

    def log_message(self, *_):
        pass


def serve(folder):
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def page(address, query, flags):
    """The page's own bench: milliseconds by stage, those to the first result, bytes sent."""
    Handler.sent = 0
    with Browser(flags) as browser:
        # What is kept for later visits would be counted, too.
        browser.before("delete Navigator.prototype.serviceWorker")
        browser.open(f"{address}/?{query}&model={MODEL}&bench=1&lang=en")
        cells = "return [...document.querySelectorAll('[data-stage]')].map((e) => [e.dataset.stage, parseFloat(e.textContent)])"
        rows = browser.wait(f"const r = (() => {{ {cells} }})(); return r.length > 0 && r")
        first = browser.wait("return document.querySelector('[data-first-result]').dataset.firstResult")
        title = browser.wait("return document.querySelector('.bench h2').textContent")
        wanted = "gpu" if "device=gpu" in query else "cpu"
        assert title.split(", ")[1].startswith(wanted), f"another device computed: {title}"
        return dict(rows) | {"first": float(first), "bytes": Handler.sent}


def peer(address, query, flags):
    Handler.sent = 0
    with Browser(flags) as browser:
        browser.open(f"{address}/onnxruntime-web.html?{query}")
        answer = browser.wait("return window.answer")
    if "error" in answer:
        sys.exit(f"onnxruntime-web: {answer['error']}")
    times = {stage: statistics.median(values) for stage, values in answer["times"].items()}
    return times | {"first": answer["first"], "bytes": Handler.sent, "logits": answer["logits"], "version": answer["version"]}


class Table:
    """Times of two sides, round by round."""

    def __init__(self):
        self.rows = {}

    def add(self, what, here, there):
        self.rows.setdefault(what, []).append((here, there))

    def print(self):
        print("\n| what | here | there | ratio |\n|---|---|---|---|")
        for what, pairs in self.rows.items():
            spread = lambda values: f"{min(values):.0f} to {max(values):.0f} ms"
            ratio = statistics.median(there / here for here, there in pairs)
            print(f"| {what} | {spread([p[0] for p in pairs])} | {spread([p[1] for p in pairs])} | {ratio:.2f} |")


def whole(times):
    return sum(times[stage] for stage in STAGES)


def native(table, program, calls, given):
    try:
        import torch
        import torchvision_inference as inference
        import torchvision_training as training
    except ImportError as missing:
        print(f"torchvision is left out: {missing}")
        torch = None
    if torch:
        model, image = inference.prepared()
        step = training.prepared(program)
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for number in range(given.rounds):
        print(f"native, round {number + 1}", flush=True)
        here, there = ours(program, given.runs), timed(calls, given.runs)
        table.add("native, ONNX Runtime: backbone and proposal head", here["features"], there["features"])
        table.add("native, ONNX Runtime: whole slice", here["total"], whole(there))
        if torch:
            detector = here["total"] - here["classification"]
            table.add("native, torchvision: whole slice without the class", detector, inference.torch_round(model, image))
            table.add("native, torchvision: training step of stage I", training.our_round(program), training.torch_round(*step))


def browsers(table, folder, logits, given):
    site = folder / "site"
    shutil.copytree(HERE, site, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    (site / "ort").symlink_to(pathlib.Path(given.web).resolve() / "onnxruntime-web/dist")
    (site / "graphs").symlink_to(folder / "graphs")
    page_address, peer_address = serve(given.dist), serve(site)
    cases = [("wasm, one worker", "device=cpu&workers=1", "provider=wasm&threads=1", [])]
    cases.append(("wasm, one worker against two threads", "device=cpu&workers=1", "provider=wasm&threads=2", []))
    gpu_flags = ["--enable-unsafe-webgpu", "--enable-features=Vulkan"]
    with Browser(gpu_flags) as browser:
        browser.open(f"{peer_address}/requirements.txt")
        adapter = browser.wait(
            "window.gpu ??= 0; if (window.gpu === 0) { window.gpu = 1; (async () => { const a = await navigator.gpu?.requestAdapter(); "
            "window.gpu = { is: !!a && !a.info.isFallbackAdapter, name: a ? `${a.info.vendor} ${a.info.architecture}` : 'none' }; })(); } "
            "return window.gpu.name !== undefined && window.gpu")
    if adapter["is"] and "swiftshader" not in adapter["name"]:
        cases.append((f"WebGPU ({adapter['name']})", "device=gpu", "provider=webgpu&threads=1", gpu_flags))
    else:
        print(f"WebGPU is left out: no GPU but {adapter['name']}, whose times say nothing about real ones")
    for number in range(given.rounds):
        for name, own, other, flags in cases:
            print(f"{name}, round {number + 1}", flush=True)
            here, there = page(page_address, own, flags), peer(peer_address, f"{other}&runs=5", flags)
            off = numpy.abs(numpy.subtract(there["logits"], logits.ravel())).max()
            assert off < 1e-2, f"onnxruntime-web is off by {off}"
            table.add(f"{name}: backbone and proposal head", here["features"], there["features"])
            table.add(f"{name}: whole slice", here["total"], whole(there))
            table.add(f"{name}: from the address to the first result", here["first"], there["first"])
    print(f"onnxruntime-web {there['version']}; sent for a first visit, weights included, not compressed: "
          f"{here['bytes'] / 1e6:.1f} MB here, {there['bytes'] / 1e6:.1f} MB there")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--dist", help="the built page; without it, natively only")
    parser.add_argument("--web", help="node_modules with onnxruntime-web")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=11)
    given = parser.parse_args()
    os.environ.setdefault("GROUNDGLASS_MODELS", str(ROOT / "models"))
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        lesions, calls, logits = export(given.program, folder / "graphs")
        print(f"{run(given.program, '--version').strip()}, ONNX Runtime {onnx_predict.onnxruntime.__version__}, "
              f"{processors()} processors, {processor()}")
        print(f"both find the same {same_lesions(given.program, lesions)} lesions")
        try:
            native(table, given.program, calls, given)
            if given.dist and given.web and shutil.which("chromedriver"):
                browsers(table, folder, logits, given)
            else:
                print("browsers are left out: --dist, --web and chromedriver are needed")
        finally:
            table.print()


def processors():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
