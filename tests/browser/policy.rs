//! What the page promises and who is held to it: origins, updates, neighbours, names.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::dicom::write_series;
use crate::site::Site;
use crate::visitor::{Visitor, WebGpu};
use crate::{SOON, ready_on_cpu};

/// Runs `script` in the page; what it returns is waited for.
async fn ask(visitor: &Visitor, script: &str) -> serde_json::Value {
    let script = format!(
        "const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (error) => done(String(error)));"
    );
    visitor.client.execute_async(&script, Vec::new()).await.expect("an answer")
}

/// What every program tries: another origin, and code from text.
const TRY: &str = "const attempt = async () => {
        const found = [];
        try { await fetch('ELSEWHERE'); found.push('fetched'); } catch (error) { found.push(String(error)); }
        try { found.push(eval('\"evaluated\"')); } catch (error) { found.push(error.name); }
        return found.join(' ');
    };";

pub async fn every_program_is_bound() {
    let site = Site::serve(BTreeMap::new());
    // It answers whoever asks, so that only the policy can refuse.
    let elsewhere = Site::serve(BTreeMap::new());
    let attempt = TRY.replace("ELSEWHERE", &elsewhere.url("icon.svg"));
    let visitor = Visitor::new(WebGpu::Off).await;
    // Every worker of the page tells how it was started, and then runs what an attacker would.
    let source = format!(
        "window.started = [];
        window.Worker = class extends Worker {{
            constructor(url, options) {{
                super(url, options);
                window.started.push([options.name, String(url).slice(0, 5)]);
            }}
        }};
        window.attack = `{attempt} attempt().then((found) => postMessage(found));`;"
    );
    let source = json!({ "source": source });
    visitor.devtools("Page.addScriptToEvaluateOnNewDocument", source).await;
    visitor.open(&site.url("?device=cpu")).await;
    visitor.wait_for("Ready.", SOON).await;
    let started = ask(&visitor, "return window.started").await;
    let started = started.as_array().expect("a list");
    assert!(started.len() >= 2, "reader and worker: {started:?}");
    assert!(started.iter().all(|worker| worker[1] == "blob:"), "{started:?}");
    // A worker that is started as those are has the page's policy.
    let in_worker = "return await new Promise((resolve) => {
            const url = URL.createObjectURL(new Blob([window.attack], { type: 'text/javascript' }));
            const worker = new Worker(url, { name: 'attacker' });
            worker.onmessage = ({ data }) => resolve(data);
            setTimeout(resolve, 10000, 'no answer');
        })";
    // Later, by itself: what a debugger runs may evaluate whatever it likes.
    let in_page = format!(
        "{attempt} return await new Promise((resolve) => setTimeout(() => attempt().then(resolve)));"
    );
    for script in [in_worker, &in_page] {
        let found = ask(&visitor, script).await;
        let found = found.as_str().expect("a text");
        assert!(found.contains("Failed to fetch") && found.contains("EvalError"), "{found}");
    }
    assert_eq!(elsewhere.requests("icon.svg"), 0, "nothing reached the other origin");
    visitor.leave().await;
}

/// Paths below this site in all caches.
const KEPT: &str = "const names = await caches.keys();
    const all = await Promise.all(names.map(async (name) => (await (await caches.open(name)).keys()).map((request) => request.url)));
    return all.flat();";

pub async fn kept(visitor: &Visitor) -> String {
    ask(visitor, KEPT).await.to_string()
}

