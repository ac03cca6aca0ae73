//! Other people's data and weights in training, on phantoms alone: COCO, NIfTI, backbones, folds, classifiers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/files.rs"]
#[allow(dead_code, reason = "archives are for other tests")]
mod files;
#[path = "common/program.rs"]
mod program;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use groundglass::classes::SliceClass;
use groundglass::image::phantom::draw;
use groundglass::network::StateDict;
use groundglass::network::pretrained::BODY;
use serde_json::Value;

use self::files::nifti;
use self::program::{at, command, fail, phantoms, succeed};

/// A run of a few steps from fresh weights; the average would be those.
const SHORT: [&str; 12] = [
    "--preset",
    "small-data",
    "--crop",
    "256",
    "--checkpoint-every",
    "1",
    "--norm",
    "batch",
    "--freeze",
    "none",
    "--ema-decay",
    "0",
];

fn train<'a>(data: &'a str, out: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "segmentation", "--data", data, "--out", out];
    arguments.extend(SHORT);
    arguments.extend(rest);
    arguments
}

fn state(path: &str) -> StateDict {
    StateDict::from_bytes(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn exported_weights_are_a_backbone_and_come_back_to_the_bit() {
    let folder = phantoms("15");
    let (data, first) = (at(&folder, "data/lesions/train"), at(&folder, "first"));
    succeed(&train(&data, &first, &["--steps", "1"]));
    let (model, safetensors) = (format!("{first}/model.bpk"), at(&folder, "model.safetensors"));
    succeed(&["export", &model, "--format", "safetensors", "--out", &safetensors]);
    let (exported, original) = (state(&safetensors), state(&model));
    assert_eq!(exported, original);
    let again = at(&folder, "again.bpk");
    succeed(&["import", &safetensors, "--out", &again]);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&model).unwrap());

    let graphs = at(&folder, "onnx");
    let shown = succeed(&["export", &model, "--format", "onnx", "--out", &graphs]);
    assert!(shown.contains("the model has no classifier: no graph gives class logits"), "{shown}");
    let written = |name: &str| Path::new(&graphs).join(name).is_file();
    assert!(written("regions.onnx") && !written("classifier.onnx"));

    // Nothing of the body moves in a run at rate 0.
    let second = at(&folder, "second");
    let options =
        ["--backbone", &safetensors, "--steps", "1", "--learning-rate", "0", "--seed", "9"];
    let shown = succeed(&train(&data, &second, &options));
    assert!(shown.contains("75 parameters; 0 blocks"), "{shown}");
    let begun = state(&format!("{second}/model.bpk"));
    for (name, parameter) in &begun.tensors {
        let same = exported.tensors.get(name) == Some(parameter);
        // Statistics follow the slices whatever the rate.
        let statistic = name.contains("running_");
        assert!(same || statistic || !name.starts_with(BODY), "{name}");
    }
    assert_ne!(begun.tensors["rpn.head.conv.weight"], original.tensors["rpn.head.conv.weight"]);

    let other = at(&folder, "other");
    let said = fail(&train(
        &data,
        &other,
        &["--backbone", &safetensors, "--variant", "resnet18", "--steps", "1"],
    ));
    assert!(said.contains("layer4 has 0 blocks"), "{said}");
    let deeper = ["--backbone", &safetensors, "--variant", "resnet34t2", "--steps", "1"];
    let shown = succeed(&train(&data, &other, &deeper));
    assert!(shown.contains("3 blocks that it does not have"), "{shown}");
}

