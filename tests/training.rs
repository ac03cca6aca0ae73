//! Training, evaluation and analysis from the command line, on phantoms alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/program.rs"]
mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use groundglass::evaluate::tables::Evaluation;
use groundglass::network::StateDict;

use self::program::{at, command, fail, phantoms, succeed};

/// Recipe of the short runs: the paper's learning rate is made for days.
const SHORT: [&str; 12] = [
    "--learning-rate",
    "1e-3",
    "--warmup",
    "20",
    "--schedule",
    "cosine",
    "--anchors",
    "8,16,32,64,128",
    "--roi-foreground",
    "0.5",
    "--seed",
    "1",
];

fn train_segmentation(data: &str, out: &str, rest: &[&str]) -> Vec<String> {
    let mut arguments = vec!["train", "segmentation", "--data", data, "--out", out];
    arguments.extend(SHORT);
    arguments.extend(rest);
    arguments.into_iter().map(String::from).collect()
}

fn borrowed(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn evaluation(path: &str) -> Evaluation {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn phantoms_are_enough_for_every_step_from_data_to_tables() {
    let folder = phantoms("300");
    let (lesions, classes) = (at(&folder, "data/lesions"), at(&folder, "data/classes"));
    let (train, test) = (format!("{lesions}/train"), format!("{lesions}/test"));
    let run1 = at(&folder, "stage1");
    let options = ["--steps", "300", "--augment", "flip", "--crop", "256"];
    let arguments = train_segmentation(&train, &run1, &options);
    let shown = succeed(&borrowed(&arguments));
    assert!(shown.contains("finished at step 300"), "{shown}");
    for file in ["config.json", "losses.csv", "losses.svg", "model.bpk", "checkpoint.bpk"] {
        assert!(Path::new(&run1).join(file).is_file(), "{file}");
    }

    let model = format!("{run1}/model.bpk");
    let json = at(&folder, "segmentation.json");
    let froc = at(&folder, "froc.svg");
    let words = ["evaluate", "segmentation", "--model", &model, "--data", &test];
    let compared = ["--json", &json, "--froc", &froc, "--against", &model];
    let shown = succeed(&[&words[..], &compared].concat());
    assert!(shown.contains("Research use only"), "{shown}");
    assert!(fs::read_to_string(&froc).unwrap().contains("Lesions found (FROC)"));
    let said = fail(&[&words[..], &["--froc", &froc, "--thresholds", "0.75,0.75"]].concat());
    assert!(said.contains("--froc needs low scores"), "{said}");
    let Evaluation::Segmentation { results, against, .. } = evaluation(&json) else {
        panic!("another evaluation");
    };
    let differences = against.unwrap().differences.concat();
    let itself = differences.iter().flat_map(|measure| &measure.difference);
    assert!(itself.clone().count() > 0 && itself.into_iter().all(|found| found.value == 0.0));
    let loose = results.last().unwrap();
    let ap50 = loose.coco_boxes.ap50.unwrap();
    println!("{shown}");
    assert!(ap50 > AP50_ON_PHANTOMS, "box AP at IoU 0.5 is {ap50}");

    let list = |part: &str| format!("{classes}/{part}_COVIDx_CT.txt");
    // Half of the patients: what the detector says of every slice takes longer than module S to learn.
    let half = at(&folder, "half.txt");
    let of_half = |line: &&str| line.split('_').nth(1).is_some_and(|patient| patient <= "010");
    let lines = fs::read_to_string(list("train")).unwrap();
    fs::write(&half, lines.lines().filter(of_half).collect::<Vec<_>>().join("\n")).unwrap();
    let run2 = at(&folder, "stage2");
    let shown = succeed(&[
        "train",
        "classifier",
        "--from",
        &model,
        "--data",
        &classes,
        "--list",
        &half,
        "--out",
        &run2,
        "--trainable",
        "s",
        "--epochs",
        "30",
        "--learning-rate",
        "1e-3",
    ]);
    assert!(shown.contains("softmax temperature"), "{shown}");
    let joint = format!("{run2}/model.bpk");
    let (one, two) = (state(&model), state(&joint));
    assert!(one.shares_detector_with(&two), "module S alone was trained");

    let json2 = at(&folder, "classification.json");
    let test_list = list("test");
    let shown = succeed(&[
        "evaluate",
        "classifier",
        "--model",
        &joint,
        "--data",
        &classes,
        "--list",
        &test_list,
        "--json",
        &json2,
    ]);
    let Evaluation::Classification { result, .. } = evaluation(&json2) else {
        panic!("another evaluation");
    };
    let accuracy = result.accuracy.unwrap();
    println!("{shown}");
    assert!(accuracy.value > ACCURACY_ON_PHANTOMS, "{accuracy}");
    assert!(accuracy.interval.is_some());

    let rois = at(&folder, "rois");
    let shown = succeed(&[
        "analyse", "rois", "--model", &joint, "--data", &classes, "--list", &test_list, "--out",
        &rois,
    ]);
    assert!(shown.contains("Table 5"), "{shown}");
    for file in ["figure4.svg", "figure4.png", "figure5.svg", "figure5.png", "tables.md"] {
        assert!(Path::new(&rois).join(file).is_file(), "{file}");
    }

    let picture = fs::read_dir(format!("{test}/imgs")).unwrap().next().unwrap().unwrap().path();
    let mask = format!("{test}/masks/{}.png", picture.file_stem().unwrap().to_string_lossy());
    let figure = at(&folder, "figure3.png");
    succeed(&[
        "render",
        &picture.display().to_string(),
        "--mask",
        &mask,
        "--class",
        "2",
        "--segmentation",
        &joint,
        "--classifier",
        &joint,
        "--score-threshold",
        "0.3",
        "--out",
        &figure,
    ]);
    assert_eq!(&fs::read(&figure).unwrap()[1..4], b"PNG");

    let tables = succeed(&["tables", &json, &json2]);
    assert!(tables.contains("| resnet18t1 (model) |"), "{tables}");
    assert!(tables.contains("93.95"), "the paper's own row stands beside: {tables}");
}

/// About four fifths of the 0.76 that the run above reached when this was written.
const AP50_ON_PHANTOMS: f64 = 0.6;
/// Clearly more than chance, which is one third.
const ACCURACY_ON_PHANTOMS: f64 = 0.4;

fn state(path: &str) -> StateDict {
    StateDict::from_bytes(&fs::read(path).unwrap()).unwrap()
}

/// Kills a child for good, as a power cut would.
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_killed_ten_times_ends_with_the_weights_of_one_left_alone() {
    let folder = phantoms("30");
    let train = at(&folder, "data/lesions/train");
    let (calm, disturbed) = (at(&folder, "calm"), at(&folder, "disturbed"));
    let steps = ["--steps", "48", "--checkpoint-every", "1"];
    let options =
        [&steps[..], &["--augment", "affine", "--ema-decay", "0.9", "--crop", "256"]].concat();
    succeed(&borrowed(&train_segmentation(&train, &calm, &options)));

    let arguments = train_segmentation(&train, &disturbed, &options);
    let checkpoint = PathBuf::from(&disturbed).join("checkpoint.bpk");
    let mut kills = 0;
    while kills < 10 {
        let mut child = command(&borrowed(&arguments)).stdout(Stdio::null()).spawn().unwrap();
        // Moments all over a step and its checkpoint, once the first checkpoint is there.
        let started = Instant::now();
        while !checkpoint.is_file() && started.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(Duration::from_millis(400 + 113 * kills));
        assert!(child.try_wait().unwrap().is_none(), "it ended before kill {kills}");
        kill(child);
        kills += 1;
    }
    succeed(&borrowed(&arguments));
    let [calm, disturbed] = [calm, disturbed].map(|run| {
        let losses = fs::read_to_string(format!("{run}/losses.csv")).unwrap();
        (state(&format!("{run}/checkpoint.bpk")).tensors, losses)
    });
    assert_eq!(calm.1, disturbed.1, "losses");
    assert!(calm.0 == disturbed.0, "weights and moments");
}

#[test]
fn every_kind_of_run_that_stops_at_every_step_ends_with_the_weights_of_one_left_alone() {
    let folder = phantoms("30");
    let [lesions, classes] = ["data/lesions/train", "data/classes"].map(|part| at(&folder, part));
    let list = format!("{classes}/train_COVIDx_CT.txt");
    let start = at(&folder, "start");
    succeed(&borrowed(&train_segmentation(&lesions, &start, &["--steps", "1"])));
    let model = format!("{start}/model.bpk");
    let stage_two = ["--from", &model, "--data", &classes, "--list", &list, "--epochs", "1"];
    let features = ["--trainable", "s+f", "--balanced", "--batch", "4", "--augment", "flip"];
    let classifier = ["train classifier --learning-rate 1e-3 --out"];
    let joint = ["--data", &lesions, "--class-data", &classes, "--class-list", &list];
    let joint_options = ["--preset", "small-data", "--from", &model, "--steps", "3"];
    let image = ["--data", &classes, "--list", &list, "--steps", "3"];
    let image_options = ["--norm", "batch", "--variant", "resnet18t2", "--side", "64"];
    let kinds: [(&str, &str, Vec<&str>, usize); 3] = [
        ("s+f", classifier[0], [&stage_two[..], &features].concat(), 4),
        ("joint", "train joint --ema-decay 0.5 --out", [&joint[..], &joint_options].concat(), 3),
        (
            "image",
            "train image-classifier --batch 4 --out",
            [&image[..], &image_options].concat(),
            3,
        ),
    ];
    for (name, words, options, steps) in kinds {
        let run = |out: &str, rest: &[&str]| {
            let out = at(&folder, &format!("{name} {out}"));
            let words: Vec<&str> = words.split(' ').collect();
            let arguments = [&words, &[out.as_str()][..], &options, rest].concat();
            (succeed(&arguments), out)
        };
        let (shown, calm) = run("calm", &[]);
        assert!(shown.contains("finished at step"), "{name}: {shown}");
        let mut disturbed = String::new();
        for step in 0..=steps {
            let (shown, out) = run("disturbed", &["--minutes", "0"]);
            assert_eq!(shown.contains("finished"), step + 1 >= steps, "{name}, {step}: {shown}");
            disturbed = out;
        }
        for file in ["checkpoint.bpk", "model.bpk"] {
            let [calm, disturbed] = [&calm, &disturbed].map(|run| state(&format!("{run}/{file}")));
            assert!(calm.tensors == disturbed.tensors, "{name}: {file}");
        }
        if name != "image" {
            let model = state(&format!("{calm}/model.bpk"));
            assert!(model.tensors.contains_key("s2new_features.fc.weight"), "{name}");
            let picture = fs::read_dir(format!("{lesions}/imgs")).unwrap().next().unwrap().unwrap();
            let (picture, json) = (picture.path().display().to_string(), at(&folder, "one.json"));
            let model = format!("{calm}/model.bpk");
            succeed(&[
                "predict",
                &picture,
                "--segmentation",
                &model,
                "--classifier",
                &model,
                "--json",
                &json,
            ]);
            let report: serde_json::Value =
                serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
            let logits = report["slices"][0]["logits"].as_array().unwrap();
            assert!(logits.iter().all(|logit| logit.as_f64().unwrap().is_finite()), "{name}");
        }
    }
}

#[test]
fn parts_told_by_names_hold_a_patient_out_of_every_set() {
    let folder = phantoms("60");
    let [lesions, classes] = ["data/lesions/train", "data/classes"].map(|part| at(&folder, part));
    let (out, names) = (at(&folder, "run"), at(&folder, "names.csv"));
    fs::write(&names, "name,patient\n0,one\n1,one\n").unwrap();
    let options = ["--folds", "3", "--fold", "0", "--fold-by", "name", "--same-patients", &names];
    let steps = ["--steps", "1", "--validate", "1"];
    let options = [&options[..], &steps].concat();
    let shown = succeed(&borrowed(&train_segmentation(&lesions, &out, &options)));
    assert!(shown.contains("are held out for validation"), "{shown}");
    let said = fail(&[
        "train",
        "image-classifier",
        "--data",
        &classes,
        "--out",
        &out,
        "--folds",
        "3",
        "--fold",
        "0",
        "--same-patients",
        &names,
    ]);
    assert!(said.contains("--same-patients is for --fold-by name"), "{said}");
    fs::write(&names, "name\n0\n").unwrap();
    let said = fail(&borrowed(&train_segmentation(&lesions, &at(&folder, "other"), &options)));
    assert!(said.contains("names.csv: expected the columns name, patient"), "{said}");
}

#[test]
fn stage_two_keeps_its_best_weights_and_goes_on_from_its_configuration() {
    let folder = phantoms("30");
    let classes = at(&folder, "data/classes");
    let [start, out] = ["start", "two"].map(|name| at(&folder, name));
    let lesions = at(&folder, "data/lesions/train");
    succeed(&borrowed(&train_segmentation(&lesions, &start, &["--steps", "1"])));
    let (model, list) = (format!("{start}/model.bpk"), format!("{classes}/train_COVIDx_CT.txt"));
    let words = ["train", "classifier", "--from", &model, "--data", &classes, "--list", &list];
    let fold = ["--folds", "2", "--fold", "0"];
    let options = ["--trainable", "s", "--epochs", "2", "--batch", "4", "--validate", "3"];
    succeed(&[&words[..], &fold, &options, &["--out", &out]].concat());
    let table = fs::read_to_string(format!("{out}/validation.csv")).unwrap();
    assert!(table.starts_with("step,score,balanced_accuracy,loss_class"), "{table}");
    for file in ["model", "best"] {
        let state = state(&format!("{out}/{file}.bpk"));
        assert!(state.metadata.contains_key("temperature"), "{file}");
    }
    let (config, again) = (format!("{out}/config.json"), at(&folder, "again"));
    let from_config = ["--config", &config, "--out", &again];
    let said = fail(&[&words[..], &from_config].concat());
    assert!(said.contains("held out part 0 of 2"), "{said}");
    succeed(&[&words[..], &fold, &from_config].concat());
    let [before, after] = [&out, &again].map(|run| state(&format!("{run}/model.bpk")).tensors);
    assert!(before == after, "the same options give the same weights");
}

#[test]
fn stage_two_with_batch_norm_trains_what_the_paper_trains_and_nothing_else() {
    let folder = phantoms("30");
    let classes = at(&folder, "data/classes");
    let start = at(&folder, "start");
    let train = at(&folder, "data/lesions/train");
    succeed(&borrowed(&train_segmentation(&train, &start, &["--steps", "1"])));
    let model = format!("{start}/model.bpk");
    let out = at(&folder, "bn");
    let list = format!("{classes}/train_COVIDx_CT.txt");
    succeed(&[
        "train",
        "classifier",
        "--from",
        &model,
        "--data",
        &classes,
        "--list",
        &list,
        "--out",
        &out,
        "--epochs",
        "1",
        "--learning-rate",
        "1e-3",
        "--holdout",
        "0",
    ]);
    let (before, after) = (state(&model), state(&format!("{out}/model.bpk")));
    let changed = |name: &str| before.tensors.get(name) != after.tensors.get(name);
    let mut moved = 0;
    for name in before.tensors.keys().filter(|name| after.tensors.contains_key(*name)) {
        let affine = name.ends_with(".weight") || name.ends_with(".bias");
        let expected = name.contains(".bn") && affine;
        assert_eq!(changed(name), expected, "{name}");
        moved += usize::from(expected);
    }
    // Stem and two norms in each of six blocks, weight and bias.
    assert_eq!(moved, 26);
    assert!(after.tensors.contains_key("s2new.fc_scores.weight"));
    assert!(!after.tensors.keys().any(|name| name.contains("mask")));
    let (file, graphs) = (format!("{out}/model.bpk"), at(&folder, "onnx"));
    let shown = succeed(&["export", &file, "--format", "onnx", "--out", &graphs]);
    assert!(shown.contains("the model has no mask branch"), "{shown}");
}

#[test]
fn bad_data_is_named_before_training_begins() {
    let folder = phantoms("15");
    let train = at(&folder, "data/lesions/train");
    let out = at(&folder, "run");
    let attempt = |rest: &[&str]| fail(&borrowed(&train_segmentation(&train, &out, rest)));

    let nowhere = at(&folder, "nowhere");
    let said = fail(&borrowed(&train_segmentation(&nowhere, &out, &["--steps", "1"])));
    assert!(said.contains("nowhere: expected a folder with `imgs` and `masks`"), "{said}");
    assert!(attempt(&["--resume", "--steps", "1"]).contains("no checkpoint to resume"));

    // A run folder that is a file.
    fs::write(&out, "occupied").unwrap();
    assert!(attempt(&["--steps", "1"]).contains("run"), "the folder is named");
    fs::remove_file(&out).unwrap();

    // One mask cut short, one of another size, one with an unknown value: skipped by name.
    let masks: Vec<PathBuf> =
        fs::read_dir(format!("{train}/masks")).unwrap().map(|e| e.unwrap().path()).collect();
    let bytes = fs::read(&masks[0]).unwrap();
    fs::write(&masks[0], &bytes[..bytes.len() / 2]).unwrap();
    image::GrayImage::new(100, 90).save(&masks[1]).unwrap();
    image::GrayImage::from_pixel(512, 512, image::Luma([7])).save(&masks[2]).unwrap();
    fs::remove_file(&masks[3]).unwrap();
    let shown = succeed(&borrowed(&train_segmentation(&train, &out, &["--steps", "1"])));
    for expected in ["4 skipped", "100x90", "the value 7", "without mask"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }

    // Another recipe in the same folder.
    let said = attempt(&["--steps", "1", "--weight-decay", "0"]);
    assert!(said.contains("weight_decay is 0.001 there"), "{said}");

    let classes = at(&folder, "data/classes");
    let model = format!("{out}/model.bpk");
    let list = at(&folder, "list.txt");
    let classifier = |text: &str| {
        fs::write(&list, text).unwrap();
        fail(&[
            "train",
            "classifier",
            "--from",
            &model,
            "--data",
            &classes,
            "--list",
            &list,
            "--out",
            &nowhere,
            "--epochs",
            "1",
        ])
    };
    assert!(classifier("").contains("the list is empty"));
    assert!(classifier("CP_1_1_1.png 7").contains("line 1"));
    assert!(classifier("CP_1_1_1.png 1").contains("CP_1_1_1.png"));
    let said = classifier("CP_1_1_1.png 1\nCP_1_1_1.png 2");
    assert!(said.contains("as common pneumonia and as COVID-19"), "{said}");
    for (index, expected) in [
        ("file,source,patient\na.png,one,1\na.png,one,2\n", "a.png has two sources or patients"),
        ("file,source,patient\na.png,one,1\n", "it names none of the pictures"),
        ("a,b\n", "it has no rows"),
    ] {
        fs::write(format!("{classes}/index.csv"), index).unwrap();
        let said = classifier("CP_1_1_1.png 1");
        assert!(said.contains("index.csv") && said.contains(expected), "{said}");
    }
    fs::remove_file(format!("{classes}/index.csv")).unwrap();
    let said = fail(&["evaluate", "segmentation", "--model", &list, "--data", &train]);
    assert!(said.contains("list.txt"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_named_before_training_begins() {
    let folder = phantoms("15");
    let train = at(&folder, "data/lesions/train");
    let said = fail(&borrowed(&train_segmentation(&train, "/proc/groundglass", &["--steps", "1"])));
    assert!(said.contains("/proc/groundglass"), "{said}");
}

#[test]
fn what_a_configuration_names_and_is_not_given_again_is_asked_for() {
    let folder = phantoms("30");
    let train = at(&folder, "data/lesions/train");
    let (run, again) = (at(&folder, "run"), at(&folder, "again"));
    let folds = ["--folds", "2", "--fold", "0", "--steps", "1"];
    succeed(&borrowed(&train_segmentation(&train, &run, &folds)));
    let config = format!("{run}/config.json");
    let words = ["train", "segmentation", "--data", &train, "--out", &again, "--config", &config];
    let said = fail(&words);
    assert!(said.contains("held out part 0 of 2: give --folds"), "{said}");

    let classes = at(&folder, "data/classes");
    let words = ["train", "image-classifier", "--data", &classes, "--out", &again];
    let said = fail(&[&words[..], &["--norm", "frozen"]].concat());
    assert!(said.contains("train with --norm batch"), "{said}");
    let said = fail(&[&words[..], &["--learning-rate=-1"]].concat());
    assert!(said.contains("--learning-rate must be 0 or more"), "{said}");
    let said = fail(&borrowed(&train_segmentation(&train, &again, &["--copy-paste", "0.5"])));
    assert!(said.contains("--copy-paste copies lesions into slices without any"), "{said}");
}

#[test]
fn a_slice_under_two_names_is_not_learnt_from_while_it_is_held_out() {
    let folder = phantoms("30");
    let train = at(&folder, "data/lesions/train");
    let copy = at(&folder, "copy");
    for part in ["imgs", "masks"] {
        fs::create_dir_all(format!("{copy}/{part}")).unwrap();
        for entry in fs::read_dir(format!("{train}/{part}")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            fs::copy(entry.path(), format!("{copy}/{part}/9{name}")).unwrap();
        }
    }
    let out = at(&folder, "run");
    // Of some patient, a copy is held out in another part than the original.
    let attempt = |fold: &str, more: &[&str]| {
        let out = format!("{out}{fold}{}", more.len());
        let options = ["--data", &train, &copy, "--out", &out, "--steps", "1"];
        let fold = ["--folds", "3", "--fold", fold, "--fold-by", "name"];
        let words = [&["train", "segmentation"], &options[..], &fold[..], more].concat();
        let output = command(&words).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let folds = ["0", "1", "2"];
    let said = folds.map(|fold| attempt(fold, &[]));
    assert!(said.iter().any(|(_, said)| said.contains("to the byte")), "{said:?}");
    let names = at(&folder, "names.csv");
    let stems = fs::read_dir(format!("{train}/imgs")).unwrap();
    let stems = stems.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let scans: BTreeSet<String> =
        stems.map(|stem| stem.split('_').next().unwrap().to_owned()).collect();
    let rows: String = scans.iter().map(|scan| format!("9{scan},{scan}\n")).collect();
    fs::write(&names, format!("name,patient\n{rows}")).unwrap();
    for fold in folds {
        let (succeeds, said) = attempt(fold, &["--same-patients", &names]);
        assert!(succeeds || said.contains("no patient is held out"), "{said}");
    }
}
