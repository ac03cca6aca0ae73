//! Imports run one way: each folder of `src` may use those that are listed for it, and no other.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use walkdir::WalkDir;

/// Bottom up: a folder and those that it may import.
const ALLOWED: [(&str, &[&str]); 20] = [
    ("classes", &[]),
    ("sha256", &[]),
    ("statistics", &[]),
    ("logistic_regression", &["classes", "statistics"]),
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
    ("report", &["classes", "detection", "image", "statistics"]),
    (
        "inference",
        &[
            "classes",
            "detection",
            "image",
            "kernels",
            "network",
            "report",
            "sha256",
            "unknown_name",
        ],
    ),
    // Knows no network: a report can come from a file.
    ("export", &["classes", "detection", "image", "report", "sha256"]),
    ("dataset", &["classes", "detection", "image", "sha256", "unknown_name"]),
    ("figures", &["classes", "export", "statistics"]),
    (
        "train",
        &[
            "classes",
            "dataset",
            "detection",
            "figures",
            "image",
            "inference",
            "logistic_regression",
            "network",
            "report",
            "statistics",
            "whole_file",
        ],
    ),
    (
        "evaluate",
        &[
            "classes",
            "dataset",
            "detection",
            "image",
            "inference",
            "logistic_regression",
            "network",
            "report",
            "statistics",
        ],
    ),
    ("cli", &["*"]),
    (
        "web",
        &[
            "classes",
            "detection",
            "export",
            "image",
            "inference",
            "network",
            "report",
            "statistics",
        ],
    ),
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
                "src/{folder} imports {import}, which the table does not allow: move what both need into a module that comes earlier in it, or say in tests/structure.rs why this arrow is right"
            );
        }
    }
}

/// An arrow that nobody needs any more goes: the table says what is, not what once was.
#[test]
fn every_allowed_import_is_used() {
    let imports = imports();
    for (folder, allowed) in ALLOWED {
        for import in allowed.iter().filter(|import| **import != "*") {
            assert!(
                imports[folder].contains(*import),
                "src/{folder} does not import {import} any more: take it out of the table"
            );
        }
    }
}

/// The table itself has an order: who is imported comes earlier in it.
#[test]
fn what_is_allowed_has_no_circle() {
    let mut below = BTreeSet::new();
    for (folder, imports) in ALLOWED {
        for import in imports.iter().filter(|import| **import != "*") {
            assert!(below.contains(import), "{folder} may import {import}, which comes after it");
        }
        below.insert(folder);
    }
    println!("bottom up: {}", ALLOWED.map(|(folder, _)| folder).join(", "));
}

/// A module or an item by its names, without the crate's.
type Names = Vec<String>;

/// Files as modules, and where a name that a module passes on comes from.
#[derive(Default)]
struct Modules {
    code: BTreeMap<Names, String>,
    passed_on: BTreeMap<Names, Names>,
}

impl Modules {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut modules = Self::default();
        for entry in WalkDir::new(&root).into_iter().map(|entry| entry.expect("an entry")) {
            let path = entry.path();
            let inside = path.strip_prefix(&root).expect("a path in src");
            if path.extension().is_none_or(|ending| ending != "rs") || inside.starts_with("bin") {
                continue;
            }
            let mut names: Names =
                inside.with_extension("").iter().map(|n| n.to_string_lossy().into()).collect();
            if names.last().is_some_and(|name| name == "mod" || name == "lib") {
                names.pop();
            }
            modules.code.insert(names, code(&std::fs::read_to_string(path).expect("code")));
        }
        for (module, code) in &modules.code {
            for tree in code.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()) {
                for path in leaves(tree) {
                    let own = path.first().is_some_and(|name| name != "crate");
                    let path: Names =
                        path.into_iter().filter(|n| n != "crate" && n != "self").collect();
                    let from =
                        if own { [module.clone(), path.clone()].concat() } else { path.clone() };
                    // Modules within one file may: nothing outside of it is hidden.
                    let is_file = modules.code.contains_key(&from[..from.len().saturating_sub(1)]);
                    let is_all = path.last().is_some_and(|name| name == "*");
                    assert!(!(is_all && is_file), "{module:?} passes on all of {from:?}");
                    let name = path.last().cloned().unwrap_or_default();
                    modules.passed_on.insert([module.clone(), vec![name]].concat(), from);
                }
            }
        }
        modules
    }

    /// The module that a path leads into.
    fn of(&self, path: &[String]) -> Option<Names> {
        let mut path = path.to_vec();
        // A name may be passed on more than once.
        for _ in 0..4 {
            let found = (1..=path.len())
                .rev()
                .find_map(|length| Some((length, self.passed_on.get(&path[..length])?.clone())));
            let Some((length, from)) = found else { break };
            path = [from, path[length..].to_vec()].concat();
        }
        let known = (1..=path.len()).rev().find(|length| self.code.contains_key(&path[..*length]));
        known.map(|length| path[..length].to_vec())
    }

    /// What a module's code uses of others that stand neither above nor below it in the tree of folders.
    fn used_by(&self, module: &Names) -> BTreeSet<Names> {
        let code = &self.code[module];
        let paths = |start: &str| {
            let ends = [';', '(', ')', '<', '>', '=', '!', '?', '&', '|'];
            let rests = code.split(start).skip(1);
            let trees = rests.map(|rest| &rest[..rest.find(ends).unwrap_or(rest.len())]);
            trees.flat_map(leaves).collect::<Vec<_>>()
        };
        let folder = &module[..module.len().saturating_sub(1)];
        let beside = paths("super::").into_iter().map(|path| [folder.to_vec(), path].concat());
        let others = paths("crate::").into_iter().chain(beside).filter_map(|path| self.of(&path));
        others.filter(|other| !other.starts_with(module) && !module.starts_with(other)).collect()
    }
}

/// The paths of a tree of imports: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<Names> {
    let tree = tree.trim();
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split_whitespace().next().unwrap_or_default();
        return vec![path.trim_end_matches(',').split("::").map(str::to_owned).collect()];
    };
    let head: Names = head.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in rest.rsplit_once('}').map_or(rest, |(inside, _)| inside).chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        match parts.last_mut() {
            Some(part) if letter != ',' || depth > 0 => part.push(letter),
            _ => parts.push(String::new()),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| leaves(part)).map(|path| [head.clone(), path].concat()).collect()
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let modules = Modules::read();
    let uses: BTreeMap<Names, BTreeSet<Names>> =
        modules.code.keys().map(|module| (module.clone(), modules.used_by(module))).collect();
    let arrows: usize = uses.values().map(BTreeSet::len).sum();
    assert!(arrows > modules.code.len(), "imports were found: {arrows}");
    // What imports nothing that is left is in no circle.
    let mut left = uses;
    loop {
        let free: Vec<Names> = left
            .iter()
            .filter(|(_, uses)| uses.iter().all(|other| !left.contains_key(other)))
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|module| {
            left.remove(module);
        });
    }
    // Nor is what nothing that is left imports.
    while let Some(module) =
        left.keys().find(|m| !left.values().any(|uses| uses.contains(*m))).cloned()
    {
        left.remove(&module);
    }
    let circle: Vec<String> = left.keys().map(|module| module.join("::")).collect();
    assert!(
        circle.is_empty(),
        "these files import each other in a circle: {circle:?}; move what both need into a file of its own"
    );
}

#[test]
fn a_tree_of_imports_is_taken_apart() {
    let paths = leaves("a::{b, c::{d, self as e}, F}");
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["a::b", "a::c::d", "a::c::self", "a::F"]);
}
