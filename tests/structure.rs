//! Imports run one way: each folder of `src` may use those that are listed for it, and no other.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Bottom up: a folder and those that it may import.
const ALLOWED: [(&str, &[&str]); 17] = [
    ("classes", &[]),
    ("unknown_name", &[]),
    ("whole_file", &[]),
    // Plain Rust: no tensors, no files, no devices.
    ("detection", &[]),
    // Arithmetic on slices, without burn.
    ("kernels", &["detection"]),
    ("image", &["classes", "detection", "unknown_name"]),
    // Tensors in, tensors out: no files, no slices.
    ("network", &["classes", "detection", "kernels", "unknown_name"]),
    // What was found, however it was found.
    ("report", &["classes", "detection", "image"]),
    ("inference", &["classes", "detection", "image", "kernels", "network", "report"]),
    // Knows no network: a report can come from a file.
    ("export", &["classes", "detection", "image", "report"]),
    ("dataset", &["classes", "detection", "image", "network", "unknown_name"]),
    ("figures", &["classes", "dataset", "export", "report"]),
    (
        "train",
        &[
            "classes",
            "dataset",
            "detection",
            "figures",
            "image",
            "inference",
            "network",
            "report",
            "whole_file",
        ],
    ),
    ("evaluate", &["classes", "dataset", "detection", "image", "inference", "network", "report"]),
    ("cli", &["*"]),
    ("web", &["classes", "detection", "export", "image", "inference", "network", "report"]),
    ("bin", &["*"]),
];

/// Code without its comments and without its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// What every folder imports: the first name behind `crate::`.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    fn walk(path: &Path, own: Option<&str>, found: &mut BTreeMap<String, BTreeSet<String>>) {
        for entry in std::fs::read_dir(path).expect("a folder") {
            let path = entry.expect("an entry").path();
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let own = own.unwrap_or(&stem).to_owned();
            if path.is_dir() {
                walk(&path, Some(&own), found);
            } else if own != "lib" && path.extension().is_some_and(|ending| ending == "rs") {
                let code = code(&std::fs::read_to_string(&path).expect("code"));
                let names = code.split("crate::").skip(1).map(|rest| {
                    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
                });
                let others: Vec<String> = names.filter(|name: &String| *name != own).collect();
                found.entry(own).or_default().extend(others);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut found);
    found
}

#[test]
fn imports_run_one_way() {
    let allowed = BTreeMap::from(ALLOWED);
    for (folder, imports) in imports() {
        let known = allowed.get(folder.as_str()).unwrap_or_else(|| {
            panic!("src/{folder} is new: say in tests/structure.rs what it may import")
        });
        for import in imports {
            assert!(
                known.contains(&"*") || known.contains(&import.as_str()),
                "src/{folder} imports {import}, which stands above or beside it: move what both need below them, or say in tests/structure.rs why this arrow is right"
            );
        }
    }
}

/// The table itself has an order: who is imported stands above.
#[test]
fn what_is_allowed_has_no_circle() {
    let mut below = BTreeSet::new();
    for (folder, imports) in ALLOWED {
        for import in imports.iter().filter(|import| **import != "*") {
            assert!(below.contains(import), "{folder} may import {import}, which comes after it");
        }
        below.insert(folder);
    }
}