pub async fn updates() {
    let (first, second) =
        (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let pictures = tempfile::tempdir().expect("a folder");
    let own = crate::write_picture(pictures.path(), "own.png", crate::SliceClass::Covid19, 5);
    Site::write_version(first.path(), "111111111111");
    Site::write_version(second.path(), "222222222222");
    let site = Site::serve(BTreeMap::new());
    site.deploy(first.path());
    let address = site.url("?device=cpu");
    let visitor = ready_on_cpu(&site).await;
    let holds = |wanted: &'static str| {
        let visitor = &visitor;
        move || async move { kept(visitor).await.contains(wanted) }
    };
    visitor
        .until("the first version is kept", SOON, holds("app-111111111111/worker_cpu_fma_bg.wasm"))
        .await;

    // The second version, one visit.
    site.deploy(second.path());
    visitor.open(&address).await;
    visitor.wait_for("Ready.", SOON).await;
    assert!(site.requests("app-222222222222/worker_cpu_fma.js") > 0, "the new page runs");
    visitor
        .until("the second version is kept", SOON, holds("app-222222222222/worker_cpu_fma_bg.wasm"))
        .await;
    visitor.until("and its reader", SOON, holds("app-222222222222/reader_pictures_bg.wasm")).await;
    let whole = kept(&visitor).await;
    assert!(
        whole.contains("app-111111111111/worker_cpu_fma_bg.wasm"),
        "nothing old is gone before: {whole}"
    );
    // The visitor leaves, so that the new one may take over, and comes back without a network.
    visitor.open("about:blank").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(site);
    visitor.open(&address).await;
    visitor.wait_for("Ready.", SOON).await;
    let script = visitor.attribute("script[type=module]", "src").await;
    assert!(script.contains("app-222222222222"), "the new version runs: {script}");
    visitor.choose(&own).await;
    visitor.wait_for("Done:", SOON).await;
    visitor.leave().await;
}

/// Another application below the same address: its answers are not kept.
pub async fn neighbours() {
    let private = ("pacs/patients.json".to_owned(), br#"{"name":"Nobody^Real"}"#.to_vec());
    let site = Site::serve(BTreeMap::from([private]));
    let visitor = ready_on_cpu(&site).await;
    visitor
        .until("the page is kept", SOON, || async { kept(&visitor).await.contains("app_bg.wasm") })
        .await;
    visitor.open(&site.url("?device=cpu")).await;
    visitor.wait_for("Ready.", SOON).await;
    let answer =
        ask(&visitor, "return await (await fetch('pacs/patients.json?id=42')).text()").await;
    assert!(answer.to_string().contains("Nobody^Real"));
    for query in ["?a=1", "?a=2"] {
        let script = format!("return (await fetch('models/manifest.json{query}')).status");
        assert_eq!(ask(&visitor, &script).await, 200);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let kept = kept(&visitor).await;
    assert!(!kept.contains("pacs"), "{kept}");
    assert!(!kept.contains("?a="), "a query is no other file: {kept}");
    visitor.leave().await;
}

/// The reader hangs on one file: it is found, refused by name, and the others are there.
pub async fn a_hanging_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = write_series(folder.path(), 2, 40);
    let hanging = folder.path().join("hang.dcm");
    std::fs::copy(&files[0], &hanging).expect("a copy");
    files.insert(1, hanging.clone());
    let hang = "const read = FileReaderSync.prototype.readAsArrayBuffer;
        FileReaderSync.prototype.readAsArrayBuffer = function (file) {
            while (file.name === 'hang.dcm') {}
            return read.call(this, file);
        };";
    let site = Site::with_program_after("reader.js", hang);
    let visitor = ready_on_cpu(&site).await;
    visitor.choose_all(&files).await;
    // Another choice does not wait for it.
    visitor.wait_for("Opening file 2 of 3", SOON).await;
    let started = Instant::now();
    visitor.press("Healthy phantom").await;
    visitor.wait_for("Done:", SOON).await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    // Left alone, it is noticed.
    visitor.choose_all(&files).await;
    visitor.wait_for("hang.dcm: its decoder failed (it stopped responding)", 2 * SOON).await;
    visitor.wait_for("Done:", SOON).await;
    visitor.press("Run the other slice").await;
    visitor.wait_for("of 2 slices have lesions.", SOON).await;
    visitor.leave().await;
}

/// A sample that takes long does not replace what the visitor has chosen since.
pub async fn a_late_sample() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = crate::write_picture(folder.path(), "own.png", crate::SliceClass::Covid19, 5);
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    let slow = "const real = window.fetch;
        window.fetch = async (...given) => {
            const isSample = String(given[0]).includes('samples/');
            if (isSample) await new Promise((go) => setTimeout(go, 3000));
            const answer = await real(...given);
            if (isSample) setTimeout(() => { window.sampleCame = true; }, 500);
            return answer;
        };";
    visitor.client.execute(slow, Vec::new()).await.expect("a slow network");
    visitor.press("Healthy phantom").await;
    visitor.choose(&own).await;
    visitor.wait_for("Done:", SOON).await;
    let came = || async { ask(&visitor, "return window.sampleCame === true").await == true };
    visitor.until("the sample is there, too", SOON, came).await;
    let label = visitor.attribute("canvas", "aria-label").await;
    assert!(label.contains("own.png"), "{label}");
    visitor.leave().await;
}

