//! The command line as a user meets it: outputs, messages, exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::png_header_bomb;
use groundglass::classes::LesionClasses;
use groundglass::detection::mask::rle::Rle;
use groundglass::network::{Architecture, MaskRcnnConfig, StateDict, Task, Variant};
use groundglass::report::Report;
use groundglass::report::verdict::Finding;
use serde_json::Value;

fn groundglass(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_groundglass"))
        .args(arguments)
        .env("GROUNDGLASS_MODELS", Path::new(env!("CARGO_MANIFEST_DIR")).join("models"))
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeed(arguments: &[&str]) -> String {
    let output = groundglass(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Runs a command that must fail with exit code 1; gives back what it says.
fn fail(arguments: &[&str]) -> String {
    let output = groundglass(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", text(&output.stdout));
    text(&output.stderr)
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn sample(name: &str) -> String {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("www/samples");
    samples.join(format!("phantom-{name}.png")).display().to_string()
}

#[test]
fn predict_writes_a_report_whose_masks_fit_their_boxes_and_areas() {
    let folder = tempfile::tempdir().unwrap();
    let (json, overlays) = (path(&folder, "report.json"), path(&folder, "overlays"));
    let shown = succeed(&["predict", &sample("covid19"), "--json", &json, "--overlay", &overlays]);
    assert!(shown.contains("Research use only"), "{shown}");
    let report: Report = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report.schema, "groundglass/report/1");
    assert!(
        report.notice.contains("not a medical device") || report.notice.contains("Not a medical")
    );
    let slice = &report.slices[0];
    assert_eq!((slice.width, slice.height, slice.spacing_mm), (512, 512, None));
    let classes = slice.classes.unwrap();
    let sum = classes.control + classes.common_pneumonia + classes.covid19;
    assert!((sum - 1.0).abs() < 1e-5);
    assert!(!slice.lesions.is_empty());
    for lesion in &slice.lesions {
        let mask = lesion.mask.as_ref().unwrap().decode().unwrap();
        assert_eq!((mask.width, mask.height, mask.area()), (512, 512, lesion.area_px));
        let b = lesion.bbox;
        for index in (0..mask.pixels.len()).filter(|i| mask.pixels[*i]) {
            let (x, y) = ((index % 512) as f32, (index / 512) as f32);
            let near = x >= b.x1 - 8.0 && x <= b.x2 + 8.0 && y >= b.y1 - 8.0 && y <= b.y2 + 8.0;
            assert!(near, "({x}, {y}) lies far from {b:?}");
        }
    }
    let overlay = folder.path().join("overlays/phantom-covid19_overlay.png");
    assert_eq!(image::image_dimensions(overlay).unwrap(), (512, 512));
}

#[test]
fn json_on_standard_output_is_nothing_but_json() {
    let shown = succeed(&["predict", &sample("control"), "--json", "-"]);
    let report: Value = serde_json::from_str(&shown).unwrap();
    for key in ["control", "common_pneumonia", "covid19"] {
        assert!(report["slices"][0]["classes"][key].is_number(), "{key}");
    }
    assert_eq!(report["slices"][0]["logits"].as_array().unwrap().len(), 3);
    assert_eq!(report["model"]["segmentation"]["sha256"].as_str().unwrap().len(), 64);
    assert!(report["slices"][0]["milliseconds"]["total"].is_number());
}

#[test]
fn the_same_seed_gives_the_same_classes_and_thresholds_change_the_lesions() {
    let run = |extra: &[&str]| -> Report {
        let file = sample("covid19");
        let mut arguments = vec!["predict", &file, "--json", "-"];
        arguments.extend(extra);
        serde_json::from_str(&succeed(&arguments)).unwrap()
    };
    let (first, second) = (run(&["--seed", "7"]), run(&["--seed", "7"]));
    assert_eq!(first.slices[0].logits, second.slices[0].logits);
    let loose = run(&["--score-threshold", "0.05", "--nms-threshold", "0.5"]);
    assert!(loose.slices[0].lesions.len() > first.slices[0].lesions.len());
    assert_eq!(run(&["--score-threshold", "0.05", "--detections", "1"]).slices[0].lesions.len(), 1);
    let (wide, narrow) = (
        run(&["--mask-threshold", "probability"]).slices[0].lesions[0].area_px,
        run(&["--mask-threshold", "logit"]).slices[0].lesions[0].area_px,
    );
    assert!(narrow <= wide);
}

#[test]
fn a_bad_file_among_good_ones_is_named_and_the_good_ones_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let slices = folder.path().join("slices");
    fs::create_dir(&slices).unwrap();
    fs::copy(sample("control"), slices.join("a.png")).unwrap();
    fs::write(slices.join("b.png"), b"no picture").unwrap();
    fs::copy(sample("pneumonia"), slices.join("c.png")).unwrap();
    let json = path(&folder, "report.json");
    let message = fail(&["predict", &slices.display().to_string(), "--json", &json]);
    assert!(message.contains("b.png") && message.contains("not a PNG"), "{message}");
    let report: Report = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(report.slices.len(), 2);
    assert_eq!(report.errors.len(), 1);
    assert!(report.errors[0].source.ends_with("b.png"));
}

/// An explicit little-endian DICOM file of these elements.
fn dicom(transfer_syntax: &str, elements: &[u8]) -> Vec<u8> {
    let element = |group: u16, number: u16, vr: &str, value: &str| {
        let mut value = value.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            value.push(0);
        }
        let mut bytes = group.to_le_bytes().to_vec();
        bytes.extend(number.to_le_bytes());
        bytes.extend(vr.as_bytes());
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(value);
        bytes
    };
    let meta = [
        element(2, 2, "UI", "1.2.840.10008.5.1.4.1.1.2"),
        element(2, 3, "UI", "1.2.3"),
        element(2, 0x10, "UI", transfer_syntax),
    ]
    .concat();
    let mut file = vec![0; 128];
    file.extend(b"DICM\x02\0\0\0UL\x04\0");
    file.extend((meta.len() as u32).to_le_bytes());
    file.extend(meta);
    file.extend(elements);
    file
}

/// `Rows` and `Columns` of 512.
const SIZE_512: [u8; 20] =
    [0x28, 0, 0x10, 0, b'U', b'S', 2, 0, 0, 2, 0x28, 0, 0x11, 0, b'U', b'S', 2, 0, 0, 2];

#[test]
fn every_bad_slice_has_a_message_with_its_name_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(sample("control")).unwrap();
    let dot = folder.path().join("dot.png");
    image::GrayImage::from_pixel(1, 1, image::Luma([7])).save(&dot).unwrap();
    let short_pixels = {
        let mut elements = SIZE_512.to_vec();
        elements.extend([0xE0, 0x7F, 0x10, 0, b'O', b'W', 0, 0, 4, 0, 0, 0, 1, 2, 3, 4]);
        elements
    };
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("empty.png", Vec::new(), "empty"),
        ("cut.png", whole[..whole.len() / 3].to_vec(), "cut off"),
        ("notes.txt", b"these are notes".to_vec(), "not a PNG, JPEG, DICOM, NIfTI or zip"),
        ("bomb.png", png_header_bomb(), "20000 x 20000"),
        ("report.dcm", dicom("1.2.840.10008.1.2.1", &SIZE_512), "no pixel data"),
        ("cut.dcm", dicom("1.2.840.10008.1.2.1", &short_pixels), "bytes of pixels were expected"),
        ("strange.dcm", dicom("1.2.3.4.5", &short_pixels), "1.2.3.4.5"),
        ("lossless.dcm", dicom("1.2.840.10008.1.2.4.201", &short_pixels), "not supported"),
    ];
    for (name, bytes, reason) in &cases {
        fs::write(folder.path().join(name), bytes).unwrap();
        let message = fail(&["predict", &path(&folder, name)]);
        assert!(message.contains(name) && message.contains(reason), "{name}: {message}");
    }
    let message = fail(&["predict", &dot.display().to_string()]);
    assert!(message.contains("dot.png") && message.contains("1 x 1"), "{message}");
    let message = fail(&["predict", &path(&folder, "nowhere.png")]);
    assert!(message.contains("nowhere.png"), "{message}");
}