#[test]
fn a_probed_classifier_begins_with_what_its_backbone_tells() {
    let folder = phantoms("30");
    let (lesions, classes) = (at(&folder, "data/lesions/train"), at(&folder, "data/classes"));
    succeed(&train(&lesions, &at(&folder, "first"), &["--steps", "1"]));
    let (model, backbone) = (at(&folder, "first/model.bpk"), at(&folder, "backbone.safetensors"));
    succeed(&["export", &model, "--format", "safetensors", "--out", &backbone]);
    let list = format!("{classes}/train_COVIDx_CT.txt");
    // Nothing moves: the loss is that of the beginning.
    let loss = |name: &str, probe: &[&str]| -> f64 {
        let out = at(&folder, name);
        let words = "train image-classifier --steps 1 --learning-rate 0 --norm frozen --side 64 --batch 30 --dropout 0 \
            --label-smoothing 0 --augment none --ema-decay 0";
        let options = ["--data", &classes, "--list", &list, "--backbone", &backbone, "--out", &out];
        succeed(&[&words.split_whitespace().collect::<Vec<_>>()[..], &options, probe].concat());
        let losses = fs::read_to_string(format!("{out}/losses.csv")).unwrap();
        losses.lines().nth(1).unwrap().split(',').next_back().unwrap().parse().unwrap()
    };
    let (plain, probed) = (loss("plain", &[]), loss("probed", &["--probe", "0.01"]));
    assert!(probed < 0.95 * plain.min(3f64.ln()), "{plain} {probed}");
    let nothing = at(&folder, "nothing");
    let words = ["train", "image-classifier", "--data", &classes, "--out", &nothing];
    let said = fail(&[&words[..], &["--backbone", &backbone, "--probe", "0"]].concat());
    assert!(said.contains("--probe must be positive"), "{said}");
}

#[test]
fn what_predict_writes_as_coco_can_be_trained_on() {
    let folder = phantoms("15");
    let images = at(&folder, "data/lesions/train/imgs");
    let (model, coco) = (at(&folder, "run"), at(&folder, "coco.json"));
    succeed(&train(&at(&folder, "data/lesions/train"), &model, &["--steps", "8"]));
    let weights = format!("{model}/model.bpk");
    succeed(&[
        "predict",
        &images,
        "--segmentation",
        &weights,
        "--score-threshold",
        "0",
        "--detections",
        "3",
        "--coco",
        &coco,
    ]);
    let out = at(&folder, "again");
    let shown = succeed(&train(&coco, &out, &["--steps", "2", "--minimum-area", "0"]));
    assert!(shown.contains("coco.json") && shown.contains("finished at step 2"), "{shown}");

    let mut file: Value = serde_json::from_str(&fs::read_to_string(&coco).unwrap()).unwrap();
    file["images"][0]["file_name"] = "nowhere.png".into();
    fs::write(&coco, file.to_string()).unwrap();
    let said = fail(&train(&coco, &at(&folder, "bad"), &["--steps", "1"]));
    assert!(said.contains("nowhere.png is not there"), "{said}");
}

