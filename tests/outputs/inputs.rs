//! Files and folders that are damaged, odd, or no files at all.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::common::dicom::{Small, write_phantom};
use crate::common::files::zip_of;
use crate::{code, predict, report, run, said, sample, two_slices};

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
fn a_damaged_member_of_an_archive_costs_that_member_alone() {
    let folder = tempfile::tempdir().unwrap();
    let members = [("s/1.png", "control"), ("s/2.png", "pneumonia"), ("s/3.png", "covid19")];
    let members = members.map(|(name, class)| (name, fs::read(sample(class)).unwrap()));
    let mut bytes = zip_of(members, zip::CompressionMethod::Stored);
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
        said(&output).contains("skipped in folders: 1 files that are not slices, 3 "),
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
fn a_folder_that_holds_nothing_costs_the_others_nothing() {
    let folder = two_slices();
    fs::create_dir(folder.path().join("empty")).unwrap();
    code(&run(folder.path(), &["empty", "a.png", "--json", "out.json"]), 1);
    let report = report(folder.path().join("out.json"));
    assert_eq!((report.slices.len(), report.errors[0].source.as_str()), (1, "empty"));
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
    assert!(said(&output).contains("model resnet18t2 (SHA-256 "), "{}", said(&output));
    let output = run(folder.path(), &["a.png", "--models", "models"]);
    code(&output, 1);
}
