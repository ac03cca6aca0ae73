//! Exports read back by the tools that other people use: highdicom, nibabel, pycocotools, Pillow, Python's csv; and
//! networks run by onnxruntime.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use groundglass::detection::Mask;
use groundglass::report::{Report, SliceReport};
use libtest_mimic::{Arguments, Failed, Trial};

/// Parts of `read_back.py`.
const PARTS: [&str; 8] = [
    "volumes",
    "orientations",
    "tables",
    "segmentations",
    "structured_reports",
    "frames",
    "gaps",
    "report",
];

fn main() -> ExitCode {
    let python = std::env::var("GROUNDGLASS_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/exports/read_back.py");
    let versions = Command::new(&python).arg(&script).arg("versions").output();
    let found = versions.ok().filter(|output| output.status.success());
    match &found {
        Some(output) => print!("{}", String::from_utf8_lossy(&output.stdout)),
        None => println!(
            "ignoring all: `pip install highdicom nibabel pycocotools` for {python}, or name another with GROUNDGLASS_PYTHON"
        ),
    }
    let trial = |part: &'static str| {
        let (python, script) = (python.clone(), script.clone());
        Trial::test(format!("{part}_are_read_back_by_others"), move || {
            let output = Command::new(&python)
                .arg(&script)
                .arg(part)
                .arg(env!("CARGO_BIN_EXE_groundglass"))
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .output()?;
            if output.status.success() {
                return Ok(());
            }
            Err(Failed::from(String::from_utf8_lossy(&output.stderr).into_owned()))
        })
        .with_ignored_flag(found.is_none())
    };
    let mut trials: Vec<Trial> = PARTS.map(trial).into();
    let imports = |python: &str, packages: &str| {
        let given = Command::new(python).args(["-c", &format!("import {packages}")]).output();
        given.is_ok_and(|output| output.status.success())
    };
    // PyTorch is large: it may live in another environment.
    let torch = std::env::var("GROUNDGLASS_TORCH").unwrap_or_else(|_| python.clone());
    let runs_onnx = imports(&python, "numpy, onnxruntime, PIL");
    if !runs_onnx {
        println!("ignoring ONNX: `pip install numpy onnxruntime pillow` for {python}");
    }
    let runs_torch = imports(&torch, "torchvision, safetensors, PIL");
    if !runs_torch {
        println!(
            "ignoring torchvision: `pip install torch torchvision safetensors pillow` for {torch}, or name another with GROUNDGLASS_TORCH"
        );
    }
    let onnx = Trial::test("onnxruntime_finds_what_predict_finds", move || onnxruntime(&python));
    trials.push(onnx.with_ignored_flag(!runs_onnx));
    let weights =
        Trial::test("torchvision_loads_the_weights_and_finds_what_predict_finds", move || {
            torchvision(&torch)
        });
    trials.push(weights.with_ignored_flag(!runs_torch));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn groundglass(arguments: &[&str]) -> Result<Vec<u8>, Failed> {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(env!("CARGO_BIN_EXE_groundglass"))
        .args(arguments)
        .current_dir(root)
        .env("GROUNDGLASS_MODELS", Path::new(root).join("models"))
        .output()?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(Failed::from(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// Phantoms, and real slices where the reference data is.
fn slices() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let phantoms = ["covid19", "pneumonia", "control"];
    let phantoms = phantoms.map(|name| root.join(format!("www/samples/phantom-{name}.png")));
    let real = ["2_10", "4_18", "4_32"]
        .map(|name| common::reference().join(format!("data/lesions/test/imgs/{name}.jpg")));
    phantoms.into_iter().chain(real.into_iter().filter(|path| path.is_file())).collect()
}

fn python(interpreter: &str, arguments: &[&str]) -> Result<serde_json::Value, Failed> {
    let output = Command::new(interpreter)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err(Failed::from(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

fn number(value: &serde_json::Value) -> f32 {
    value.as_f64().expect("a number") as f32
}

/// Whether a corner of the box, widened as masks are pasted, lies so near a whole number that rounding decides to which pixel
/// it is cut off (torchvision's `expand_boxes` and `paste_mask_in_image`).
fn is_cut_at_a_pixel([x1, y1, x2, y2]: [f32; 4]) -> bool {
    const WIDENED: f32 = 30.0 / 28.0;
    let corners = [(x1, x2), (y1, y2)].map(|(low, high)| {
        let (middle, half) = ((low + high) / 2.0, (high - low) / 2.0 * WIDENED);
        [middle - half, middle + half]
    });
    corners.as_flattened().iter().any(|corner| (corner - corner.round()).abs() < 1e-3)
}

/// The same count, boxes within 0.05 px, scores within 1e-3, masks of IoU 0.999 and more; 0.9 where a box ends so near a
/// pixel's edge that its mask may lie a pixel further.
fn assert_same_lesions(what: &str, theirs: &serde_json::Value, ours: &SliceReport) {
    let lesions = theirs["lesions"].as_array().expect("a list");
    assert_eq!(lesions.len(), ours.lesions.len(), "{what}: number of lesions");
    for ours in &ours.lesions {
        let b = [ours.bbox.x1, ours.bbox.y1, ours.bbox.x2, ours.bbox.y2];
        // Of nearly equal score they may swap places.
        let theirs = lesions.iter().find(|lesion| {
            b.iter().enumerate().all(|(k, own)| (number(&lesion["box"][k]) - own).abs() < 0.05)
        });
        let theirs = theirs.unwrap_or_else(|| panic!("{what}: {b:?} is missing"));
        assert!((number(&theirs["score"]) - ours.score).abs() < 1e-3, "{what}: score");
        let mask = ours.mask.as_ref().expect("a mask").decode().expect("a good mask");
        let mut other = Mask::empty(mask.width, mask.height);
        let mut place = 0;
        for (run, length) in theirs["runs"].as_array().expect("runs").iter().enumerate() {
            let length = length.as_u64().expect("a length") as usize;
            for at in place..place + length {
                let (x, y) = (at / mask.height, at % mask.height);
                other.pixels[y * mask.width + x] = run % 2 == 1;
            }
            place += length;
        }
        let least = if is_cut_at_a_pixel(b) { 0.9 } else { 0.999 };
        assert!(mask.iou(&other) >= least, "{what}: mask {}", mask.iou(&other));
    }
}

fn predicted(slice: &str, more: &[&str]) -> Result<SliceReport, Failed> {
    let arguments =
        [&["predict", slice, "--score-threshold", "0.05", "--json", "-"], more].concat();
    let mut report: Report = serde_json::from_slice(&groundglass(&arguments)?)?;
    Ok(report.slices.remove(0))
}

/// The exported graphs through onnxruntime, compared with `predict`.
fn onnxruntime(interpreter: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let graphs = folder.path().display().to_string();
    groundglass(&["export", "models/resnet18t1.bpk", "--format", "onnx", "--out", &graphs])?;
    for slice in slices() {
        let slice = slice.display().to_string();
        let script = ["tests/peers/onnx_predict.py", &graphs, &slice, "--score", "0.05"];
        let theirs = python(interpreter, &script)?;
        // Plain phantoms pass; a real slice may be refused a class and keeps its lesions.
        let ours = predicted(&slice, &["--model", "resnet18t1"])?;
        assert_same_lesions(&slice, &theirs, &ours);
        if let Some(logits) = ours.logits.filter(|_| !theirs["class_logits"].is_null()) {
            for (k, own) in logits.into_iter().enumerate() {
                let other = number(&theirs["class_logits"][k]);
                // Pillow rounds the reduced picture between its two passes.
                assert!((other - own).abs() < 0.05, "{slice}: class logit {own} {other}");
            }
        }
    }
    Ok(())
}

/// The exported weights in torchvision's own Mask R-CNN, by `load_state_dict`, compared with `predict`.
fn torchvision(interpreter: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for model in ["resnet18t1", "resnet18t2", "resnet34t2"] {
        let weights = folder.path().join(format!("{model}.safetensors")).display().to_string();
        let from = format!("models/{model}.bpk");
        groundglass(&["export", &from, "--format", "safetensors", "--out", &weights])?;
        for slice in slices() {
            let slice = slice.display().to_string();
            let theirs =
                python(interpreter, &["tests/peers/torchvision_predict.py", &weights, &slice])?;
            let ours = predicted(&slice, &["--model", model, "--keep-duplicates"])?;
            assert_same_lesions(&format!("{model}, {slice}"), &theirs, &ours);
        }
    }
    Ok(())
}
