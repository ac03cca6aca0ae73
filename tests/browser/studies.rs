//! Whole studies: series, archives, volumes, and the way through them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use groundglass::image::Study;
use groundglass::image::slice::Values;
use groundglass::report::Report;

use super::common::{
    self,
    dicom::{write_phantom, write_series},
    files::zip_of,
};
use super::site::Site;
use super::visitor::Visitor;
use super::{SOON, assert_shows, native, ready_on_cpu, with_opened};

pub async fn a_series() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 3, 21);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_opened(&site, &files).await;
    // The middle one, by place, comes first.
    assert_shows(&visitor, &native(&files[1])).await;
    visitor.wait_for("2 of 3", SOON).await;
    visitor.press("Run the other 2 slices").await;
    visitor.wait_for("of 3 slices have lesions.", SOON).await;
    visitor.picture("series").await;
    visitor.slide("Slice", "1").await;
    visitor.wait_for("1 of 3", SOON).await;
    visitor.wait_for("slice3.dcm", SOON).await;
    assert_shows(&visitor, &native(&files[0])).await;

    visitor.press("Report (JSON)").await;
    let report: Report = serde_json::from_slice(&visitor.saved("report.json").await).expect("JSON");
    assert_eq!(report.slices.len(), 3);
    for (slice, file) in report.slices.iter().zip(&files) {
        let expected = native(file);
        assert_eq!(slice.lesions.len(), expected.lesions.len());
        for (a, b) in slice.lesions.iter().zip(&expected.lesions) {
            assert!((a.score - b.score).abs() < 1e-3 && a.area_px.abs_diff(b.area_px) < 10);
        }
    }
    assert_eq!(report.series[0].distance_mm, Some(2.5));
    let volume = report.series[0].lesion_volume_ml.expect("a volume: the spacing is known");
    assert_eq!(volume > 0.0, report.slices.iter().any(|slice| !slice.lesions.is_empty()));
    let magic: [(&str, &str, &[u8]); 8] = [
        ("Report (HTML)", "report.html", b"<!DOCTYPE html>"),
        ("Table (CSV)", "lesions.csv", b"\"source\",\"width\""),
        ("COCO JSON", "coco.json", b"{"),
        ("Mask of this slice (PNG)", "mask.png", b"\x89PNG"),
        ("This slice with lesions (PNG)", "overlay.png", b"\x89PNG"),
        ("Masks of this series (NIfTI)", "mask.nii.gz", b"\x1f\x8b"),
        ("Masks of this series (DICOM SEG)", "seg.dcm", &[0; 128]),
        ("Findings of this series (DICOM SR)", "sr.dcm", &[0; 128]),
    ];
    for (button, ending, start) in magic {
        visitor.press(button).await;
        let saved = visitor.saved(ending).await;
        assert!(saved.starts_with(start), "{button}");
        let name = b"Nobody^Drawn";
        assert!(!saved.windows(name.len()).any(|part| part == name), "{button} names the patient");
    }
    visitor.toggle_sheet().await.expect("a sheet");
    visitor.unfold("What identifies the patient").await;
    visitor.wait_for("Nobody^Drawn", SOON).await;
    visitor.picture("identity").await;
    visitor.toggle_sheet().await.expect("a sheet");
    header_of_the_file(&visitor).await;
    visitor.leave().await;
}

/// The header is there in full, can be searched, and keeps names to itself until they are asked for.
async fn header_of_the_file(visitor: &Visitor) {
    visitor.unfold("File header").await;
    visitor.wait_for("PixelSpacing", SOON).await;
    let shown = visitor.text("details.header").await.expect("the header");
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("(0010,0010) PatientName hidden"), "{shown}");
    assert!(!shown.contains("Nobody^Drawn"), "{shown}");
    visitor.keys("details.header input[type=search]", "patientname").await;
    visitor.wait_for("1 of ", SOON).await;
    visitor.keys("details.header input[type=checkbox]", " ").await;
    let is_named = || async {
        visitor.text("details.header").await.unwrap_or_default().contains("Nobody^Drawn")
    };
    visitor.until("the name is shown", SOON, is_named).await;
    visitor.picture("header").await;
}

