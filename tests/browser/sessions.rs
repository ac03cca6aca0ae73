//! A session is saved, and gone on with after the page was closed.

use std::collections::BTreeMap;
use std::fs;

use groundglass::report::Report;

use super::common::dicom::write_series;
use super::corrections::{report, with_a_drawn_lesion};
use super::site::Site;
use super::{SOON, ready_on_cpu, with_opened};

/// What a report says, without what the clock says.
fn timeless(mut report: Report) -> Report {
    for slice in &mut report.slices {
        slice.milliseconds.clear();
    }
    report
}

/// A series is corrected, saved and opened again: with its images, over its images, and not over others.
pub async fn saved_and_resumed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = write_series(folder.path(), 2, 60);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_a_drawn_lesion(&site, &files).await;
    let before = timeless(report(&visitor).await);
    assert!(before.is_corrected());
    visitor.press("Session (ZIP)").await;
    let session = visitor.saved("_session.zip").await;
    visitor.leave().await;

    // Together with the images, whatever they are called by now.
    let moved = folder.path().join("moved.dcm");
    fs::rename(&files[0], &moved).expect("another name");
    let name = files[0].file_name().expect("a name").to_string_lossy().into_owned();
    files[0] = moved;
    let kept = folder.path().join("kept_session.zip");
    fs::write(&kept, &session).expect("a session");
    let visitor = with_opened(&site, &[files.clone(), vec![kept.clone()]].concat()).await;
    visitor.wait_for("of 2 slices have lesions.", SOON).await;
    visitor.wait_for("drawn by you", SOON).await;
    let mut after = timeless(report(&visitor).await);
    for slice in &mut after.slices {
        if slice.source == "moved.dcm" {
            slice.source.clone_from(&name);
        }
    }
    after.slices.sort_by(|one, other| one.source.cmp(&other.source));
    let mut expected = before;
    expected.slices.sort_by(|one, other| one.source.cmp(&other.source));
    assert_eq!(after.slices, expected.slices);
    visitor.picture("session").await;
    visitor.leave().await;

    // Alone, over the images that are open.
    let visitor = with_opened(&site, &files).await;
    visitor.choose(&kept).await;
    visitor.wait_for("drawn by you", SOON).await;
    assert_eq!(report(&visitor).await.slices.len(), 2);
    visitor.leave().await;

    of_a_picture(&site, folder.path()).await;
    unusable(&site, &session, folder.path()).await;
}

/// The JSON report of a corrected series is opened again: with its images, over its images, and not over others.
pub async fn reports_reopened() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 2, 60);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_a_drawn_lesion(&site, &files).await;
    let before = timeless(report(&visitor).await);
    visitor.leave().await;
    let json = folder.path().join("findings.json");
    fs::write(&json, serde_json::to_vec(&before).expect("JSON")).expect("a file");
    let visitor = with_opened(&site, &[files.clone(), vec![json.clone()]].concat()).await;
    visitor.wait_for("of 2 slices have lesions.", SOON).await;
    // The first slice with findings is shown.
    visitor.slide("Slice", "2").await;
    visitor.wait_for("drawn by you", SOON).await;
    assert_eq!(timeless(report(&visitor).await).slices, before.slices);
    visitor.leave().await;

    let visitor = with_opened(&site, &files).await;
    let other = folder.path().join("other.json");
    fs::write(&other, b"{\"type\": \"FeatureCollection\"}").expect("a file");
    visitor.choose(&other).await;
    visitor.wait_for("no report of this program", SOON).await;
    visitor.choose(&json).await;
    visitor.wait_for("of 2 slices have lesions.", SOON).await;
    visitor.slide("Slice", "2").await;
    visitor.wait_for("drawn by you", SOON).await;
    assert_eq!(timeless(report(&visitor).await).slices, before.slices);
    visitor.leave().await;

    // The reader of pictures leaves it to that of every format.
    let visitor = ready_on_cpu(&site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    let own = timeless(report(&visitor).await);
    let of_picture = folder.path().join("picture.json");
    fs::write(&of_picture, serde_json::to_vec(&own).expect("JSON")).expect("a file");
    visitor.choose(&of_picture).await;
    visitor.wait_for("Done:", SOON).await;
    assert_eq!(visitor.alert().await, None);
    assert_eq!(timeless(report(&visitor).await), own);
    visitor.choose(&json).await;
    visitor.wait_for("belong to other images", SOON).await;
    visitor.leave().await;
}

/// The reader of pictures leaves sessions to that of every format.
async fn of_a_picture(site: &Site, folder: &std::path::Path) {
    let visitor = ready_on_cpu(site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    let before = timeless(report(&visitor).await);
    visitor.press("Session (ZIP)").await;
    let session = folder.join("picture_session.zip");
    fs::write(&session, visitor.saved("_session.zip").await).expect("a file");
    visitor.choose(&session).await;
    visitor.wait_for("Done:", SOON).await;
    assert_eq!(visitor.alert().await, None);
    assert_eq!(timeless(report(&visitor).await), before);
    visitor.leave().await;
}

/// Sessions that are cut off, changed, of other images, or without any.
async fn unusable(site: &Site, session: &[u8], folder: &std::path::Path) {
    let visitor = ready_on_cpu(site).await;
    let broken = folder.join("broken_session.zip");
    let mut changed = session.to_vec();
    let place = changed.len() / 3;
    changed[place] ^= 1;
    let cases: [(&[u8], &str); 3] = [
        (&session[..session.len() / 2], "is damaged"),
        (session, "no images"),
        (&changed, "is damaged"),
    ];
    for (bytes, wanted) in cases {
        fs::write(&broken, bytes).expect("a file");
        visitor.choose(&broken).await;
        visitor.wait_for(wanted, SOON).await;
        assert!(visitor.alert().await.expect("an alert").contains(wanted));
    }
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    fs::write(&broken, session).expect("a file");
    visitor.choose(&broken).await;
    visitor.wait_for("belong to other images", SOON).await;
    visitor.wait_for("Done:", SOON).await;
    assert!(!visitor.lesions().await.is_empty(), "they are predicted all the same");
    visitor.leave().await;
}
