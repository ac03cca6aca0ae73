//! Offline, for everyone, and what the page tells about itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use groundglass::image::phantom::SliceClass;
use serde_json::{Value, json};

use super::site::Site;
use super::visitor::{Visitor, WebGpu};
use super::{SOON, assert_shows, native, ready_on_cpu, write_picture};

/// The accessibility checker: a development tool, so it is not part of the repository.
pub fn axe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/node_modules/axe-core/axe.min.js")
}

pub async fn offline() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_picture(folder.path(), "later.png", SliceClass::Covid19, 5);
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    let kept = "return (async () => {
        const names = (await caches.keys()).filter(name => name.startsWith('groundglass-app-'));
        const requests = await Promise.all(names.map(async name => (await caches.open(name)).keys()));
        return requests.flat().map(request => new URL(request.url).pathname);
    })()";
    let is_kept = || async {
        let paths = visitor.client.execute(kept, Vec::new()).await.expect("the caches").to_string();
        let wanted = [
            "worker_cpu_bg.wasm",
            "worker_cpu_loader.js",
            "reader_bg.wasm",
            "app_bg.wasm",
            "manifest.json",
        ];
        wanted.iter().all(|file| paths.contains(file))
    };
    visitor.until("all files are kept", SOON, || async { is_kept().await }).await;
    let paths = visitor.client.execute(kept, Vec::new()).await.expect("the caches").to_string();
    assert!(!paths.contains("worker_gpu"), "what is not used is not kept: {paths}");

    let address = site.url("?device=cpu");
    drop(site);
    visitor.open(&address).await;
    visitor.wait_for("Ready.", SOON).await;
    visitor.choose(&file).await;
    visitor.wait_for("Done:", SOON).await;
    assert_shows(&visitor, &native(&file)).await;
    let stored = visitor.client.execute(kept, Vec::new()).await.expect("the caches").to_string();
    assert!(!stored.contains("later.png"), "nothing of a visitor is stored: {stored}");
    visitor.picture("offline").await;
    visitor.leave().await;
}

/// Runs axe-core with the rules of WCAG 2.1 AA and fails with what it finds.
async fn assert_accessible(visitor: &Visitor, state: &str) {
    let source = std::fs::read_to_string(axe()).expect("axe-core");
    visitor.client.execute(&source, Vec::new()).await.expect("axe-core runs");
    let script = "const done = arguments[arguments.length - 1];
        axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] })
            .then(result => done(result.violations.map(v => [v.id, v.nodes.map(n => n.html + ' ' + n.failureSummary)])));";
    let found = visitor.client.execute_async(script, Vec::new()).await.expect("a result");
    assert_eq!(found, json!([]), "{state}: {found:#}");
}

pub async fn accessibility() {
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    assert_accessible(&visitor, "before a slice").await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    for sheet in ["Keys and pointer", "Diagnostics", "What identifies the patient"] {
        visitor.unfold(sheet).await;
    }
    assert_accessible(&visitor, "with a result").await;
    visitor.picture("sheets").await;
    visitor.client.set_window_size(500, 900).await.expect("another size");
    assert_accessible(&visitor, "on a phone").await;
    visitor.leave().await;

    let visitor = Visitor::in_the_dark().await;
    visitor.open(&site.url("?device=cpu")).await;
    visitor.wait_for("Ready.", SOON).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    assert_accessible(&visitor, "in the dark").await;
    visitor.picture("dark").await;
    visitor.leave().await;
}

pub async fn about() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_picture(folder.path(), "Mrs Somebody.png", SliceClass::Control, 6);
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("?device=cpu")).await;
    visitor.wait_for("Ready.", SOON).await;
    visitor.choose(&file).await;
    visitor.wait_for("Done:", SOON).await;
    visitor.unfold("Diagnostics").await;
    let diagnostics = visitor.text("pre[aria-label=Diagnostics]").await.expect("the diagnostics");
    for wanted in ["groundglass ", "device: cpu (WebAssembly)", "SHA-256", "features:", "total:"] {
        assert!(diagnostics.contains(wanted), "{wanted} is missing in {diagnostics}");
    }
    assert!(!diagnostics.contains("Somebody"), "{diagnostics}");
    let card = "return [...document.querySelectorAll('summary')]
        .find(s => s.textContent.startsWith('Model card')).parentElement.textContent";
    let card = visitor.client.execute(card, Vec::new()).await.expect("the card");
    let written = |text: &Value| text.as_str().is_some_and(|text| text.contains("patients"));
    assert!(written(&card), "{card}");
    visitor.picture("diagnostics").await;
    visitor.leave().await;
}
