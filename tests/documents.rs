//! What the documents name is there, and their examples run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/program.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod program;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::common::dicom::{write_phantom, write_series};
use self::common::files::{nifti, zip_of};
use self::common::reference;
use self::program::command;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Paths within the repository that a document names in backticks or links to.
fn paths(document: &str) -> BTreeSet<String> {
    const FOLDERS: [&str; 9] =
        ["src/", "tests/", "docs/", "www/", "models/", "fuzz/", ".ci/", ".github/", "../docs/"];
    let quoted = document.split('`').skip(1).step_by(2);
    let linked = document.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let plain =
        |text: &str| text.split(['#', ':', ' ', '*', '{', '<']).next().unwrap_or("").to_owned();
    quoted
        .chain(linked)
        .filter(|text| FOLDERS.iter().any(|folder| text.starts_with(folder)))
        .filter(|text| !text.contains(['{', '*', '<', '\n']))
        .map(plain)
        .collect()
}

#[test]
fn what_documents_name_is_there() {
    let mut missing = Vec::new();
    let documents =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(PathBuf::from);
    let listed = |folder: &str| {
        let files = fs::read_dir(repository().join(folder)).expect("a folder");
        let names = files.map(|file| PathBuf::from(folder).join(file.expect("a file").file_name()));
        names
            .filter(|name| name.extension().is_some_and(|ending| ending == "md"))
            .collect::<Vec<_>>()
    };
    for document in documents.into_iter().chain(listed("docs")).chain(listed("models")) {
        let text = fs::read_to_string(repository().join(&document)).expect("a document");
        let folder = document.parent().unwrap_or(Path::new(""));
        for path in paths(&text) {
            let places = [repository().join(&path), repository().join(folder).join(&path)];
            if !places.iter().any(|place| place.exists()) {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn expanded(path: &str) -> Vec<String> {
    let braces = path.split_once('{').and_then(|(before, rest)| {
        let (inside, after) = rest.split_once('}')?;
        Some((before, inside, after))
    });
    match braces {
        Some((before, inside, after)) => {
            inside.split(',').map(|part| format!("{before}{part}{after}")).collect()
        }
        None => vec![path.to_owned()],
    }
}

#[test]
fn the_files_that_the_architecture_names_are_there() {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("a document");
    let quoted = text.split('`').skip(1).step_by(2);
    let named = quoted.filter(|text| text.contains('/') && !text.contains(['*', ' ', '<', ':']));
    let mut checked = 0;
    for path in named.flat_map(expanded) {
        let places = [repository().join("src").join(&path), repository().join(&path)];
        assert!(places.iter().any(|place| place.exists()), "ARCHITECTURE.md names {path}");
        checked += 1;
    }
    assert!(checked > 30, "paths were found: {checked}");
}

/// What stands in the examples and would take too long, with what is run instead.
const SHORTER: [(&str, &str); 4] = [
    ("--count 300", "--count 75"),
    ("--steps 300", "--steps 2"),
    ("--trainable s ", "--trainable s --epochs 1 "),
    ("groundglass bench", "groundglass bench --runs 1"),
];

/// What other programs do: these are run by whoever builds this.
const OTHERS: [&str; 2] = ["make", "cargo"];

/// Commands of the `sh` blocks of a document, without comments, a command a line.
fn examples(document: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(document)).expect("a document");
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        joined.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let commands = lines.flat_map(|line| {
        let line = line.split(" #").next().unwrap_or_default();
        line.split("&&").map(|command| command.trim().to_owned()).collect::<Vec<_>>()
    });
    commands.filter(|command| !command.is_empty()).collect()
}

/// What the examples call `scan.png`, `folder/` and so on.
fn write_inputs(folder: &Path) {
    let repository = repository();
    let samples = repository.join("www/samples");
    fs::create_dir_all(folder.join("www/samples")).unwrap();
    fs::create_dir(folder.join("folder")).unwrap();
    for name in ["phantom-covid19.png", "phantom-control.png"] {
        fs::copy(samples.join(name), folder.join("www/samples").join(name)).unwrap();
    }
    fs::copy(samples.join("phantom-covid19.png"), folder.join("scan.png")).unwrap();
    write_phantom(&folder.join("scan.dcm"), 7, 0.0);
    let slices = write_series(&folder.join("folder"), 2, 20);
    let member = |path: &PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
    };
    let series = zip_of(slices.iter().map(member), zip::CompressionMethod::Deflated);
    fs::write(folder.join("series.zip"), series).unwrap();
    let phantom = groundglass::image::phantom::draw(groundglass::classes::SliceClass::Covid19, 4);
    let side = phantom.slice.width as i16;
    let hounsfield = phantom.slice.pixels.iter().map(|grey| i16::from(*grey) * 6 - 1350);
    let affine = [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
    let volume = nifti([side, side, 1], [1.0; 3], Some(affine), hounsfield);
    let file = fs::File::create(folder.join("volume.nii.gz")).unwrap();
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, &volume).unwrap();
    packer.finish().unwrap();
    for (name, golden) in [("seg.pth", "resnet18t1_seg.pth"), ("cls.pth", "resnet18t1_cls.pth")] {
        let golden = reference().join("golden").join(golden);
        if golden.exists() {
            fs::copy(golden, folder.join(name)).unwrap();
        }
    }
}

#[test]
fn the_examples_of_the_documents_run() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path());
    let mut shortened = BTreeSet::new();
    let documents = ["README.md", "docs/training.md", "docs/command-line.md"];
    for (document, example) in documents
        .into_iter()
        .flat_map(|document| examples(document).into_iter().map(move |e| (document, e)))
    {
        let mut shorter = example.clone();
        for (long, short) in SHORTER {
            if shorter.contains(long) {
                shorter = shorter.replace(long, short);
                shortened.insert(long);
            }
        }
        let mut words = shorter.split_whitespace();
        let program = words.next().unwrap();
        if OTHERS.contains(&program) {
            continue;
        }
        assert!(program.ends_with("groundglass"), "{document}: {example}");
        if example.contains(".pth") && !folder.path().join("seg.pth").exists() {
            println!("SKIPPED without golden/resnet18t1_seg.pth: {example}");
            continue;
        }
        println!("{shorter}");
        let words: Vec<&str> = words.collect();
        let output = command(&words).current_dir(folder.path()).output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{document}: {example}: {said}");
    }
    let unused = SHORTER.map(|(long, _)| long).into_iter().find(|long| !shortened.contains(long));
    assert_eq!(unused, None, "no example has it");
}
