//! What `predict` leaves behind when files, names, disks, pipes and people do what they can to spoil it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
mod content;
mod inputs;
mod interruption;
mod paths;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
