"""Makes a small CT series, lets groundglass read it, and reads what it wrote with other people's tools.

Called by tests/exports/main.rs with the part to check and the program.
"""

import csv
import html.parser
import json
import pathlib
import subprocess
import sys
import tempfile

import highdicom
import nibabel
import numpy
import PIL
import PIL.Image
import PIL.ImageDraw
import pycocotools
import pycocotools.mask
import pydicom
from pycocotools.coco import COCO
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

SPACING = (0.8, 0.7)  # between rows, between columns
DISTANCE = 5.0
ORIGIN = (-170.0, -160.0, 40.0)


def hounsfield():
    """The sample phantom in Hounsfield units, slightly different on each of three slices."""
    pixels = numpy.asarray(PIL.Image.open("www/samples/phantom-covid19.png").convert("L"))
    values = numpy.round(pixels / 255 * 1500 - 1350).astype(numpy.int16)
    return [values, values + 4, values + 8]


def data_set(kind):
    """What the files of this test have in common, in a study of their own."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.FrameOfReferenceUID, data.Modality = generate_uid(), "CT"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    return data


def write_series(folder):
    """Names and numbers run against the place of the slices."""
    first = data_set(CTImageStorage)
    for index, values in enumerate(hounsfield()):
        data = data_set(CTImageStorage)
        for shared in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
            setattr(data, shared, getattr(first, shared))
        data.PatientName, data.PatientID = "Nobody^Drawn", "phantom"
        data.StudyID, data.ReferringPhysicianName = "77", "Invented^Doctor"
        data.InstanceNumber = 10 - index
        data.Rows, data.Columns = values.shape
        data.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + DISTANCE * index]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = list(SPACING), DISTANCE
        data.RescaleSlope, data.RescaleIntercept = 1, -24
        data.PixelData = (values + 24).astype("<i2").tobytes()
        data.save_as(folder / f"slice{9 - index}.dcm", enforce_file_format=True)


def affine():
    """From (column, row, slice) to right, front and head as NIfTI counts them, in millimetres."""
    return numpy.array([
        [-SPACING[1], 0, 0, -ORIGIN[0]],
        [0, -SPACING[0], 0, -ORIGIN[1]],
        [0, 0, DISTANCE, ORIGIN[2]],
        [0, 0, 0, 1],
    ])


def predict(program, source, out, more=(), code=0):
    arguments = [*more, "--json", out / "r.json", "--csv", out / "r.csv", "--coco", out / "r.coco.json", "--html", out / "r.html", "--masks", out / "masks", "--nifti", out / "nifti", "--score-threshold", "0.3"]
    ended = subprocess.run([program, "predict", source, *arguments], stdout=subprocess.DEVNULL)
    assert ended.returncode == code, ended
    return json.loads((out / "r.json").read_text())


def check_volumes(program, folder):
    write_series(folder)
    report = predict(program, folder, folder / "out")
    offsets = [float(pydicom.dcmread(s["source"]).ImagePositionPatient[2]) for s in report["slices"]]
    assert offsets == sorted(offsets), offsets
    (path,) = (folder / "out" / "nifti").iterdir()
    mask = nibabel.load(path)
    assert mask.get_data_dtype() == numpy.uint8 and mask.header.get_xyzt_units()[0] == "mm"
    assert numpy.allclose(mask.affine, affine(), atol=1e-4), mask.affine
    values = numpy.asarray(mask.dataobj)
    assert values.any(), "no lesion was found on the phantom"
    for index, slice in enumerate(report["slices"]):
        name = pathlib.Path(slice["source"]).stem
        picture = PIL.Image.open(folder / "out" / "masks" / f"{name}_mask.png")
        assert picture.mode == "P"
        assert (numpy.asarray(picture) == values[:, :, index].T).all()
    (series,) = report["series"]
    volume = (values > 0).sum() * abs(numpy.linalg.det(mask.affine)) / 1000
    assert abs(volume - series["lesion_volume_ml"]) < 1e-3 * volume, (volume, series)
    assert series["distance_mm"] == DISTANCE
    check_joined_lesions(report, series)
    check_lungs(report, series, values > 0)


def check_joined_lesions(report, series):
    """Lesions whose masks overlap on one slice or on neighbours, united step by step until nothing changes."""
    parts = [
        (index, pycocotools.mask.decode(lesion["mask"]).astype(bool))
        for index, slice in enumerate(report["slices"]) for lesion in slice["lesions"]
    ]
    group = list(range(len(parts)))
    changed = True
    while changed:
        changed = False
        for a, (slice, mask) in enumerate(parts):
            for b, (other_slice, other) in enumerate(parts):
                if group[a] != group[b] and abs(slice - other_slice) <= 1 and (mask & other).any():
                    old, new = max(group[a], group[b]), min(group[a], group[b])
                    group, changed = [new if g == old else g for g in group], True
    sizes = []
    for number in set(group):
        own = [parts[k] for k in range(len(parts)) if group[k] == number]
        slices = {index for index, _ in own}
        sizes.append(sum(numpy.any([m for index, m in own if index == s], axis=0).sum() for s in slices))
    joined = series["joined_lesions"]
    assert [lesion["voxels"] for lesion in joined] == sorted(sizes, reverse=True), joined
    voxel_ml = SPACING[0] * SPACING[1] * DISTANCE / 1000
    for lesion in joined:
        assert abs(lesion["volume_ml"] - lesion["voxels"] * voxel_ml) < 1e-6, lesion


def check_lungs(report, series, volume):
    """Masks and counts of the lungs agree, and their sums are those of the series."""
    voxel_ml = SPACING[0] * SPACING[1] * DISTANCE / 1000
    for side in ("right", "left"):
        area = affected = 0
        for index, slice in enumerate(report["slices"]):
            lung, lesions = slice["lungs"][side], volume[:, :, index].T
            mask = pycocotools.mask.decode(lung["mask"]).astype(bool)
            # The patient's right lies on the left of the slice.
            assert (numpy.nonzero(mask)[1].mean() < mask.shape[1] / 2) == (side == "right")
            assert 0 <= lung["area_px"] - mask.sum() <= (lesions & ~mask).sum()
            assert 0 <= lung["affected_px"] - (lesions & mask).sum() == lung["area_px"] - mask.sum()
            area, affected = area + lung["area_px"], affected + lung["affected_px"]
        assert abs(series["lungs"][side]["volume_ml"] - area * voxel_ml) < 1e-6
        assert abs(series["lungs"][side]["affected_ml"] - affected * voxel_ml) < 1e-6
    all_parts = sum(third["volume_ml"] for third in series["lungs"]["thirds"])
    assert abs(all_parts - sum(series["lungs"][side]["volume_ml"] for side in ("right", "left"))) < 1e-6


def check_orientations(program, folder):
    """However a volume is stored, the same slices come out."""
    write_series(folder)
    expected = predict(program, folder, folder / "out")
    volume = numpy.stack(hounsfield(), axis=-1).transpose(1, 0, 2)
    stored = nibabel.Nifti1Image(volume, affine())
    for axes in ["LPS", "RAS", "SAL", "PIR"]:
        turn = nibabel.orientations.ornt_transform(
            nibabel.io_orientation(stored.affine), nibabel.orientations.axcodes2ornt(axes))
        for form in ["sform", "qform"]:
            turned = stored.as_reoriented(turn)
            if form == "qform":
                turned.set_qform(turned.affine, 1)
                turned.set_sform(None, 0)
            path = folder / f"{axes}_{form}.nii.gz"
            nibabel.save(turned, path)
            report = predict(program, path, folder / f"out_{axes}_{form}")
            for a, b in zip(expected["slices"], report["slices"], strict=True):
                assert a["logits"] == b["logits"], (axes, form)
                # Areas differ in the last digits: NIfTI stores 32-bit spacings.
                of = [[{**lesion, "area_mm2": 0} for lesion in report["lesions"]] for report in (a, b)]
                assert of[0] == of[1], (axes, form)
                assert numpy.allclose(a["spacing_mm"], b["spacing_mm"], atol=1e-4)
                assert a["lungs"] == b["lungs"], (axes, form)
            mask = nibabel.load(next((folder / f"out_{axes}_{form}" / "nifti").iterdir()))
            assert numpy.allclose(mask.affine, affine(), atol=1e-3), (axes, form, mask.affine)


def check_tables(program, folder):
    write_series(folder)
    report = predict(program, folder, folder / "out")
    lesions = [lesion for slice in report["slices"] for lesion in slice["lesions"]]
    coco = COCO(str(folder / "out" / "r.coco.json"))
    annotations = coco.loadAnns(coco.getAnnIds())
    assert len(annotations) == len(lesions) > 0
    for annotation, lesion in zip(annotations, lesions):
        mask = coco.annToMask(annotation)
        assert mask.sum() == annotation["area"] == lesion["area_px"]
        assert abs(annotation["score"] - lesion["score"]) < 1e-6
        x, y, width, height = annotation["bbox"]
        assert numpy.allclose([x, y, x + width, y + height], list(lesion["box"]), atol=1e-3)
    with open(folder / "out" / "r.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = [row for row in rows if row["lesion"]]
    assert len(found) == len(lesions)
    for row, lesion in zip(found, lesions):
        assert int(row["area_px"]) == lesion["area_px"] and "Research use only" in row["notice"]
        assert abs(float(row["area_mm2"]) - lesion["area_px"] * SPACING[0] * SPACING[1]) < 0.1


def check_segmentations(program, folder):
    """highdicom checks the data set on reading; the masks are those of the NIfTI volume."""
    source = folder / "ct"
    source.mkdir()
    write_series(source)
    for extra, name in [([], ""), (["--keep-identity"], "Nobody^Drawn")]:
        out = folder / f"out{len(extra)}"
        seg = ["--dicom-seg", out / "seg", *extra]
        report = predict(program, source, out, seg)
        (path,) = (out / "seg").iterdir()
        found = highdicom.seg.segread(path)
        sources = [pydicom.dcmread(slice["source"]) for slice in report["slices"]]
        assert found.PatientName == name and found.StudyID == ("77" if extra else "")
        assert found.ReferringPhysicianName == ("Invented^Doctor" if extra else "")
        assert b"Nobody" not in path.read_bytes() or extra
        assert found.StudyInstanceUID == sources[0].StudyInstanceUID
        assert found.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
        assert "Research use only" in found.ContentDescription
        (segment,) = found.SegmentSequence
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        # The page's red, (235, 64, 52), computed apart by way of D65 and Bradford's matrices.
        colour = segment.RecommendedDisplayCIELabValue
        assert numpy.abs(numpy.subtract(colour, [35661, 49674, 45190])).max() < 30, colour
        masks = found.get_pixels_by_source_instance([source.SOPInstanceUID for source in sources])
        volume = nibabel.load(next((out / "nifti").iterdir()))
        expected = numpy.asarray(volume.dataobj)
        assert expected.any()
        for index in range(len(sources)):
            assert (masks[index, :, :, 0] == expected[:, :, index].T).all(), index
        # From (slice, row, column) to the patient's left, back and head.
        placed = found.get_volume(combine_segments=True).to_patient_orientation("LPH")
        assert numpy.allclose(sorted(placed.spacing), sorted([*SPACING, DISTANCE]))
        assert numpy.allclose(placed.position, ORIGIN), placed.position


def check_structured_reports(program, folder):
    """highdicom reads the measurement report: a group with an outline for each lesion, one for each class."""
    source = folder / "ct"
    source.mkdir()
    write_series(source)
    write_frames(folder / "frames.dcm")
    for name, extra in [(source, []), (folder / "frames.dcm", ["--keep-identity"])]:
        out = folder / f"out{len(extra)}"
        report = predict(program, name, out, ["--dicom-sr", out / "sr", *extra])
        (path,) = (out / "sr").iterdir()
        found = highdicom.sr.srread(path)
        assert isinstance(found, highdicom.sr.ComprehensiveSR), type(found)
        assert found.PatientName == "" and b"Nobody" not in path.read_bytes()
        assert found.CompletionFlag == "PARTIAL" and found.VerificationFlag == "UNVERIFIED"
        assert "Research use only" in found.CompletionFlagDescription
        content = found.content
        lesions = [(lesion, slice) for slice in report["slices"] for lesion in slice["lesions"]]
        groups = content.get_planar_roi_measurement_groups()
        assert len(groups) == len(lesions) > 0, (len(groups), len(lesions))
        for group, (lesion, slice) in zip(groups, lesions):
            assert group.finding_type.meaning == "Lesion" and group.finding_sites[0].value.meaning == "Lung"
            values = {m.name.meaning: m.value for m in group.get_measurements()}
            assert abs(values["Detection score"] - lesion["score"]) < 1e-6
            assert abs(values["Area"] - lesion["area_mm2"]) < 1e-3
            points = group.roi.value
            assert (points[0] == points[-1]).all()
            mask = PIL.Image.new("1", (slice["width"], slice["height"]))
            PIL.ImageDraw.Draw(mask).polygon([tuple(p - 0.5) for p in points], fill=1, outline=1)
            drawn = numpy.asarray(mask).sum()
            assert 0.6 * lesion["area_px"] < drawn < 1.4 * lesion["area_px"] + 20, (drawn, lesion["area_px"])
            x1, y1, x2, y2 = lesion["box"]
            assert points[:, 0].min() >= x1 - 8 and points[:, 1].max() <= y2 + 8
            read = pydicom.dcmread(slice["source"].rsplit("#")[0])
            (referenced,) = group.roi.ContentSequence[0].ReferencedSOPSequence
            assert referenced.ReferencedSOPInstanceUID == read.SOPInstanceUID
            frame = getattr(referenced, "ReferencedFrameNumber", None)
            assert frame == (int(slice["source"].rsplit("#")[1]) if "#" in slice["source"] else None)
        of_slices = content.get_image_measurement_groups()
        classes = [group for group in of_slices if group.tracking_identifier == "Class of the slice"]
        assert len(classes) == len(report["slices"])
        for side, meaning in (("right", "Right lung"), ("left", "Left lung")):
            lungs = [group for group in of_slices if group.tracking_identifier == meaning]
            for group, slice in zip(lungs, report["slices"], strict=True):
                lung, (row, column) = slice["lungs"][side], slice["spacing_mm"]
                assert group.finding_sites[0].value.meaning == meaning
                values = {m.name.meaning: m.value for m in group.get_measurements()}
                assert abs(values["Area"] - lung["area_px"] * row * column) < 1e-2
                share = 100 * lung["affected_px"] / lung["area_px"]
                assert abs(values["Share of the lung covered by lesions"] - share) < 1e-4
        for group, slice in zip(classes, report["slices"]):
            values = {m.name.meaning: m.value for m in group.get_measurements()}
            assert abs(values["Probability of COVID-19"] - slice["classes"]["covid19"]) < 1e-6
        evidence = found.CurrentRequestedProcedureEvidenceSequence[0]
        instances = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
        assert len(instances) == (1 if extra else len(report["slices"]))


def write_frames(path):
    """The series as one enhanced file, whose last frame lies lowest."""
    data = data_set(EnhancedCTImageStorage)
    slices = hounsfield()
    data.NumberOfFrames, (data.Rows, data.Columns) = len(slices), slices[0].shape

    def item(**elements):
        dataset = Dataset()
        for name, value in elements.items():
            setattr(dataset, name, value)
        return Sequence([dataset])

    data.SharedFunctionalGroupsSequence = item(
        PlaneOrientationSequence=item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
        PixelMeasuresSequence=item(PixelSpacing=list(SPACING), SliceThickness=DISTANCE),
        PixelValueTransformationSequence=item(RescaleSlope=1, RescaleIntercept=-24, RescaleType="HU"),
    )
    data.PerFrameFunctionalGroupsSequence = Sequence([
        item(PlanePositionSequence=item(
            ImagePositionPatient=[ORIGIN[0], ORIGIN[1], ORIGIN[2] + DISTANCE * index]))[0]
        for index in reversed(range(len(slices)))])
    data.PixelData = b"".join((values + 24).astype("<i2").tobytes() for values in reversed(slices))
    data.save_as(path, enforce_file_format=True)


def check_frames(program, folder):
    """An enhanced file of many frames gives what single files give, and its frames are referred to."""
    (folder / "ct").mkdir()
    write_series(folder / "ct")
    expected = predict(program, folder / "ct", folder / "out")
    write_frames(folder / "frames.dcm")
    seg = ["--dicom-seg", folder / "out_frames" / "seg"]
    report = predict(program, folder / "frames.dcm", folder / "out_frames", seg)
    assert [slice["source"].rsplit("#")[1] for slice in report["slices"]] == ["3", "2", "1"]
    for a, b in zip(expected["slices"], report["slices"], strict=True):
        assert a["logits"] == b["logits"] and a["lesions"] == b["lesions"]
        assert b["spacing_mm"] == list(SPACING)
    assert report["series"][0]["distance_mm"] == DISTANCE
    found = highdicom.seg.segread(next((folder / "out_frames" / "seg").iterdir()))
    instance = pydicom.dcmread(folder / "frames.dcm").SOPInstanceUID
    masks = found.get_pixels_by_source_frame(instance, [3, 2, 1])
    volume = numpy.asarray(nibabel.load(next((folder / "out_frames" / "nifti").iterdir())).dataobj)
    for index in range(3):
        assert (masks[index, :, :, 0] == volume[:, :, index].T).all(), index


def check_gaps(program, folder):
    """Where a slice is missing, there is a warning and no volume; what else is asked for is written."""
    (folder / "ct").mkdir()
    write_series(folder / "ct")
    for path in (folder / "ct").iterdir():
        data = pydicom.dcmread(path)
        if data.ImagePositionPatient[2] == ORIGIN[2] + 2 * DISTANCE:
            data.ImagePositionPatient[2] += DISTANCE
            data.save_as(path)
    report = predict(program, folder / "ct", folder / "out", code=1)
    assert not list((folder / "out" / "nifti").iterdir())
    assert len(list((folder / "out" / "masks").iterdir())) == len(report["slices"])
    (series,) = report["series"]
    assert series["distance_mm"] is None and series["lesion_volume_ml"] is None
    assert any("from 5.00 to 10.00 mm apart" in warning for warning in series["warnings"]), series


def check_report(program, folder):
    write_series(folder)
    predict(program, folder, folder / "out")
    sources = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert tag not in ("script", "link", "iframe"), tag
            sources.extend(value for name, value in attributes if name in ("src", "href"))

    text = (folder / "out" / "r.html").read_text()
    Reader().feed(text)
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert "Research use only" in text and "Lesion volume" in text and "Nobody" not in text


def main():
    if sys.argv[1] == "versions":
        packages = [numpy, PIL, pydicom, highdicom, nibabel]
        versions = [f"{p.__name__} {p.__version__}" for p in packages]
        print("read back by", ", ".join(versions), "and pycocotools", getattr(pycocotools, "__version__", ""))
        return
    with tempfile.TemporaryDirectory() as folder:
        globals()[f"check_{sys.argv[1]}"](sys.argv[2], pathlib.Path(folder))


if __name__ == "__main__":
    main()
