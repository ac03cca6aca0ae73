//! Exports read back by the tools that other people use: highdicom, nibabel, pycocotools, Pillow, Python's csv.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::process::{Command, ExitCode};

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
    libtest_mimic::run(&Arguments::from_args(), PARTS.map(trial).into()).exit_code()
}
