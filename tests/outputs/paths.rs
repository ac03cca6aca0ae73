//! Where outputs go, and what is never written over.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::dicom::{Small, rle};
use crate::common::files::zip_of;
use crate::{code, names, run, said, sample, two_slices};

#[test]
fn an_evaluation_writes_over_nothing_that_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("images")).unwrap();
    let mut lists = [String::new(), String::new()];
    for (number, class) in [(0, "control"), (1, "pneumonia"), (2, "covid19")] {
        for (list, text) in lists.iter_mut().enumerate() {
            let name = format!("{number}_{list}{number}_0_0.png");
            fs::copy(sample(class), at(&format!("images/{name}"))).unwrap();
            *text += &format!("{name} {number}\n");
        }
    }
    fs::write(at("train.txt"), &lists[0]).unwrap();
    fs::write(at("test.txt"), &lists[1]).unwrap();
    let controls = |predictions: &str| {
        Command::new(env!("CARGO_BIN_EXE_groundglass"))
            .args(["evaluate", "controls", "--data", ".", "--train", "train.txt"])
            .args(["--list", "test.txt", "--predictions", predictions])
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    for input in ["test.txt", "images/2_12_0_0.png"] {
        let before = fs::read(at(input)).unwrap();
        let output = controls(input);
        code(&output, 1);
        assert!(String::from_utf8_lossy(&output.stderr).contains("this is an input"));
        assert_eq!(fs::read(at(input)).unwrap(), before);
    }
    code(&controls("out.csv"), 0);
    assert!(fs::read_to_string(at("out.csv")).unwrap().starts_with("file,source,patient,class,"));
}

#[test]
fn standard_output_is_for_one_thing() {
    let folder = two_slices();
    let output = run(folder.path(), &["a.png", "--json", "-", "--csv", "-"]);
    code(&output, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("two outputs go to standard output"));
    let output = run(folder.path(), &["a.png", "--csv", "-"]);
    code(&output, 0);
    assert!(
        output.stdout.starts_with(b"\"source\","),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// An archive whose members lead upwards, are hidden, or have endless names.
#[test]
fn names_in_an_archive_do_not_choose_where_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("a/b/c");
    fs::create_dir_all(&inside).unwrap();
    let long = format!("{}.png", "n".repeat(300));
    let members =
        ["../../victim/sub/../1.png", "../../victim/sub/../2.png", "../.x.png", &long, "CON.png"];
    let slice = fs::read(sample("covid19")).unwrap();
    let members = members.map(|name| (name, &slice));
    fs::write(inside.join("x.zip"), zip_of(members, zip::CompressionMethod::Deflated)).unwrap();
    let output = run(&inside, &["x.zip", "--nifti", "out", "--masks", "out", "--overlay", "out"]);
    code(&output, 0);
    assert_eq!(names(&inside), ["out", "x.zip"]);
    assert_eq!(names(folder.path()), ["a"]);
    let written = names(inside.join("out"));
    assert!(
        written.contains(&"1_mask.png".into()) && written.contains(&"_CON_mask.png".into()),
        "{written:?}"
    );
    assert!(written.iter().all(|name| !name.starts_with('.') && name.len() < 200), "{written:?}");
}

#[test]
fn masks_are_called_after_their_frame_even_where_one_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let frame = rle(&Small::values());
    let mut broken = frame.clone();
    broken[0] = 9;
    let file = Small {
        fragments: vec![frame.clone(), broken, frame.clone(), frame],
        frames: 4,
        ..Small::compressed("1.2.840.10008.1.2.5", Vec::new())
    };
    fs::write(folder.path().join("mf.dcm"), file.bytes()).unwrap();
    code(&run(folder.path(), &["mf.dcm", "--masks", "out", "--force"]), 1);
    let expected = ["mf_frame1_mask.png", "mf_frame3_mask.png", "mf_frame4_mask.png"];
    assert_eq!(names(folder.path().join("out")), expected);
}

#[test]
fn outputs_that_cannot_be_written_are_named_before_anything_is_computed() {
    let folder = two_slices();
    fs::write(folder.path().join("file"), "").unwrap();
    for (arguments, reason) in [
        (["--json", "a.png"], "an input"),
        (["--json", "file/x.json"], "cannot be written"),
        (["--overlay", "file"], "a folder is wanted"),
        (["--csv", "."], "cannot be written"),
    ] {
        let output = run(folder.path(), &[&["a.png"][..], &arguments].concat());
        code(&output, 1);
        assert!(said(&output).contains(reason), "{}", said(&output));
        assert!(output.stdout.is_empty(), "nothing was computed");
    }
    let output = run(folder.path(), &["a.png", "--json", "x", "--csv", "./x"]);
    code(&output, 1);
    assert!(said(&output).contains("two outputs"), "{}", said(&output));
    assert_eq!(names(folder.path()), ["a.png", "c.png", "file"]);
    assert_eq!(
        fs::read(folder.path().join("a.png")).unwrap(),
        fs::read(sample("control")).unwrap()
    );
}

#[test]
fn weights_in_use_are_never_written_over() {
    let folder = two_slices();
    let weights = folder.path().join("mine.bpk");
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/resnet18t1.bpk"), &weights)
        .unwrap();
    let output = run(folder.path(), &["a.png", "--segmentation", "mine.bpk", "--json", "mine.bpk"]);
    code(&output, 1);
    assert!(said(&output).contains("an input"), "{}", said(&output));
    assert!(fs::metadata(weights).unwrap().len() > 1 << 20);
}