/// A file goes while the page is open, and the reader is replaced: no other slice takes its name.
pub async fn changed_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 3, 60);
    let site = Site::serve(BTreeMap::new());
    let visitor = crate::robustness::with_reachable_workers(&site).await;
    visitor.choose_all(&files).await;
    visitor.wait_for("Done:", SOON).await;
    visitor.press("Run the other 2 slices").await;
    visitor.wait_for("of 3 slices have lesions.", SOON).await;
    std::fs::remove_file(&files[0]).expect("a removed file");
    visitor
        .client
        .execute(crate::robustness::KILL, vec![json!("reader")])
        .await
        .expect("a killed reader");
    visitor.wait_for("The files have changed since they were opened", SOON).await;
    visitor.press("This slice with lesions (PNG)").await;
    visitor.wait_for("not those any more that the findings belong to", SOON).await;
    // What was computed is not lost.
    visitor.press("Table (CSV)").await;
    let table = visitor.saved("_lesions.csv").await;
    let table = String::from_utf8_lossy(&table).into_owned();
    assert!(table.contains("slice1.dcm") && table.contains("slice3.dcm"), "{table}");
    visitor.leave().await;
}

/// A file that was written over, with its size and time: its old findings are not drawn on it.
pub async fn overwritten_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let files: Vec<_> = (0..2)
        .map(|n| {
            let name = format!("{n}.png");
            crate::write_picture(folder.path(), &name, crate::SliceClass::Covid19, 30 + n)
        })
        .collect();
    let site = Site::serve(BTreeMap::new());
    let visitor = crate::robustness::with_reachable_workers(&site).await;
    visitor.choose(&files[0]).await;
    visitor.wait_for("Done:", SOON).await;
    let time = std::fs::metadata(&files[0]).and_then(|known| known.modified()).expect("a time");
    let mut other = std::fs::read(&files[1]).expect("another picture");
    let size = std::fs::metadata(&files[0]).expect("a size").len() as usize;
    // Behind the picture nothing is read.
    other.resize(size.max(other.len()), 0);
    std::fs::write(&files[0], other).expect("an overwritten file");
    let file = std::fs::File::options().write(true).open(&files[0]).expect("the file");
    file.set_modified(time).expect("its time");
    visitor
        .client
        .execute(crate::robustness::KILL, vec![json!("reader")])
        .await
        .expect("a killed reader");
    // Chromium may refuse to read it at all, which is as good.
    let is_noticed = || async {
        let shown = visitor.text("body").await.unwrap_or_default();
        shown.contains("The files have changed") || shown.contains("could not open")
    };
    visitor.until("the change is noticed", SOON, is_noticed).await;
    visitor.press("This slice with lesions (PNG)").await;
    visitor.wait_for("not those any more that the findings belong to", SOON).await;
    visitor.press("Table (CSV)").await;
    visitor.saved("_lesions.csv").await;
    visitor.leave().await;
}