/// Weights of the smallest network, written by the library.
fn small_weights(folder: &Path, change: impl Fn(&mut StateDict)) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/resnet18t1.bpk");
    let mut state = StateDict::from_bytes(&fs::read(shipped).unwrap()).unwrap();
    change(&mut state);
    let file = folder.join("changed.bpk");
    fs::write(&file, state.to_pack().unwrap()).unwrap();
    file
}

#[test]
fn every_bad_weights_file_has_a_message_with_its_name_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let predict = |weights: &Path| {
        fail(&["predict", &sample("control"), "--segmentation", &weights.display().to_string()])
    };
    let name = "roi_heads.box_head.fc7.weight";
    let nan = small_weights(folder.path(), |state| {
        if let Some(parameter) = state.tensors.get_mut(name) {
            parameter.values[3] = f32::NAN;
        }
    });
    let message = predict(&nan);
    assert!(message.contains("NaN") && message.contains(name), "{message}");

    let misshapen = small_weights(folder.path(), |state| {
        if let Some(parameter) = state.tensors.get_mut(name) {
            parameter.shape = vec![64, 256];
        }
    });
    let message = predict(&misshapen);
    assert!(message.contains("[64, 256]") && message.contains("[128, 128]"), "{message}");

    let incomplete = small_weights(folder.path(), |state| {
        state.tensors.remove(name);
    });
    assert!(predict(&incomplete).contains("missing"));

    let only_a_detector = small_weights(folder.path(), |state| {
        let of_a_classifier = ["s2new", "image_classifier."];
        state.tensors.retain(|name, _| !of_a_classifier.iter().any(|part| name.starts_with(part)));
    });
    let weights = only_a_detector.display().to_string();
    let message = fail(&["predict", &sample("control"), "--classifier", &weights]);
    assert!(message.contains("classifier"), "{message}");
    // On its own it is a good detector.
    let report: Report = serde_json::from_str(&succeed(&[
        "predict",
        &sample("covid19"),
        "--segmentation",
        &weights,
        "--json",
        "-",
    ]))
    .unwrap();
    assert!(report.slices[0].classes.is_none() && !report.slices[0].lesions.is_empty());

    for (name, bytes) in [
        ("empty.bpk", &b""[..]),
        ("text.pth", b"not a checkpoint"),
        ("zip.pth", b"PK\x03\x04 and nothing more"),
        ("cut.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."),
    ] {
        let file = folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        let message = predict(&file);
        assert!(message.contains(name), "{message}");
        let out = path(&folder, "out.bpk");
        let message = fail(&["import", &file.display().to_string(), "--out", &out]);
        assert!(message.contains(name) && !Path::new(&out).exists(), "{message}");
    }
}

