//! Runs the program on phantoms.

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_groundglass"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program runs")
}

pub fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn fail(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn at(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

pub fn phantoms(count: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    succeed(&["phantom", "--out", &at(&folder, "data"), "--count", count, "--seed", "3"]);
    folder
}