pub async fn a_zip() {
    let folder = tempfile::tempdir().expect("a folder");
    let slice = |file: PathBuf| {
        (format!("scan/{}", file.display()), std::fs::read(&file).expect("a slice"))
    };
    let slices = write_series(folder.path(), 3, 21).into_iter().map(slice);
    let members = slices.chain([("notes.txt".to_owned(), b"no slice".to_vec())]);
    let bytes = zip_of(members, zip::CompressionMethod::Deflated);
    let path = folder.path().join("scan.zip");
    std::fs::write(&path, bytes).expect("a written file");
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.choose(&path).await;
    visitor.wait_for("Done:", SOON).await;
    let alert = visitor.alert().await.expect("an alert");
    assert!(alert.contains("notes.txt"), "{alert}");
    // A slice on which some lesions are less sure than others.
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("phantom-covid19.png", SOON).await;
    visitor.until("it is done", SOON, || async { visitor.meters().await.len() == 3 }).await;
    let usual = visitor.lesions().await.len();
    visitor.slide("Score threshold", "0.05").await;
    let loose = visitor.lesions().await.len();
    visitor.slide("Score threshold", "0.95").await;
    let strict = visitor.lesions().await.len();
    assert!(strict <= usual && usual <= loose && strict < loose, "{strict} {usual} {loose}");
    visitor.picture("zip").await;
    visitor.leave().await;
}

/// The planes across a series lie where one points, and lead to the slice that is pointed at.
pub async fn planes() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |index: u64| {
        let path = folder.path().join(format!("slice{index}.dcm"));
        write_phantom(&path, 21 + index, 25.0 * index as f64);
        path
    };
    let files: Vec<PathBuf> = (0..5).map(write).collect();
    let site = Site::serve(BTreeMap::new());
    let visitor = with_opened(&site, &files).await;
    visitor.wait_for("3 of 5", SOON).await;
    visitor.press("Coronal and sagittal").await;
    let drawn = ".plane canvas";
    visitor.until("both planes", SOON, || async { visitor.count(drawn).await == 2 }).await;
    let label = visitor.attribute(drawn, "aria-label").await;
    assert_eq!(label, "Coronal; left edge R, right L, top H, bottom F");
    // One pixel a column and a slice; what is shown is no emptiness.
    assert_eq!(visitor.attribute(drawn, "height").await, "5");
    visitor.until("a picture", SOON, || async { visitor.brightness(drawn).await > 20.0 }).await;
    let before = visitor.brightness(drawn).await;
    visitor.slide("Coronal", "40").await;
    visitor
        .until("another plane", SOON, || async {
            (visitor.brightness(drawn).await - before).abs() > 1.0
        })
        .await;
    assert_eq!(visitor.attribute(".plane input", "aria-valuetext").await, "row 40 of 512");
    // The uppermost fifth of a plane is the slice nearest to the head, the last.
    visitor.point_at(drawn, (0.25, 0.05)).await;
    visitor.wait_for("5 of 5", SOON).await;
    let column = visitor.attribute(".plane + .plane input", "aria-valuetext").await;
    let column = column.split(' ').nth(1).and_then(|place| place.parse::<i32>().ok());
    assert!(column.is_some_and(|column| (column - 128).abs() <= 3), "{column:?}");
    visitor.wait_for("Done:", SOON).await;
    visitor.picture("planes").await;
    visitor.press("Coronal and sagittal").await;
    visitor.until("no planes", SOON, || async { visitor.count(drawn).await == 0 }).await;
    visitor.leave().await;
}

/// Why a series has no planes is said.
pub async fn no_planes() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = write_series(folder.path(), 4, 21);
    files.remove(1);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_opened(&site, &files).await;
    visitor.press("Coronal and sagittal").await;
    visitor.wait_for("No other planes:", SOON).await;
    visitor.leave().await;
}

/// Slices that are not done.
async fn left(visitor: &Visitor) -> usize {
    let done = visitor.text(".series-actions span").await.expect("how many are done");
    let numbers: Vec<usize> = done.split(' ').filter_map(|word| word.parse().ok()).collect();
    numbers[1] - numbers[0]
}

