//! What a reader corrects by pointer and keys, and that files say so.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use fantoccini::Locator;
use fantoccini::actions::{InputSource, MouseActions, PointerAction};
use groundglass::classes::{LesionKind, SliceClass};
use groundglass::report::{Origin, Report, SliceReport};
use serde_json::Value;

use super::common::dicom::write_series;
use super::offline_and_access::{assert_accessible, axe};
use super::site::Site;
use super::visitor::Visitor;
use super::{SOON, assert_shows, native, ready_on_cpu, repository, with_opened};

/// Draws from one place of the slice to another, in widths and heights of what is seen.
async fn draw(visitor: &Visitor, from: (f64, f64), to: (f64, f64)) {
    let canvas = visitor.client.find(Locator::Css(".slice canvas")).await.expect("the canvas");
    let (_, _, width, height) = canvas.rectangle().await.expect("its place");
    let step = |(x, y): (f64, f64)| PointerAction::MoveToElement {
        element: canvas.clone(),
        duration: Some(Duration::from_millis(20)),
        x: (x - 0.5) * width,
        y: (y - 0.5) * height,
    };
    let stroke = MouseActions::new("mouse".into())
        .then(step(from))
        .then(PointerAction::Down { button: 0 })
        .then(step(to))
        .then(PointerAction::Up { button: 0 });
    visitor.client.perform_actions(stroke).await.expect("a stroke");
}

/// The JSON report that the page saves now.
pub async fn report(visitor: &Visitor) -> Report {
    let saved = || visitor.downloads(".json");
    let before = saved();
    visitor.press("Report (JSON)").await;
    visitor.until("a report is saved", SOON, || async { saved().len() > before.len() }).await;
    let path = saved().into_iter().find(|path| !before.contains(path)).expect("another report");
    serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("a report")
}

/// Kind and coordinates of everything that a structured report draws.
fn graphics(object: &InMemDicomObject) -> Vec<(String, Vec<f32>)> {
    let text = |tag| object.element(tag).ok()?.to_str().ok().map(|text| text.to_string());
    let points = || object.element(tags::GRAPHIC_DATA).ok()?.to_multi_float32().ok();
    let own = text(tags::GRAPHIC_TYPE).zip(points());
    let content = object.element(tags::CONTENT_SEQUENCE).ok().and_then(|content| content.items());
    let inner = content.into_iter().flatten().flat_map(graphics);
    own.into_iter().chain(inner).collect()
}

fn areas(slice: &SliceReport) -> Vec<usize> {
    let area = |lesion: &groundglass::report::Lesion| {
        let mask = lesion.mask.as_ref().expect("a mask").decode().expect("a mask");
        assert_eq!(mask.area(), lesion.area_px, "areas are those of the masks");
        lesion.area_px
    };
    slice.lesions.iter().map(area).collect()
}

