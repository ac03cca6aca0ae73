"""Fails if a build of groundglass is slower than another: both take turns in one sitting.

    python tests/race/gate.py OLD NEW [--rounds N] [--most 1.15]

Compares a whole slice and a training step by the median of the rounds' ratios. `make gate BASE=REVISION` builds both.
Research use only. Not a medical device.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def bench(program, *options):
    output = subprocess.run([program, "bench", "--json", *options], check=True, capture_output=True)
    return json.loads(output.stdout)


def measured(program):
    return {
        "whole slice": bench(program, "--runs", "15", "--site", "none")["median_milliseconds"]["total"],
        "training step": bench(program, "--training", "--runs", "5")["training_step_milliseconds"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--most", type=float, default=1.15, help="largest ratio of new to old")
    given = parser.parse_args()
    os.environ.setdefault("GROUNDGLASS_MODELS", str(ROOT / "models"))
    ratios = {}
    for number in range(given.rounds):
        # Who goes first changes: whoever goes second finds a warmer machine.
        sides = [given.old, given.new] if number % 2 == 0 else [given.new, given.old]
        found = {side: measured(side) for side in sides}
        for what, old in found[given.old].items():
            new = found[given.new][what]
            ratios.setdefault(what, []).append(new / old)
            print(f"round {number + 1}, {what}: {old:.1f} ms before, {new:.1f} ms now", flush=True)
    medians = {what: statistics.median(values) for what, values in ratios.items()}
    for what, ratio in medians.items():
        print(f"{what}: {ratio:.3f} of the time before")
    slower = [what for what, ratio in medians.items() if ratio > given.most]
    if slower:
        sys.exit(f"slower than {given.most:.2f} times: {', '.join(slower)}")


if __name__ == "__main__":
    main()