/// A model that could not be downloaded is asked for again when there is something to compute.
pub async fn a_network_that_comes_back() {
    let root = tempfile::tempdir().expect("a folder");
    Site::write_version(root.path(), "333333333333");
    let manifest = root.path().join("models/manifest.json");
    let text = std::fs::read(&manifest).expect("the manifest");
    std::fs::remove_file(&manifest).expect("no manifest");
    let site = Site::serve(BTreeMap::new());
    site.deploy(root.path());
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("?device=cpu")).await;
    visitor.until("the failure is said", SOON, || async { visitor.alert().await.is_some() }).await;
    std::fs::write(&manifest, text).expect("the manifest");
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    visitor.leave().await;
}

/// The site gets another model while the page is open: nothing of it stands under the name of the first.
pub async fn a_site_that_changes_its_model() {
    let root = tempfile::tempdir().expect("a folder");
    Site::write_version(root.path(), "444444444444");
    let site = Site::serve(BTreeMap::new());
    site.deploy(root.path());
    let visitor = crate::robustness::with_reachable_workers(&site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    let path = root.path().join("models/manifest.json");
    let mut manifest = crate::manifest();
    let first = manifest.default.clone();
    let other = manifest.models.keys().find(|name| **name != first).expect("two models").clone();
    manifest.default = other;
    std::fs::write(path, serde_json::to_vec(&manifest).expect("JSON")).expect("a manifest");
    visitor
        .client
        .execute(crate::robustness::KILL, vec![json!("worker_cpu")])
        .await
        .expect("a killed worker");
    visitor.wait_for("The site has another model now", SOON).await;
    visitor.press("Report (JSON)").await;
    let report = visitor.saved(".json").await;
    assert!(String::from_utf8_lossy(&report).contains(&first));
    visitor.leave().await;
}

/// Paused while the worker waits for the reader: nothing seems to run, and the rest can follow.
pub async fn a_pause_between_two_slices() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 4, 20);
    let slow = "const read = FileReaderSync.prototype.readAsArrayBuffer;
        FileReaderSync.prototype.readAsArrayBuffer = function (file) {
            for (const end = Date.now() + 2500; Date.now() < end;) {}
            return read.call(this, file);
        };";
    let site = Site::with_program_after("reader.js", slow);
    let visitor = ready_on_cpu(&site).await;
    visitor.choose_all(&files).await;
    visitor.wait_for("Done:", 2 * SOON).await;
    visitor.press("Run the other 3 slices").await;
    // The first is not even read: no worker has anything to do.
    visitor.press("Pause").await;
    visitor.wait_for("Paused.", SOON).await;
    let is_offered = || async {
        let path = "//button[starts-with(normalize-space(), 'Run the other') and not(@disabled)]";
        visitor.client.find(fantoccini::Locator::XPath(path)).await.is_ok()
    };
    visitor.until("the rest can follow", SOON, is_offered).await;
    visitor.leave().await;
}

/// Files that are opened while an export is written do not cost it.
pub async fn an_export_under_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 5, 70);
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.choose_all(&files).await;
    visitor.wait_for("Done:", SOON).await;
    visitor.press("Run the other 4 slices").await;
    visitor.wait_for("of 5 slices have lesions.", SOON).await;
    visitor.press("Report (HTML)").await;
    visitor.choose(&files[2]).await;
    let report = visitor.saved("_report.html").await;
    assert!(String::from_utf8_lossy(&report).contains("slice1.dcm"));
    visitor.wait_for("Done:", SOON).await;
    visitor.leave().await;
}

/// A test pattern gets a sentence, and a verdict only when it is asked for.
pub async fn no_chest() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pattern.png");
    let pattern = image::GrayImage::from_fn(256, 256, |x, y| image::Luma([((x ^ y) & 0xff) as u8]));
    pattern.save(&file).expect("a picture");
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.choose(&file).await;
    visitor.wait_for("This slice was not analysed", SOON).await;
    assert!(visitor.client.find(fantoccini::Locator::Css("[role=meter]")).await.is_err());
    visitor.picture("no-chest").await;
    visitor.press("Analyse it anyway").await;
    visitor.wait_for("The model was not designed for this kind of slice", SOON).await;
    visitor.leave().await;
}
