//! What reports and DICOM objects say.

use std::fs;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::Tag;

use crate::common::dicom::{Small, write_phantom, write_series};
use crate::{code, names, report, run, said, sample, two_slices};

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