/// A volume of slices 1 mm apart, first axis towards `direction` of the patient's left.
fn write_volume(path: &Path, slices: &[Vec<i16>], side: usize, direction: f32) {
    let origin = if direction > 0.0 { 1.0 - side as f32 } else { 0.0 };
    let affine = [[direction, 0.0, 0.0, origin], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let size = [side as i16, side as i16, slices.len() as i16];
    let bytes = nifti(size, [1.0; 3], Some(affine), slices.iter().flatten().copied());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn pairs_of_volumes_can_be_trained_on_whatever_way_they_lie() {
    let folder = tempfile::tempdir().unwrap();
    let phantom = draw(SliceClass::Covid19, 4);
    let side = phantom.slice.width;
    let hounsfield: Vec<i16> = phantom
        .slice
        .pixels
        .iter()
        .map(|p| (f32::from(*p) / 255.0 * 1500.0 - 1350.0) as i16)
        .collect();
    let label = |value: &u8| if *value >= 2 { i16::from(*value) - 1 } else { 0 };
    let labels: Vec<i16> = phantom.mask.iter().map(label).collect();
    let mirrored = |values: &[i16]| -> Vec<i16> {
        values.chunks_exact(side).flat_map(|row| row.iter().rev().copied()).collect()
    };
    let volumes = folder.path().join("volumes");
    let place = |part: &str, name: &str| volumes.join(part).join(name);
    write_volume(&place("imagesTr", "a_0000.nii"), &vec![hounsfield.clone(); 2], side, -1.0);
    // The label's first axis runs the other way.
    write_volume(&place("labelsTr", "a.nii"), &vec![mirrored(&labels); 2], side, 1.0);
    write_volume(&place("imagesTr", "b_0000.nii"), &vec![hounsfield.clone(); 2], side, -1.0);
    write_volume(&place("labelsTr", "b.nii"), &vec![labels.clone(); 3], side, -1.0);
    write_volume(&place("imagesTr", "c.nii"), &vec![hounsfield.clone(); 1], side, -1.0);
    write_volume(
        &place("labelsTr", "c.nii"),
        &[labels.iter().map(|l| l * 7).collect()],
        side,
        -1.0,
    );
    write_volume(&place("imagesTr", "d.nii"), &vec![hounsfield; 1], side, -1.0);
    let (volumes, out) = (volumes.display().to_string(), at(&folder, "run"));
    let shown = succeed(&train(&volumes, &out, &["--steps", "2"]));
    for expected in [
        "2 slices of 1 scans, 2 with",
        "512x512x3 voxels",
        "known are 0 background",
        "a volume without label",
        "finished",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }

    // Picture and label lie on each other: the same lesions as in the mask itself.
    use groundglass::dataset::instances::{LesionRules, LesionTargets, instances};
    use groundglass::dataset::lesions::LesionDataset;
    let rules = LesionRules::paper(LesionTargets::Merge);
    let dataset = LesionDataset::open_one(Path::new(&volumes), rules).unwrap();
    let read = dataset.read(&dataset.files[0]).unwrap();
    let expected = instances(&phantom.mask, (side, side), LesionTargets::Merge, 100);
    assert_eq!(read.instances, expected);
}

#[test]
fn folds_hold_patients_out_and_the_best_weights_are_kept() {
    let folder = phantoms("60");
    let (data, out) = (at(&folder, "data/lesions/train"), at(&folder, "run"));
    let options =
        ["--steps", "4", "--folds", "3", "--fold", "1", "--validate", "2", "--patience", "5"];
    let shown = succeed(&train(&data, &out, &options));
    assert!(shown.contains("held out for validation"), "{shown}");
    let table = fs::read_to_string(format!("{out}/validation.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(table.starts_with("step,score,coco_masks_ap50,"), "{table}");
    assert!(Path::new(&out).join("best.bpk").is_file());
    let config = format!("{out}/config.json");
    let again = at(&folder, "again");
    let words = ["train", "segmentation", "--data", &data, "--out", &again, "--config", &config];
    assert!(
        fail(&words).contains("held out part 1 of 3"),
        "what was held out would be learnt from"
    );
    succeed(&[&words[..], &["--folds", "3", "--fold", "1"]].concat());
    let of = |run: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(format!("{run}/config.json")).unwrap()).unwrap()
    };
    let (mut one, mut two) = (of(&out), of(&again));
    assert_eq!(two["data"][0]["name"], "lesions/train");
    for config in [&mut one, &mut two] {
        config["data"] = Value::Null;
    }
    assert_eq!(one, two);
    let said = fail(&train(&data, &out, &["--folds", "3", "--fold", "3"]));
    assert!(said.contains("--fold must be below --folds"), "{said}");
}

#[test]
fn healthy_slices_take_part_and_a_changed_list_is_another_run() {
    let folder = phantoms("30");
    let (data, list) =
        (at(&folder, "data/lesions/train"), at(&folder, "data/classes/train_COVIDx_CT.txt"));
    let out = at(&folder, "run");
    let mut arguments = vec!["train", "segmentation", "--data", &data];
    let weighted = format!("{list}:2");
    arguments.extend([weighted.as_str(), "--out", &out, "--steps", "3", "--negatives", "0.5"]);
    arguments.extend(SHORT);
    let shown = succeed(&arguments);
    assert!(shown.contains("0 with 0 lesions"), "{shown}");
    let text = fs::read_to_string(&list).unwrap();
    let kept: Vec<&str> = text.lines().skip(3).collect();
    fs::write(&list, kept.join("\n")).unwrap();
    assert!(fail(&arguments).contains("data is"), "another list is noticed");
}

#[test]
fn a_classifier_that_sees_the_slice_learns_is_calibrated_and_joins_a_detector() {
    let folder = phantoms("90");
    let (data, detector) = (at(&folder, "data/classes"), at(&folder, "detector"));
    let list = format!("{data}/train_COVIDx_CT.txt");
    let mut tables = Vec::new();
    let small = [
        "--variant",
        "resnet18t2",
        "--side",
        "64",
        "--batch",
        "8",
        "--norm",
        "batch",
        "--augment",
        "flip",
    ];
    for fold in ["0", "1"] {
        let out = at(&folder, &format!("fold{fold}"));
        let mut arguments =
            vec!["train", "image-classifier", "--data", &data, "--list", &list, "--out", &out];
        arguments.extend(small);
        arguments.extend(["--steps", "40", "--folds", "2", "--fold", fold, "--validate", "20"]);
        let shown = succeed(&arguments);
        assert!(shown.contains("balanced accuracy of held-out slices"), "{shown}");
        tables.push(format!("{out}/held_out.csv"));
    }
    let (raw, calibrated) = (at(&folder, "fold0/model.bpk"), at(&folder, "calibrated.bpk"));
    let twice = at(&folder, "twice.csv");
    let rows = fs::read_to_string(&tables[0]).unwrap();
    let doubled: String =
        rows.lines().chain(rows.lines().skip(1)).map(|row| format!("{row}\n")).collect();
    fs::write(&twice, doubled).unwrap();
    let said = fail(&["calibrate", "--predictions", &twice]);
    assert!(said.contains("in the tables twice"), "{said}");
    let said =
        fail(&["calibrate", "--predictions", &tables[0], "--model", &raw, "--out", &tables[0]]);
    assert!(said.contains("this is an input"), "{said}");
    let shown = succeed(&[
        "calibrate",
        "--predictions",
        &tables[0],
        &tables[1],
        "--model",
        &raw,
        "--out",
        &calibrated,
    ]);
    assert!(shown.contains("balanced accuracy (by chance .333)"), "{shown}");
    succeed(&train(&at(&folder, "data/lesions/train"), &detector, &["--steps", "1"]));
    let joined = at(&folder, "joined.bpk");
    succeed(&["import", &format!("{detector}/model.bpk"), &calibrated, "--out", &joined]);
    let sample = Path::new(&data).join("images/NCP_001_1_0001.png").display().to_string();
    let report: Value = serde_json::from_str(&succeed(&[
        "predict",
        &sample,
        "--segmentation",
        &joined,
        "--classifier",
        &joined,
        "--json",
        "-",
    ]))
    .unwrap();
    let slice = &report["slices"][0];
    let pneumonia = slice["verdict"]["pneumonia"].as_f64().unwrap();
    let control = slice["classes"]["control"].as_f64().unwrap();
    assert!((pneumonia + control - 1.0).abs() < 1e-5, "{slice}");
    assert!(report["model"]["calibration"]["measured"]["patients"].as_u64().unwrap() > 5);
    let shown =
        succeed(&["evaluate", "classifier", "--model", &joined, "--data", &data, "--list", &list]);
    assert!(shown.contains("pneumonia or not"), "{shown}");
    assert!(shown.contains("said, at the model's thresholds"), "{shown}");
    let measured = at(&folder, "measured.bpk");
    let words = ["evaluate", "classifier", "--model", &joined, "--data", &data, "--list", &list];
    succeed(&[&words[..], &["--store", &measured]].concat());
    let calibration = |path: &str| -> Value {
        serde_json::from_str(&state(path).metadata["calibration"]).unwrap()
    };
    let (before, after) = (calibration(&joined), calibration(&measured));
    assert_eq!(before["signs_from"], after["signs_from"]);
    assert_ne!(before["measured"], after["measured"]);
    assert!(state(&joined).tensors == state(&measured).tensors);
    let detector = format!("{detector}/model.bpk");
    let tables = [&tables[0], &tables[1]].map(String::as_str);
    let words = ["calibrate", "--model", &detector, "--out", &calibrated, "--predictions"];
    let said = fail(&[&words[..], &tables[..]].concat());
    assert!(said.contains("no classifier to calibrate"), "{said}");
    let probabilities = at(&folder, "probabilities.csv");
    let words = ["evaluate", "classifier", "--model", &joined, "--data", &data, "--list", &list];
    succeed(&[&words[..], &["--predictions", &probabilities]].concat());
    let said = fail(&["calibrate", "--predictions", &probabilities]);
    assert!(said.contains("these are probabilities"), "{said}");
}

#[test]
fn a_killed_run_with_all_new_options_ends_as_one_left_alone() {
    let folder = phantoms("30");
    let (data, classes) = (at(&folder, "data/lesions/train"), at(&folder, "data/classes"));
    let list = format!("{classes}/train_COVIDx_CT.txt");
    succeed(&train(&data, &at(&folder, "first"), &["--steps", "1"]));
    let first = at(&folder, "first/model.bpk");
    let of = |kind: &str, out: &str| -> Vec<String> {
        let arguments: Vec<&str> = match kind {
            // All that the preset holds, and what it does not.
            "segmentation" => vec![
                "train",
                "segmentation",
                "--preset",
                "small-data",
                "--from",
                &first,
                "--data",
                &data,
                &list,
                "--out",
                out,
                "--checkpoint-every",
                "1",
                "--crop",
                "256",
                "--steps",
                "8",
                "--copy-paste",
                "0.5",
                "--folds",
                "2",
                "--fold",
                "0",
                "--validate",
                "4",
            ],
            _ => vec![
                "train",
                "image-classifier",
                "--data",
                &classes,
                "--list",
                &list,
                "--out",
                out,
                "--variant",
                "resnet18t2",
                "--side",
                "64",
                "--batch",
                "4",
                "--steps",
                "60",
                "--checkpoint-every",
                "1",
                "--folds",
                "2",
                "--fold",
                "0",
                "--validate",
                "30",
            ],
        };
        arguments.into_iter().map(String::from).collect()
    };
    for kind in ["segmentation", "image-classifier"] {
        let (calm, disturbed) =
            (at(&folder, &format!("{kind}-calm")), at(&folder, &format!("{kind}-disturbed")));
        let borrowed = |arguments: &[String]| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            command(&arguments)
        };
        assert!(borrowed(&of(kind, &calm)).output().unwrap().status.success());
        let checkpoint = Path::new(&disturbed).join("checkpoint.bpk");
        for kill in 0..4 {
            let mut child = borrowed(&of(kind, &disturbed)).stdout(Stdio::null()).spawn().unwrap();
            while !checkpoint.is_file() && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
            std::thread::sleep(Duration::from_millis(300 + 130 * kill));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(borrowed(&of(kind, &disturbed)).output().unwrap().status.success());
        let [calm, disturbed] = [calm, disturbed].map(|run| {
            let [losses, validation] = ["losses", "validation"]
                .map(|table| fs::read_to_string(format!("{run}/{table}.csv")).unwrap());
            assert!(validation.lines().next().unwrap().contains(",loss_"), "{validation}");
            (state(&format!("{run}/checkpoint.bpk")).tensors, losses, validation)
        });
        assert_eq!(calm.1, disturbed.1, "{kind}: losses");
        assert_eq!(calm.2, disturbed.2, "{kind}: validation");
        assert!(calm.0 == disturbed.0, "{kind}: weights and moments");
    }
}
