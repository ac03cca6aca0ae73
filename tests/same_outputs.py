"""Compares two builds of groundglass: what they write and the losses of what they train must be the same to the bit.

    python3 tests/same_outputs.py OLD NEW [SLICES ...]

OLD and NEW are two `groundglass` programs, SLICES further files or folders (DICOM, NIfTI, pictures); phantoms are
always among them. Times, dates and the identifiers made from them are left out; of DICOM files all other elements are
compared, with pydicom where it is installed. Exits with 1 and the names of what differs.
"""

import csv
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    # 1 says that some of the files could not be read, which is the same for both.
    if done.returncode not in (0, 1):
        sys.exit(f"{program} {' '.join(map(str, arguments))}: {done.stderr}")
    return re.sub(r"after [0-9.]+ minutes|[0-9.]+ s/step|[0-9]+ min left|[0-9.]+ ms", "", done.stdout)


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in ("milliseconds", "seconds")}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def dicom(path):
    try:
        import pydicom
    except ImportError:
        return None
    found = []

    def visit(dataset, element):
        if element.VR not in ("UI", "DA", "TM", "DT") and element.VR != "SQ":
            found.append((str(element.tag), element.value))

    pydicom.dcmread(path).walk(visit)
    return found


def content(path):
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text()))
    if path.suffix == ".dcm":
        return dicom(path)
    if path.suffix == ".bpk":
        # Holds how long its run took, so two runs of one program differ, too. Its tensors are compared as safetensors.
        return None
    if path.suffix == ".safetensors":
        written = path.read_bytes()
        end = 8 + int.from_bytes(written[:8], "little")
        header = json.loads(written[8:end])
        return {name: (told["shape"], written[end:][slice(*told["data_offsets"])]) for name, told in header.items() if name != "__metadata__"}
    if path.name == "losses.csv":
        return list(csv.reader(path.open()))
    return path.read_bytes()


def write_everything(program, folder, slices):
    data = folder / "data"
    run(program, "phantom", "--out", data, "--count", 30, "--seed", 3)
    out = folder / "out"
    text = [
        run(
            program, "predict", *slices, "--models", ROOT / "models", "--json", out / "report.json",
            "--csv", out / "report.csv", "--coco", out / "coco.json", "--html", out / "report.html",
            "--overlay", out / "overlay", "--masks", out / "masks", "--nifti", out / "nifti",
            "--dicom-seg", out / "seg", "--dicom-sr", out / "sr",
        )
    ]  # fmt: skip
    if not (out / "report.json").is_file():
        sys.exit(f"{program} wrote no report")
    lesions, classes = data / "lesions/train", data / "classes"
    lists = ["--data", classes, "--list", classes / "train_COVIDx_CT.txt"]
    first = folder / "stage1"
    small = ["--preset", "small-data", "--norm", "batch", "--freeze", "none", "--cut", 256]
    text.append(run(program, "train", "segmentation", *small, "--data", lesions, "--steps", 20, "--seed", 1, "--out", first))
    model = first / "model.bpk"
    for trainable in ["s", "s+f", "s+bn"]:
        text.append(
            run(
                program, "train", "classifier", "--from", model, *lists, "--trainable", trainable, "--epochs", 1,
                "--holdout", 0, "--learning-rate", "1e-3", "--out", folder / trainable,
            )
        )  # fmt: skip
    text.append(
        run(
            program, "train", "image-classifier", *lists, "--norm", "batch", "--side", 64, "--steps", 20, "--seed", 1,
            "--out", folder / "image",
        )
    )  # fmt: skip
    for trained in sorted(folder.glob("*/model.bpk")):
        text.append(run(program, "export", trained, "--format", "safetensors", "--out", trained.with_suffix(".safetensors")))
    (folder / "said.txt").write_text("\n".join(text).replace(str(folder), ""))


def main():
    old, new, *slices = sys.argv[1:]
    slices = [*sorted((ROOT / "www/samples").glob("*.png")), *slices]
    with tempfile.TemporaryDirectory() as place:
        folders = [pathlib.Path(place) / name for name in ("old", "new")]
        for program, folder in zip((old, new), folders, strict=True):
            # In the same place: models say where their data lay.
            run_folder = pathlib.Path(place) / "run"
            write_everything(program, run_folder, slices)
            run_folder.rename(folder)
        names = [{p.relative_to(folder) for p in folder.rglob("*") if p.is_file()} for folder in folders]
        differ = [str(name) for name in sorted(names[0] ^ names[1])]
        same, skipped = 0, 0
        for name in sorted(names[0] & names[1]):
            contents = [content(folder / name) for folder in folders]
            if contents[0] is None:
                skipped += 1
            elif contents[0] == contents[1]:
                same += 1
            else:
                differ.append(str(name))
    print(f"{same} files are the same, {skipped} were not compared (weights; DICOM without pydicom)")
    if differ:
        sys.exit("different: " + ", ".join(differ))


main()