/// What was computed before a pause or a cancellation stays, and the rest can follow.
pub async fn resuming() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 14, 40);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_opened(&site, &files).await;
    visitor.press("Run the other 13 slices").await;
    // Escape closes the sheet of files, and not what runs.
    visitor.toggle_sheet().await.expect("a sheet");
    visitor.keys("[popovertarget]:not([popovertargetaction])", "\u{e00c}").await;
    let open = "return document.querySelector(':popover-open') !== null";
    let open = visitor.client.execute(open, Vec::new()).await.expect("an answer");
    assert_eq!(open, false);
    for (stop, said) in [("Pause", "Paused."), ("Cancel", "Cancelled. Finished slices are kept")] {
        let before = left(&visitor).await;
        visitor
            .until("another slice is done", SOON, || async { left(&visitor).await < before })
            .await;
        visitor.press(stop).await;
        visitor.wait_for(said, SOON).await;
        let after = left(&visitor).await;
        assert!((1..before).contains(&after), "{stop}: {before}, {after}");
        let slices = if after == 1 { "slice".to_owned() } else { format!("{after} slices") };
        visitor.press(&format!("Run the other {slices}")).await;
    }
    visitor.wait_for("of 14 slices have lesions.", SOON).await;
    visitor.leave().await;
}

/// The value under the pointer is the file's, through whatever window it is looked at.
async fn reads_out_hounsfield_units(visitor: &Visitor, file: &Path) {
    let opened = Study::open([(String::new(), std::fs::read(file).expect("the file"))]);
    let raw = opened.series[0].slices[0].read().expect("the slice");
    let Values::Hounsfield(values) = raw.values else { panic!("a CT slice") };
    let point = "const canvas = document.querySelector('canvas');
        const box = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new PointerEvent('pointermove', { pointerId: 1, pointerType: 'mouse',
            clientX: box.left + 0.3 * box.width, clientY: box.top + 0.6 * box.height, bubbles: true }));";
    for window in ["3", "1"] {
        visitor.keys(".viewer", window).await;
        visitor.client.execute(point, Vec::new()).await.expect("a pointer");
        let says = || async { visitor.text(".read-out").await.unwrap_or_default() };
        visitor.until("a value", SOON, || async { says().await.contains(" HU at ") }).await;
        let words = says().await;
        let numbers: Vec<i32> = words
            .split(|c: char| !(c.is_ascii_digit() || c == '-'))
            .filter_map(|number| number.parse().ok())
            .collect();
        let (value, column, row) = (numbers[0], numbers[1] as usize, numbers[2] as usize);
        // The pointer's own coordinates are whole numbers.
        assert!(column.abs_diff(3 * raw.width / 10) < 3 && row.abs_diff(6 * raw.height / 10) < 3);
        assert_eq!(value, values[row * raw.width + column].round() as i32, "{words}");
        assert!(words.ends_with(" mm)"), "the spacing is known: {words}");
        // Another slice under a pointer that rests has other values.
        visitor.keys(".viewer", "\u{e013}").await;
        visitor.until("another value", SOON, || async { says().await != words }).await;
        visitor.keys(".viewer", "\u{e015}").await;
        visitor.until("the value again", SOON, || async { says().await == words }).await;
    }
}