#[test]
fn a_listed_model_with_another_hash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    fs::copy(models.join("manifest.json"), folder.path().join("manifest.json")).unwrap();
    let mut weights = fs::read(models.join("resnet18t2.bpk")).unwrap();
    let last = weights.len() - 1;
    weights[last] ^= 1;
    fs::write(folder.path().join("resnet18t2.bpk"), weights).unwrap();
    let models = folder.path().display().to_string();
    let message = fail(&["predict", &sample("control"), "--models", &models]);
    assert!(message.contains("resnet18t2.bpk") && message.contains("SHA-256"), "{message}");
    let message = fail(&["predict", &sample("control"), "--model", "resnet99"]);
    assert!(message.contains("resnet99") && message.contains("resnet18t1"), "{message}");
}

#[test]
fn info_counts_what_the_reference_counts() {
    let rows: Vec<Value> = serde_json::from_str(&succeed(&["info", "--json"])).unwrap();
    assert_eq!(rows.len(), 28);
    let row = |variant: &str, task: &str| {
        rows.iter()
            .find(|r| r["variant"] == variant && r["task"] == task && r["masks"] == "merge")
            .unwrap()
    };
    let headline = row("resnet18t1", "segmentation");
    assert_eq!(headline["parameters"], 6_051_810);
    assert_eq!(headline["state_dict_entries"], 6_056_305);
    assert_eq!(headline["paper_millions"], 6.12);
    assert_eq!(row("resnet34t2", "classification")["trainable"], 595_331);
}

#[test]
fn phantoms_come_in_both_layouts_and_the_same_seed_gives_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, seed: &str| {
        succeed(&["phantom", "--out", &path(&folder, name), "--count", "7", "--seed", seed]);
        folder.path().join(name)
    };
    let (first, again, other) = (write("first", "1"), write("again", "1"), write("other", "2"));
    let image = "classes/images/NCP_001_1_0001.png";
    assert_eq!(fs::read(first.join(image)).unwrap(), fs::read(again.join(image)).unwrap());
    assert_ne!(fs::read(first.join(image)).unwrap(), fs::read(other.join(image)).unwrap());
    let list = fs::read_to_string(first.join("classes/train_COVIDx_CT.txt")).unwrap();
    assert_eq!(list.lines().count(), 7);
    for line in list.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!(fields.len(), 6, "{line}");
        assert!(first.join("classes/images").join(fields[0]).is_file(), "{line}");
    }
    let mask = image::open(first.join("lesions/train/masks/1_0.png")).unwrap().into_luma8();
    assert!(mask.pixels().any(|p| p.0[0] >= 2) && mask.pixels().all(|p| p.0[0] <= 3));
    assert!(first.join("lesions/train/imgs/1_0.jpg").is_file());
}

