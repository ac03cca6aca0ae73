//! Which processor computes: graphics cards that are absent, emulated, lost or wrong; CPUs with fewer instructions.

use std::collections::BTreeMap;

use crate::site::Site;
use crate::visitor::{Visitor, WebGpu};
use crate::{GPU_SOON, SOON, assert_shows, native, ready_on_cpu, repository, with_manifest};

/// As Safari does, of which the page must not ask more.
pub async fn without_relaxed_simd() {
    let site = Site::with_program_after("start.js", "WebAssembly.validate = () => false;");
    let visitor = ready_on_cpu(&site).await;
    assert!(site.requests("/worker_cpu_bg.wasm") > 0, "the worker for all is fetched");
    assert_eq!(site.requests("/worker_cpu_fma_bg.wasm"), 0, "the other one is not");
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    assert_shows(&visitor, &native(&repository().join("www/samples/phantom-covid19.png"))).await;
    visitor.leave().await;
}

pub async fn without_web_gpu() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("?device=gpu")).await;
    visitor.wait_for("Ready.", SOON).await;
    let body = visitor.text("body").await.unwrap_or_default();
    assert!(body.contains("no WebGPU adapter") && body.contains("cpu (WebAssembly)"), "{body}");
    assert_eq!(site.requests("/worker_gpu_bg.wasm"), 0, "the large worker is not fetched");
    visitor.picture("without-webgpu").await;
    visitor.leave().await;
}

pub async fn a_lost_device() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(WebGpu::On).await;
    visitor.open(&site.url("?device=gpu")).await;
    visitor.wait_for("Ready.", GPU_SOON).await;
    // Ready means that WebGPU's answer on the self-test agrees with the stored values.
    let body = visitor.text("body").await.unwrap_or_default();
    assert!(body.contains("gpu (WebGPU"), "{body}");
    visitor.picture("webgpu").await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Working", SOON).await;
    visitor.crash_graphics();
    visitor.wait_for("The graphics card is no longer used", SOON).await;
    visitor.wait_for("Done:", SOON).await;
    let report = native(&repository().join("www/samples/phantom-covid19.png"));
    assert_shows(&visitor, &report).await;
    visitor.picture("lost-device").await;
    visitor.leave().await;
}

/// SwiftShader is no graphics card: the CPU is faster by far.
pub async fn a_software_gpu() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(WebGpu::On).await;
    visitor.open(&site.url("")).await;
    visitor.wait_for("emulated in software", GPU_SOON).await;
    visitor.wait_for("Ready.", SOON).await;
    assert!(visitor.text(".device").await.unwrap_or_default().starts_with("cpu"));
    visitor.leave().await;
}

/// About a minute on SwiftShader; the only full-size check of what a GPU visitor runs.
pub async fn a_full_slice_on_web_gpu() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(WebGpu::On).await;
    visitor.open(&site.url("?device=gpu")).await;
    visitor.wait_for("Ready.", GPU_SOON).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", 2 * GPU_SOON).await;
    assert!(visitor.text(".device").await.unwrap_or_default().starts_with("gpu (WebGPU"));
    assert_shows(&visitor, &native(&repository().join("www/samples/phantom-covid19.png"))).await;
    visitor.picture("webgpu-slice").await;
    visitor.leave().await;
}

pub async fn a_wrong_device() {
    // No device computes these values, so each is refused in turn.
    let site = with_manifest(|manifest| {
        for model in manifest.models.values_mut() {
            model.self_test.boxes[0] += 5.0;
        }
    });
    let visitor = Visitor::new(WebGpu::On).await;
    visitor.open(&site.url("?device=gpu")).await;
    visitor.wait_for("The graphics card is no longer used", GPU_SOON).await;
    visitor.wait_for("Nothing can be analysed here", SOON).await;
    let alert = visitor.alert().await.expect("an alert");
    assert!(alert.contains("wrong values"), "{alert}");
    visitor.picture("wrong-device").await;
    visitor.leave().await;
}