/// A lesion is rejected and restored, another drawn, enlarged by keys, cut, renamed; all is undone and made again.
pub async fn by_hand() {
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    let found = native(&repository().join("www/samples/phantom-covid19.png"));
    let count = found.lesions.len();
    let before = report(&visitor).await.slices[0].lesions.clone();
    visitor.press("Correct").await;
    visitor.wait_for("Choose a lesion in the list above", SOON).await;

    let first = visitor.client.find(Locator::Css(".lesions li button")).await.expect("a lesion");
    first.click().await.expect("a click");
    visitor.press("Reject").await;
    visitor.wait_for("Rejected", SOON).await;
    assert_eq!(visitor.lesions().await.len(), count - 1);
    // The button is gone; by keys one goes on from the tools.
    let has_focus =
        || async { visitor.client.find(Locator::Css(".corrections :focus")).await.is_ok() };
    visitor.until("the focus stays with the tools", SOON, has_focus).await;
    visitor.press("Restore").await;
    visitor.until("it is back", SOON, || async { visitor.lesions().await.len() == count }).await;
    visitor.press("Undo").await;
    visitor.press("Undo").await;
    let undo = "//button[normalize-space()='Undo' and @disabled]";
    let is_undone = || async { visitor.client.find(Locator::XPath(undo)).await.is_ok() };
    visitor.until("all is undone", SOON, is_undone).await;
    visitor.until("the focus is not lost", SOON, has_focus).await;
    assert_shows(&visitor, &found).await;

    // In the left lower corner, where the phantom has nothing.
    visitor.press("New lesion").await;
    draw(&visitor, (0.05, 0.9), (0.15, 0.9)).await;
    visitor.wait_for("drawn by you", SOON).await;
    assert_eq!(visitor.lesions().await.len(), count + 1);
    visitor.press("Split").await;
    visitor.wait_for("part it with the eraser first", SOON).await;
    let drawn = report(&visitor).await;
    let drawn = &drawn.slices[0];
    let (new, small) = (drawn.lesions[0].clone(), areas(drawn)[0]);
    assert_eq!((new.origin, new.score, new.label), (Origin::Reader, 1.0, LesionKind::Lesion));
    let width = drawn.width as f32;
    assert!((new.bbox.width() - 0.1 * width - 8.0).abs() < 4.0, "{:?}", new.bbox);
    assert_eq!(drawn.corrections.as_ref().expect("corrections").model_lesions, before);

    // The brush goes on by keys from where the pointer left it.
    visitor.keys(".viewer", &format!("]]{} ", "\u{e015}".repeat(8))).await;
    visitor.press("Eraser").await;
    draw(&visitor, (0.04, 0.9), (0.06, 0.9)).await;
    visitor.select("Lesion 1 is", "Consolidation").await;
    // The list shows what the chosen lesion is, not what was chosen last.
    let lesion = |number: usize| format!(".lesions li:nth-child({number}) button");
    for (number, kind) in [(2, "Lesion"), (1, "Consolidation")] {
        let choice = visitor.client.find(Locator::Css(&lesion(number))).await.expect("a lesion");
        choice.click().await.expect("a click");
        let label = format!("Lesion {number} is");
        let shows = || async { visitor.text("body").await.unwrap_or_default().contains(&label) };
        visitor.until("it is chosen", SOON, shows).await;
        assert_eq!(visitor.chosen(&label).await, kind);
    }
    visitor.select("Class of this slice", "Control").await;
    visitor.wait_for("Your class: Control.", SOON).await;
    let edited = report(&visitor).await;
    let edited = &edited.slices[0];
    assert_eq!(edited.lesions[0].label, LesionKind::Consolidation);
    assert_ne!(areas(edited)[0], small);
    assert!(edited.lesions[0].bbox.x1 > new.bbox.x1, "the eraser took its left end away");
    assert!(edited.lesions[0].bbox.y2 > new.bbox.y2, "the keys drew below it");
    let made = edited.corrections.as_ref().expect("corrections");
    assert_eq!(made.class.as_ref().map(|given| given.class), Some(SliceClass::Control));
    if axe().is_file() {
        assert_accessible(&visitor, "while findings are corrected").await;
    }
    visitor.picture("corrections").await;

    visitor.press("COCO JSON").await;
    let coco: Value = serde_json::from_slice(&visitor.saved("coco.json").await).expect("COCO");
    assert_eq!(coco["annotations"][0]["origin"], "reader");
    assert_eq!(coco["annotations"][0]["area"], areas(edited)[0]);
    visitor.press("Table (CSV)").await;
    let table = visitor.saved("lesions.csv").await;
    assert!(String::from_utf8_lossy(&table).contains("Edited by a reader; lesions rejected: 0"));

    // By keys to the beginning, and to the end again.
    let control = |key: &str| format!("\u{e009}{key}\u{e000}");
    visitor.keys(".viewer", &control("z").repeat(9)).await;
    visitor.until("all is undone", SOON, || async { visitor.lesions().await.len() == count }).await;
    assert_shows(&visitor, &found).await;
    assert_eq!(report(&visitor).await.slices[0].corrections, None);
    visitor.keys(".viewer", &control("y").repeat(9)).await;
    visitor.wait_for("Your class: Control.", SOON).await;
    assert_eq!(&report(&visitor).await.slices[0].lesions, &edited.lesions);

    // Other files would cost the corrections: the page asks.
    let asks = || async {
        visitor.client.get_alert_text().await.is_ok_and(|text| text.contains("will be lost"))
    };
    visitor.press("Healthy phantom").await;
    visitor.until("the page asks", SOON, asks).await;
    visitor.client.dismiss_alert().await.expect("no");
    assert_eq!(visitor.lesions().await.len(), count + 1);
    visitor.press("Healthy phantom").await;
    visitor.until("the page asks again", SOON, asks).await;
    visitor.client.accept_alert().await.expect("yes");
    visitor.until("they are gone", SOON, || async { visitor.lesions().await.is_empty() }).await;
    visitor.leave().await;
}

