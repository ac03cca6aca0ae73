//! Weights that are damaged, unknown, or there already.

use std::collections::BTreeMap;

use groundglass::report::Report;

use crate::site::Site;
use crate::visitor::{Visitor, WebGpu};
use crate::{SOON, assert_shows, default_weights, native, native_with, ready_on_cpu, repository};

pub async fn damaged_weights() {
    let file = default_weights();
    let mut bytes = std::fs::read(repository().join("models").join(&file)).expect("the weights");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let site = Site::serve(BTreeMap::from([(format!("models/{file}"), bytes)]));
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("")).await;
    visitor.wait_for("The model cannot be used", SOON).await;
    let alert = visitor.alert().await.expect("an alert");
    assert!(alert.contains(&file) && alert.contains("SHA-256"), "{alert}");
    visitor.picture("damaged-weights").await;
    visitor.leave().await;
}

pub async fn an_unknown_model() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("?model=resnet99")).await;
    visitor.wait_for("unknown model `resnet99`", SOON).await;
    visitor.leave().await;
}

pub async fn cached_weights() {
    let site = Site::serve(BTreeMap::new());
    let file = format!("models/{}", default_weights());
    let visitor = ready_on_cpu(&site).await;
    assert_eq!(site.requests(&file), 1);
    visitor.open(&site.url("?device=cpu&again")).await;
    visitor.wait_for("Ready.", SOON).await;
    assert_eq!(site.requests(&file), 1);
    visitor.leave().await;
}

/// What was found with the model before is gone, and the slice is looked at again; a device that is chosen keeps it.
pub async fn another_model() {
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    assert_eq!(visitor.chosen("Model").await, "resnet18t2");
    visitor.select("Model", "resnet18t1").await;
    visitor.wait_for(", model resnet18t1", SOON).await;
    visitor.wait_for("Done:", SOON).await;
    let sample = repository().join("www/samples/phantom-covid19.png");
    let found = native_with(Some("resnet18t1"), &sample);
    assert_ne!(found.lesions.len(), 0);
    assert_shows(&visitor, &found).await;
    visitor.unfold("Model card: resnet18t1").await;
    visitor.wait_for("Model card: resnet18t1", SOON).await;
    visitor.press("Report (JSON)").await;
    let report: Report = serde_json::from_slice(&visitor.saved("report.json").await).expect("JSON");
    let model = report.model.segmentation.expect("a model");
    assert_eq!(model.sha256, file_hash("resnet18t1"));
    visitor.picture("another-model").await;

    visitor.select("Compute on", "graphics card (WebGPU)").await;
    visitor.wait_for("no WebGPU adapter", SOON).await;
    visitor.wait_for("cpu (WebAssembly)", SOON).await;
    assert_shows(&visitor, &found).await;
    visitor.leave().await;
}

/// A file of weights that the site does not list finds what it finds natively, and leaves the way back open.
pub async fn an_own_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, damaged) = (folder.path().join("own.bpk"), folder.path().join("damaged.bpk"));
    let weights = std::fs::read(repository().join("models/resnet18t1.bpk")).expect("weights");
    std::fs::write(&own, &weights).expect("a file");
    std::fs::write(&damaged, &weights[..weights.len() / 2]).expect("a file");
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    let requests = site.requests(".bpk");
    visitor.choose(&own).await;
    visitor.wait_for(", model own.bpk", SOON).await;
    visitor.wait_for("Done:", SOON).await;
    let sample = repository().join("www/samples/phantom-covid19.png");
    assert_shows(&visitor, &native_with(Some("resnet18t1"), &sample)).await;
    assert_eq!(visitor.chosen("Model").await, "own.bpk");
    assert_eq!(site.requests(".bpk"), requests, "nothing is fetched");
    visitor.press("Report (JSON)").await;
    let report: Report = serde_json::from_slice(&visitor.saved("report.json").await).expect("JSON");
    let model = report.model.segmentation.expect("a model");
    assert_eq!((model.name.as_str(), model.sha256), ("own.bpk", file_hash("resnet18t1")));

    visitor.unfold("Diagnostics").await;
    visitor.wait_for("model: a file of the user's", SOON).await;

    visitor.choose(&damaged).await;
    visitor.wait_for("damaged.bpk: ", SOON).await;
    visitor.select("Model", "resnet18t2").await;
    visitor.wait_for(", model resnet18t2", SOON).await;
    visitor.wait_for("Done:", SOON).await;
    assert_shows(&visitor, &native(&sample)).await;
    visitor.leave().await;
}

/// The hash of the weights' file of a model.
fn file_hash(model: &str) -> String {
    let manifest = crate::manifest();
    let (_, entry) = manifest.model(Some(model)).expect("the model");
    let file = entry.files().into_iter().next().expect("a file").to_owned();
    manifest.files[&file].sha256.clone()
}
