//! What `predict` leaves behind when files, names, disks, pipes and people do what they can to spoil it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![cfg(unix)]

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::dicom::{Small, rle, write_phantom, write_series};
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::Tag;
use groundglass::report::Report;
use tempfile::TempDir;

fn predict() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groundglass"));
    command.arg("predict");
    command.env("GROUNDGLASS_MODELS", Path::new(env!("CARGO_MANIFEST_DIR")).join("models"));
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs in `folder`, which the arguments are relative to.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    predict().args(arguments).current_dir(folder).output().unwrap()
}

#[track_caller]
fn code(output: &Output, expected: i32) {
    assert_eq!(output.status.code(), Some(expected), "{}", said(output));
}

fn report(path: impl AsRef<Path>) -> Report {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("www/samples/phantom-{name}.png"))
}

/// A folder with the healthy phantom as `a.png` and the ill one as `c.png`.
fn two_slices() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(sample("control"), folder.path().join("a.png")).unwrap();
    fs::copy(sample("covid19"), folder.path().join("c.png")).unwrap();
    folder
}

fn names(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_that_breaks_a_reader_costs_that_file_alone() {
    let folder = two_slices();
    let grey = libjpeg_turbo_rs::compress(
        &[9; 64 * 72],
        64,
        72,
        libjpeg_turbo_rs::PixelFormat::Grayscale,
        90,
        libjpeg_turbo_rs::Subsampling::S444,
    );
    let jpeg = Small { bits: (8, 8), ..Small::compressed("1.2.840.10008.1.2.4.50", grey.unwrap()) };
    fs::write(folder.path().join("b.dcm"), jpeg.bytes()).unwrap();
    let output = run(folder.path(), &["a.png", "b.dcm", "c.png", "--json", "out.json"]);
    code(&output, 1);
    let report = report(folder.path().join("out.json"));
    assert_eq!((report.slices.len(), report.errors.len()), (2, 1));
    assert_eq!(report.errors[0].source, "b.dcm");
}

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

#[test]
fn a_damaged_member_of_an_archive_costs_that_member_alone() {
    let folder = tempfile::tempdir().unwrap();
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, class) in [("s/1.png", "control"), ("s/2.png", "pneumonia"), ("s/3.png", "covid19")]
    {
        writer.start_file(name, stored).unwrap();
        writer.write_all(&fs::read(sample(class)).unwrap()).unwrap();
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    let second = fs::read(sample("pneumonia")).unwrap();
    let place = bytes.windows(64).position(|part| part == &second[1000..1064]).unwrap();
    bytes[place] ^= 0xff;
    fs::write(folder.path().join("s.zip"), bytes).unwrap();
    code(&run(folder.path(), &["s.zip", "--json", "out.json"]), 1);
    let report = report(folder.path().join("out.json"));
    let sources: Vec<&str> = report.slices.iter().map(|slice| slice.source.as_str()).collect();
    assert_eq!(sources, ["s.zip/s/1.png", "s.zip/s/3.png"]);
    assert_eq!(report.errors[0].source, "s.zip/s/2.png");
}

/// An archive whose members lead upwards, are hidden, or have endless names.
#[test]
fn names_in_an_archive_do_not_choose_where_files_go() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("a/b/c");
    fs::create_dir_all(&inside).unwrap();
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let long = format!("{}.png", "n".repeat(300));
    for name in
        ["../../victim/sub/../1.png", "../../victim/sub/../2.png", "../.x.png", &long, "CON.png"]
    {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(&fs::read(sample("covid19")).unwrap()).unwrap();
    }
    fs::write(inside.join("x.zip"), writer.finish().unwrap().into_inner()).unwrap();
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
fn an_output_that_fails_costs_neither_results_nor_other_outputs() {
    let folder = two_slices();
    let output = run(
        folder.path(),
        &[
            "a.png",
            "c.png",
            "--json",
            "/dev/full",
            "--csv",
            "t.csv",
            "--html",
            "r.html",
            "--overlay",
            "o",
        ],
    );
    code(&output, 1);
    assert!(said(&output).contains("/dev/full"), "{}", said(&output));
    assert!(fs::metadata("/dev/full").is_ok_and(|device| !device.is_file()));
    assert_eq!(names(folder.path()), ["a.png", "c.png", "o", "r.html", "t.csv"]);
    assert_eq!(names(folder.path().join("o")).len(), 2);
    // And each of the others in turn.
    for (option, kept) in [("--csv", "j.json"), ("--coco", "j.json"), ("--html", "j.json")] {
        let output = run(folder.path(), &["c.png", "--json", kept, option, "/dev/full"]);
        code(&output, 1);
        assert_eq!(report(folder.path().join(kept)).slices.len(), 1);
    }
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
fn pipes_devices_and_links_in_folders_are_passed_over_and_refused_by_name() {
    let folder = two_slices();
    let inside = folder.path().join("in");
    fs::create_dir(&inside).unwrap();
    fs::rename(folder.path().join("a.png"), inside.join("a.png")).unwrap();
    symlink(".", inside.join("loop")).unwrap();
    symlink("../in", inside.join("other")).unwrap();
    fs::write(inside.join("notes.txt"), "notes").unwrap();
    assert!(Command::new("mkfifo").arg(inside.join("x.png")).status().unwrap().success());
    // A DICOM file called by its identifier.
    write_phantom(&inside.join("1.2.840.113.10"), 5, 0.0);
    let output = run(folder.path(), &["in", "--json", "out.json"]);
    code(&output, 0);
    assert!(
        said(&output).contains("passed over in folders: 1 files that are no slices, 3 "),
        "{}",
        said(&output)
    );
    assert_eq!(report(folder.path().join("out.json")).slices.len(), 2);
    for name in ["in/x.png", "/dev/zero"] {
        let output = run(folder.path(), &[name]);
        code(&output, 1);
        assert!(said(&output).contains("no regular file"), "{}", said(&output));
    }
}

#[test]
fn a_reader_that_goes_away_costs_no_file() {
    let folder = two_slices();
    let mut child = predict()
        .args(["a.png", "c.png", "--json", "out.json"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    code(&output, 0);
    assert_eq!(report(folder.path().join("out.json")).slices.len(), 2);
}

#[test]
fn a_standard_error_that_is_closed_or_full_costs_no_file() {
    let folder = two_slices();
    fs::write(folder.path().join("bad.png"), "no picture").unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = predict()
        .args(["a.png", "bad.png", "--json", "out.json"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(full)
        .status();
    assert_eq!(status.unwrap().code(), Some(1));
    assert_eq!(report(folder.path().join("out.json")).slices.len(), 1);
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

#[test]
fn a_folder_that_holds_nothing_costs_the_others_nothing() {
    let folder = two_slices();
    fs::create_dir(folder.path().join("empty")).unwrap();
    code(&run(folder.path(), &["empty", "a.png", "--json", "out.json"]), 1);
    let report = report(folder.path().join("out.json"));
    assert_eq!((report.slices.len(), report.errors[0].source.as_str()), (1, "empty"));
}

/// Values that would be wrong without a word.
#[test]
fn hounsfield_units_are_right_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let element = |element: (u16, u16), vr, value: &str| {
        DataElement::new(Tag(element.0, element.1), vr, PrimitiveValue::from(value))
    };
    let write = |name: &str, more: Vec<DataElement<dicom_object::InMemDicomObject>>| {
        let mut file = Small::native();
        file.more = more;
        fs::write(folder.path().join(name), file.bytes()).unwrap();
    };
    write("comma.dcm", vec![element((0x0028, 0x1052), VR::DS, "-1024,")]);
    write(
        "coronal.dcm",
        vec![
            element((0x0020, 0x0037), VR::DS, "1\\0\\0\\0\\0\\-1"),
            element((0x0028, 0x1052), VR::DS, "-1024"),
        ],
    );
    write("unsaid.dcm", Vec::new());
    code(&run(folder.path(), &[".", "--json", "out.json"]), 1);
    let report = report(folder.path().join("out.json"));
    assert!(report.errors[0].source.ends_with("comma.dcm"), "{:?}", report.errors);
    let of = |name: &str| report.slices.iter().find(|slice| slice.source.ends_with(name)).unwrap();
    assert!(of("coronal.dcm").refusal.as_ref().unwrap().contains("turned 90"));
    assert!(of("unsaid.dcm").warnings[0].contains("Hounsfield"));
}

/// Starts a run on many slices and waits until some are done.
fn begun(folder: &Path) -> std::process::Child {
    (0..60).for_each(|index| {
        fs::copy(sample("covid19"), folder.join(format!("{index}.png"))).unwrap();
    });
    fs::create_dir(folder.join("o")).unwrap();
    let child = predict()
        .args([".", "--json", "out.json", "--csv", "t.csv", "--overlay", "o"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while names(folder.join("o")).iter().filter(|name| !name.starts_with('.')).count() < 2 {
        assert!(started.elapsed() < Duration::from_secs(120));
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn an_interrupted_run_writes_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let child = begun(folder.path());
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    let output = child.wait_with_output().unwrap();
    code(&output, 1);
    let report = report(folder.path().join("out.json"));
    assert!((2..60).contains(&report.slices.len()), "{}", report.slices.len());
    assert!(report.errors[0].message.contains("interrupted"), "{:?}", report.errors);
    assert!(fs::metadata(folder.path().join("t.csv")).is_ok());
}

#[test]
fn a_killed_run_leaves_whole_files_only() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("out.json"), "the report before").unwrap();
    let mut child = begun(folder.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read(folder.path().join("out.json")).unwrap(), b"the report before");
    for name in names(folder.path().join("o")).iter().filter(|name| !name.starts_with('.')) {
        assert!(image::open(folder.path().join("o").join(name)).is_ok(), "{name}");
    }
}

#[test]
fn a_models_folder_of_a_stranger_does_not_answer() {
    let folder = two_slices();
    fs::create_dir(folder.path().join("models")).unwrap();
    fs::write(folder.path().join("models/manifest.json"), "{}").unwrap();
    let mut command = predict();
    command.env_remove("GROUNDGLASS_MODELS").current_dir(folder.path());
    let output = command.args(["a.png"]).output().unwrap();
    // The program of this checkout lies below its models.
    code(&output, 0);
    assert!(said(&output).contains("model resnet18t1 (SHA-256 "), "{}", said(&output));
    let output = run(folder.path(), &["a.png", "--models", "models"]);
    code(&output, 1);
}

#[test]
fn of_what_is_no_chest_nothing_is_said_unless_it_is_forced() {
    let folder = tempfile::tempdir().unwrap();
    let pattern = image::GrayImage::from_fn(256, 256, |x, y| image::Luma([((x ^ y) & 0xff) as u8]));
    pattern.save(folder.path().join("pattern.png")).unwrap();
    write_phantom(&folder.path().join("chest.dcm"), 3, 0.0);
    let mut scout = Small::native();
    scout.more.push(DataElement::new(
        Tag(0x0008, 0x0008),
        VR::CS,
        PrimitiveValue::from("ORIGINAL\\PRIMARY\\LOCALIZER"),
    ));
    fs::write(folder.path().join("scout.dcm"), scout.bytes()).unwrap();
    let mut mr = Small::native();
    mr.more.push(DataElement::new(Tag(0x0008, 0x0060), VR::CS, PrimitiveValue::from("MR")));
    fs::write(folder.path().join("mr.dcm"), mr.bytes()).unwrap();
    let files = ["pattern.png", "scout.dcm", "mr.dcm", "chest.dcm"];
    code(&run(folder.path(), &[&files[..], &["--json", "out.json", "--csv", "t.csv"]].concat()), 0);
    let found = report(folder.path().join("out.json"));
    let of = |name: &str| found.slices.iter().find(|slice| slice.source == name).unwrap();
    for name in &files[..3] {
        let slice = of(name);
        assert!(slice.classes.is_none() && slice.lesions.is_empty() && !slice.segmented, "{name}");
        assert!(slice.refusal.is_some(), "{name}");
    }
    assert!(of("mr.dcm").refusal.as_ref().unwrap().contains("modality is MR"));
    assert!(of("chest.dcm").classes.is_some());
    assert!(
        fs::read_to_string(folder.path().join("t.csv")).unwrap().contains("LOCALIZER")
            || of("scout.dcm").refusal.as_ref().unwrap().contains("localizer")
    );
    code(&run(folder.path(), &["pattern.png", "--force", "--json", "forced.json"]), 0);
    let forced = &report(folder.path().join("forced.json")).slices[0];
    assert!(forced.forced && forced.classes.is_some() && forced.warnings[0].contains("on request"));
}

#[test]
fn a_lesion_is_listed_once() {
    let folder = two_slices();
    let run_with = |extra: &[&str]| {
        let shared =
            ["c.png", "--json", "out.json", "--nms-threshold", "0.9", "--score-threshold", "0.2"];
        code(&run(folder.path(), &[&shared[..], extra].concat()), 0);
        report(folder.path().join("out.json")).slices.remove(0).lesions
    };
    let (once, often) = (run_with(&[]), run_with(&["--keep-duplicates"]));
    assert!(once.len() < often.len(), "{} of {}", once.len(), often.len());
    let masks: Vec<_> =
        once.iter().map(|lesion| lesion.mask.as_ref().unwrap().decode().unwrap()).collect();
    for (index, a) in masks.iter().enumerate() {
        for b in &masks[..index] {
            let shared = a.pixels.iter().zip(&b.pixels).filter(|(a, b)| **a && **b).count();
            assert!(2 * shared <= a.area().min(b.area()));
        }
    }
}

fn text(object: &dicom_object::DefaultDicomObject, element: (u16, u16)) -> String {
    object.element(Tag(element.0, element.1)).unwrap().to_str().unwrap().trim_matches('\0').into()
}

#[test]
fn dicom_objects_have_valid_identifiers_and_say_what_was_done_to_them() {
    const STUDY: (u16, u16) = (0x0020, 0x000D);
    let folder = tempfile::tempdir().unwrap();
    let series = folder.path().join("s");
    fs::create_dir(&series).unwrap();
    write_series(&series, 2, 7);
    let written = |out: &str, extra: &[&str]| {
        let output = run(
            folder.path(),
            &[&["s", "--dicom-seg", out, "--dicom-sr", out][..], extra].concat(),
        );
        code(&output, 0);
        let names = names(folder.path().join(out));
        let open = |ending: &str| {
            let name = names.iter().find(|name| name.ends_with(ending)).unwrap();
            dicom_object::open_file(folder.path().join(out).join(name)).unwrap()
        };
        (open("_seg.dcm"), open("_sr.dcm"))
    };
    let (seg, sr) = written("plain", &[]);
    assert_eq!((text(&seg, STUDY), text(&sr, STUDY)), ("1.2.3.1".into(), "1.2.3.1".into()));
    let codes = |object: &dicom_object::DefaultDicomObject| {
        object.element(Tag(0x0012, 0x0064)).unwrap().items().unwrap().len()
    };
    // The profile, and that identifiers stay.
    assert_eq!((codes(&seg), codes(&sr)), (2, 2));
    let (seg, sr) = written("remapped", &["--remap-uids"]);
    assert!(text(&seg, STUDY).starts_with("2.25.") && text(&seg, STUDY) == text(&sr, STUDY));
    assert_eq!(codes(&seg), 1);
}

#[test]
fn a_series_without_lesions_has_no_segmentation_and_that_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    write_series(folder.path(), 2, 7);
    let arguments = [
        ".",
        "--score-threshold",
        "0.9999",
        "--dicom-seg",
        "seg",
        "--dicom-sr",
        "sr",
        "--html",
        "r.html",
    ];
    let output = run(folder.path(), &arguments);
    code(&output, 0);
    assert!(
        said(&output).contains("note: ") && said(&output).contains("cannot be empty"),
        "{}",
        said(&output)
    );
    assert!(names(folder.path().join("seg")).is_empty());
    assert_eq!(names(folder.path().join("sr")).len(), 1);
    // A picture beside it has no DICOM object, which costs the series nothing.
    fs::copy(sample("covid19"), folder.path().join("p.png")).unwrap();
    let output =
        run(folder.path(), &[".", "--dicom-seg", "seg2", "--dicom-sr", "sr2", "--html", "r2.html"]);
    code(&output, 1);
    assert_eq!(names(folder.path().join("seg2")).len(), 1);
    assert_eq!(names(folder.path().join("sr2")).len(), 1);
    assert!(folder.path().join("r2.html").is_file());
}