/// Random weights of an architecture as a file.
fn random_weights(folder: &Path, variant: Variant, task: Task, masks: LesionClasses) -> PathBuf {
    let architecture = Architecture::paper(variant, task, masks);
    let network = MaskRcnnConfig::new(architecture).init(&burn::tensor::Device::flex());
    let file = folder.join(format!("{variant}_{task}_{masks}.bpk"));
    fs::write(&file, network.state().to_pack().unwrap()).unwrap();
    file
}

#[test]
fn every_variant_and_class_setting_runs() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("small.png");
    // A small chest: of other pictures no class is told.
    let phantom = image::open(sample("covid19")).unwrap();
    phantom.thumbnail_exact(96, 96).to_luma8().save(&picture).unwrap();
    for variant in Variant::LIGHTWEIGHT.into_iter().chain([Variant::RESNET50]) {
        for masks in [LesionClasses::Merge, LesionClasses::Both] {
            let weights =
                |task| random_weights(folder.path(), variant, task, masks).display().to_string();
            let (segmentation, classifier) =
                (weights(Task::Segmentation), weights(Task::Classification));
            let report: Report = serde_json::from_str(&succeed(&[
                "predict",
                &picture.display().to_string(),
                "--segmentation",
                &segmentation,
                "--classifier",
                &classifier,
                "--score-threshold",
                "0.3",
                "--detections",
                "3",
                "--json",
                "-",
            ]))
            .unwrap();
            let slice = &report.slices[0];
            assert!(slice.classes.is_some(), "{variant} {masks}");
            for lesion in &slice.lesions {
                let label = lesion.label.key();
                assert_eq!(label == "lesion", masks == LesionClasses::Merge, "{variant} {label}");
                assert_eq!(lesion.mask.as_ref().map(|rle: &Rle| rle.size), Some([96, 96]));
            }
        }
    }
}

#[test]
fn models_are_averaged_and_other_networks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let shift = |state: &mut StateDict, change: f32| {
        let bias = state.tensors.get_mut("image_classifier.fc.bias").unwrap();
        bias.values.iter_mut().for_each(|value| *value += change);
    };
    let changed = |name: &str, change: f32| {
        let file = small_weights(folder.path(), |state| shift(state, change));
        let own = path(&folder, name);
        fs::rename(file, &own).unwrap();
        own
    };
    let (low, high, mean) =
        (changed("low.bpk", -1.0), changed("high.bpk", 3.0), path(&folder, "mean.bpk"));
    let shown = succeed(&["average", &low, &high, "--out", &mean]);
    assert!(shown.contains("2 models") && shown.contains("Research use only"), "{shown}");
    let read = |file: &str| StateDict::from_bytes(&fs::read(file).unwrap()).unwrap();
    let (mean, low) = (read(&mean), read(&low));
    let bias = |state: &StateDict| state.tensors["image_classifier.fc.bias"].values.clone();
    for (mean, low) in bias(&mean).into_iter().zip(bias(&low)) {
        assert!((mean - low - 2.0).abs() < 1e-5, "{mean} {low}");
    }
    assert_eq!(mean.tensors["rpn.head.conv.weight"], low.tensors["rpn.head.conv.weight"]);
    // What the probabilities of the mean are worth is not known.
    let file = path(&folder, "mean.bpk");
    let report = succeed(&["predict", &sample("covid19"), "--classifier", &file, "--json", "-"]);
    let report: Report = serde_json::from_str(&report).unwrap();
    let verdict = report.slices[0].verdict.as_ref().unwrap();
    assert_eq!(verdict.finding, Finding::Uncertain);

    let before = fs::read(&file).unwrap();
    for words in [
        vec!["average", &high, &file, "--out", &file],
        vec!["import", &file, "--out", &file],
        vec!["export", &file, "--format", "safetensors", "--out", &file],
    ] {
        let message = fail(&words);
        assert!(message.contains("this is an input"), "{message}");
    }
    assert!(fs::read(&file).unwrap() == before);

    let (merged, other) = (LesionClasses::Merge, "resnet18t2".parse().unwrap());
    let other = random_weights(folder.path(), other, Task::Segmentation, merged);
    let message = fail(&["average", &high, &other.display().to_string(), "--out", &file]);
    assert!(message.contains("different networks"), "{message}");
}

#[test]
fn settings_out_of_range_are_refused_before_any_work() {
    let message = fail(&["predict", &sample("control"), "--nms-threshold", "2"]);
    assert!(message.contains("NMS threshold"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_groundglass"))
        .args(["info"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
