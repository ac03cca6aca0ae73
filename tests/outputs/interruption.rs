//! Runs that are interrupted or killed, pipes that close, outputs that fail.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{code, names, predict, report, run, said, sample, two_slices};

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