/// A visitor who has run a series of two slices and drawn a lesion on the first.
pub async fn with_a_drawn_lesion(site: &Site, files: &[PathBuf]) -> Visitor {
    let visitor = with_opened(site, files).await;
    visitor.press("Run the other slice").await;
    visitor.wait_for("of 2 slices have lesions.", SOON).await;
    visitor.press("Correct").await;
    visitor.wait_for("Choose a lesion in the list above", SOON).await;
    visitor.press("New lesion").await;
    draw(&visitor, (0.05, 0.9), (0.15, 0.9)).await;
    visitor.wait_for("drawn by you", SOON).await;
    visitor
}

/// A DICOM series: undoing leads to the slice, and the segmentation says that a hand had a part in it.
pub async fn in_a_series() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 2, 60);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_a_drawn_lesion(&site, &files).await;
    visitor.press("Masks of this series (DICOM SEG)").await;
    let bytes = visitor.saved("seg.dcm").await;
    let segmentation = dicom_object::from_reader(&bytes[..]).expect("a DICOM object");
    let segments = segmentation.element(tags::SEGMENT_SEQUENCE).expect("segments");
    for segment in segments.items().expect("segments") {
        let kind = segment.element(tags::SEGMENT_ALGORITHM_TYPE).expect("a type");
        assert_eq!(kind.to_str().expect("a text"), "SEMIAUTOMATIC");
    }
    // A ruler that is begun here does not end on the other slice.
    visitor.press("Measure").await;
    visitor.keys(".viewer", " ").await;
    let drawn_on = visitor.attribute("#slice-number", "aria-valuetext").await;
    visitor
        .keys("#slice-number", if drawn_on.starts_with('1') { "\u{e014}" } else { "\u{e012}" })
        .await;
    let is_here =
        || async { visitor.attribute("#slice-number", "aria-valuetext").await == drawn_on };
    visitor.until("the other slice", SOON, || async { !is_here().await }).await;
    visitor.wait_for("Done:", SOON).await;
    visitor.keys(".viewer", "\u{e014} ").await;
    assert!(!visitor.text("body").await.unwrap_or_default().contains("ruler: "));
    visitor.press("Correct").await;
    visitor.press("Undo").await;
    visitor.until("the corrected slice is shown again", SOON, is_here).await;
    let is_undone = || async { !visitor.lesions().await.concat().contains("drawn by you") };
    visitor.until("it is undone", SOON, is_undone).await;

    // Pixels of the drawn series lie half a millimetre apart.
    visitor.press("Measure").await;
    draw(&visitor, (0.2, 0.2), (0.4, 0.2)).await;
    visitor.wait_for("ruler: 51.", SOON).await;
    visitor.press("Ellipse").await;
    let corner = format!("{}{}", "\u{e014}".repeat(10), "\u{e015}".repeat(10));
    visitor.keys(".viewer", &format!(" {corner} ")).await;
    visitor.wait_for("ellipse: 19.6 mm\u{b2}, mean ", SOON).await;
    assert!(!report(&visitor).await.is_corrected(), "what is measured changes no finding");
    visitor.press("Findings of this series (DICOM SR)").await;
    let bytes = visitor.saved("sr.dcm").await;
    let object = dicom_object::from_reader(&bytes[..]).expect("a DICOM object");
    let graphics = graphics(&object);
    assert!(graphics.iter().any(|(kind, points)| kind == "ELLIPSE" && points.len() == 8));
    assert!(graphics.iter().any(|(kind, points)| kind == "POLYLINE" && points.len() == 4));
    visitor.picture("measurements").await;
    visitor
        .client
        .find(Locator::Css("[aria-label='Remove measurement 1']"))
        .await
        .expect("a button")
        .click()
        .await
        .expect("a click");
    let is_gone = || async { !visitor.text("body").await.unwrap_or_default().contains("ruler: ") };
    visitor.until("the ruler is gone", SOON, is_gone).await;
    for _ in 0..3 {
        visitor.press("Undo").await;
    }
    assert!(report(&visitor).await.slices.iter().all(|slice| slice.measurements.is_empty()));
    visitor.leave().await;
}