pub async fn the_viewer() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 3, 21);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_opened(&site, &files).await;
    let is_zoomed = || async { visitor.attribute("canvas", "class").await.contains("zoomed") };

    visitor.keys(".viewer", "\u{e015}").await; // arrow down
    visitor.wait_for("3 of 3", SOON).await;
    visitor.keys(".viewer", "\u{e015}").await; // the last stays the last
    visitor.keys(".viewer", "\u{e011}").await; // Home
    visitor.wait_for("1 of 3", SOON).await;
    let wheel = "document.querySelector('canvas').dispatchEvent(
        new WheelEvent('wheel', { deltaY: 100, cancelable: true, bubbles: true }))";
    visitor.client.execute(wheel, Vec::new()).await.expect("a wheel");
    visitor.wait_for("2 of 3", SOON).await;

    visitor.keys(".viewer", "+").await;
    visitor.until("magnified", SOON, || async { is_zoomed().await }).await;
    visitor.picture("magnified").await;
    visitor.keys(".viewer", "0").await;
    visitor.until("whole", SOON, || async { !is_zoomed().await }).await;

    reads_out_hounsfield_units(&visitor, &files[1]).await;

    visitor.slide("Score threshold", "0.05").await;
    assert!(!visitor.lesions().await.is_empty(), "there is something to outline");
    let before = visitor.pixels().await;
    visitor.keys(".viewer", "3").await;
    visitor.until("another window", SOON, || async { visitor.pixels().await != before }).await;
    assert_eq!(visitor.chosen("Window").await, "mediastinum, 40/400");
    let drag = "const canvas = document.querySelector('canvas');
        const at = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type,
            { pointerId: 1, pointerType: 'mouse', buttons: 1, clientX: x, clientY: y, bubbles: true }));
        at('pointerdown', 300, 400); at('pointermove', 350, 420); at('pointerup', 350, 420);";
    visitor.client.execute(drag, Vec::new()).await.expect("a drag");
    visitor
        .until("a window of one's own", SOON, || async {
            visitor.chosen("Window").await == "custom, 80/500"
        })
        .await;
    visitor.keys(".viewer", "1").await;
    visitor.until("the first picture", SOON, || async { visitor.pixels().await == before }).await;

    // Transfer the slice, from the same run, the scores from which the masks were cut.
    visitor.keys(".viewer", "m").await;
    let colours = "const canvas = document.querySelector('canvas.scores');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const seen = new Set();
        for (let i = 0; i < data.length; i += 4) seen.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
        return seen.size;";
    let has_scores = || async {
        let count = visitor.client.execute(colours, Vec::new()).await;
        count.is_ok_and(|count| count.as_u64() > Some(50))
    };
    visitor.until("mask scores", SOON, || async { has_scores().await }).await;
    visitor.picture("scores").await;
    visitor.keys(".viewer", "m").await;

    // Outlines instead of filled masks, then neither.
    visitor.keys(".viewer", "f").await;
    visitor.until("outlines", SOON, || async { visitor.pixels().await != before }).await;
    let outlined = visitor.pixels().await;
    visitor.keys(".viewer", "o").await;
    visitor.until("no lesions", SOON, || async { visitor.pixels().await != outlined }).await;
    visitor.picture("without-lesions").await;
    visitor.leave().await;
}

/// Every file of the reference folder's formats is opened or refused as it is natively; DICOM in whatever
/// transfer syntax gives one result.
pub async fn formats() {
    let folder = std::fs::canonicalize(common::reference().join("data/formats"));
    let folder = folder.expect("the folder");
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    let mut syntaxes = Vec::new();
    for kind in std::fs::read_dir(&folder).expect("a folder").flatten() {
        let files = std::fs::read_dir(kind.path()).expect("a folder").flatten();
        let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
        files.sort();
        for file in &files {
            let bytes = std::fs::read(file).expect("a file");
            let native = Study::open([("file".to_owned(), bytes)]);
            visitor.choose(file).await;
            if native.slices() == 0 {
                visitor.until("refused", SOON, || async { visitor.alert().await.is_some() }).await;
                continue;
            }
            // Some are no chest, or lie at the edge of the lungs.
            visitor
                .until("done, or refused", SOON, || async {
                    let status = visitor.status().await;
                    status.contains("Done:") || status.contains("Not analysed")
                })
                .await;
            assert_eq!(visitor.alert().await, None, "{}", file.display());
            if kind.file_name() == "dicom-ct" {
                let seen =
                    (visitor.meters().await, visitor.lesions().await, visitor.pixels().await);
                syntaxes.push((file.clone(), seen));
            }
        }
    }
    assert_eq!(syntaxes.len(), 5, "{syntaxes:?}");
    for (file, seen) in &syntaxes[1..] {
        assert_eq!(*seen, syntaxes[0].1, "{} differs", file.display());
    }
    visitor.leave().await;
}
