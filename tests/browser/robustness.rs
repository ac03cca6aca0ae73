//! What can go wrong around the page: storage, other tabs, the background, many slices.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;

use super::common::dicom::write_phantom;
use super::site::Site;
use super::visitor::Visitor;
use super::{SOON, ready_on_cpu};

/// Growth over which the memory of many slices counts as a leak, in MiB.
const MOST_GROWTH: u64 = 200;

fn write_slices(folder: &std::path::Path, count: u64) -> Vec<PathBuf> {
    (0..count)
        .map(|index| {
            let path = folder.join(format!("slice{index}.dcm"));
            write_phantom(&path, 60 + index, 2.5 * index as f64);
            path
        })
        .collect()
}

/// Neither weights nor programs can be kept; everything else works.
pub async fn forbidden_storage() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::who_forbids_storage().await;
    visitor.open(&site.url("?device=cpu")).await;
    visitor.wait_for("Ready.", SOON).await;
    visitor.press("Healthy phantom").await;
    visitor.wait_for("Done:", SOON).await;
    assert_eq!(visitor.alert().await, None);
    visitor.leave().await;
}

/// Weights that do not fit the storage are fetched again the next time.
pub async fn full_storage() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(super::WebGpu::Off).await;
    let origin = site.url("").split("/some").next().unwrap_or_default().to_owned();
    let quota = json!({ "origin": origin, "quotaSize": 100_000 });
    visitor.devtools("Storage.overrideQuotaForOrigin", quota).await;
    for again in ["", "&again"] {
        visitor.open(&site.url(&format!("?device=cpu{again}"))).await;
        visitor.wait_for("Ready.", SOON).await;
    }
    visitor.press("Healthy phantom").await;
    visitor.wait_for("Done:", SOON).await;
    assert_eq!(visitor.alert().await, None);
    visitor.leave().await;
}

/// A series goes on while another tab, with the same page, lies before it.
pub async fn two_tabs() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_slices(folder.path(), 4);
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.choose_all(&files).await;
    visitor.wait_for("Done:", SOON).await;
    visitor.press("Run the other 3 slices").await;
    let first = visitor.client.window().await.expect("this tab");
    let other = visitor.client.new_window(true).await.expect("another tab");
    visitor.client.switch_to_window(other.handle).await.expect("the other tab");
    visitor.open(&site.url("?device=cpu")).await;
    visitor.wait_for("Ready.", 2 * SOON).await;
    visitor.press("Healthy phantom").await;
    visitor.wait_for("Done:", SOON).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    visitor.client.switch_to_window(first).await.expect("the first tab");
    let shown = visitor.text("body").await.unwrap_or_default();
    assert!(shown.contains("of 4 slices have lesions."), "it went on unseen: {shown}");
    visitor.leave().await;
}

/// Three hundred slices of 512 x 512; takes minutes, so it only runs if asked for.
pub async fn many_slices() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_slices(folder.path(), 300);
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    let before = visitor.memory();
    visitor.choose_all(&files).await;
    visitor.wait_for("Done:", 2 * SOON).await;
    let opened = visitor.memory();
    visitor.press("Run the other 299 slices").await;
    visitor.wait_for("30 of 300 done", 4 * SOON).await;
    let early = visitor.memory();
    visitor.wait_for("of 300 slices have lesions.", 20 * SOON).await;
    let late = visitor.memory();
    println!(
        "the tab's memory: {before} MiB ready, {opened} MiB with 300 slices opened, {early} MiB after 30, {late} MiB after 300"
    );
    visitor.picture("three-hundred").await;
    assert!(late < early + MOST_GROWTH, "{early} MiB grew to {late} MiB");
    visitor.leave().await;
}
