//! What can go wrong around the page: storage, other tabs, the background, many slices.

use std::collections::BTreeMap;
use std::time::Instant;

use groundglass::report::Report;
use serde_json::json;

use super::common::dicom::write_series;
use super::site::Site;
use super::visitor::Visitor;
use super::{GPU_SOON, SOON, WebGpu, assert_shows, native, ready_on_cpu, repository, with_opened};

/// Growth over which the memory of many slices counts as a leak, in MiB.
const MOST_GROWTH: u64 = 200;

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
    let visitor = Visitor::new(WebGpu::Off).await;
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

/// A series continues while another tab, with the same page, lies before it.
pub async fn two_tabs() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 4, 60);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_opened(&site, &files).await;
    visitor.press("Run the other 3 slices").await;
    // What a tab shows can be read from another one that way alone.
    let told = "const tell = () => localStorage.setItem('shown', document.body.innerText);
        new MutationObserver(tell).observe(document.body, { subtree: true, childList: true, characterData: true });
        tell();";
    visitor.client.execute(told, Vec::new()).await.expect("an observer");
    let first = visitor.client.window().await.expect("this tab");
    let other = visitor.client.new_window(true).await.expect("another tab");
    visitor.client.switch_to_window(other.handle).await.expect("the other tab");
    visitor.open(&site.url("?device=cpu")).await;
    visitor.wait_for("Ready.", 2 * SOON).await;
    visitor.press("Healthy phantom").await;
    visitor.wait_for("Done:", SOON).await;
    let is_done = || async {
        let shown =
            visitor.client.execute("return localStorage.getItem('shown')", Vec::new()).await;
        shown.expect("a text").to_string().contains("of 4 slices have lesions.")
    };
    visitor.until("it continued unseen", SOON, is_done).await;
    visitor.client.switch_to_window(first).await.expect("the first tab");
    let shown = visitor.text("body").await.unwrap_or_default();
    assert!(shown.contains("of 4 slices have lesions."), "{shown}");
    visitor.leave().await;
}

/// Three hundred slices of 512 x 512; takes minutes, so it only runs if asked for.
pub async fn many_slices() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 300, 60);
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    let before = visitor.memory();
    visitor.choose_all(&files).await;
    visitor.wait_for("Done:", 2 * SOON).await;
    let opened = visitor.memory();
    let begun = Instant::now();
    visitor.press("Coronal and sagittal").await;
    visitor.until("both planes", SOON, || async { visitor.count(".plane").await == 2 }).await;
    let first_seen = begun.elapsed().as_secs_f64();
    let is_read = || async { visitor.text(".sections > p").await.as_deref() == Some("") };
    visitor.until("all slices in the planes", 2 * SOON, is_read).await;
    let whole = begun.elapsed().as_secs_f64();
    let planes = visitor.memory();
    visitor.picture("three-hundred-planes").await;
    println!("planes: seen after {first_seen:.1} s, whole after {whole:.1} s, {planes} MiB then");
    visitor.press("Coronal and sagittal").await;
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

/// Keeps every worker that the page starts within reach, as `workers`.
const REACHABLE: &str = "window.workers = [];
    window.Worker = class extends Worker {
        constructor(...given) { super(...given); window.workers.push([given[1].name, this]); }
    };";

/// Ends the last worker of a program as an exhausted browser does.
pub const KILL: &str =
    "const [name, worker] = window.workers.filter(([name]) => name.includes(arguments[0])).pop();
    worker.terminate();
    worker.dispatchEvent(new ErrorEvent('error', { message: 'out of memory' }));";

pub async fn with_reachable_workers(site: &Site) -> Visitor {
    let visitor = Visitor::new(WebGpu::Off).await;
    let source = json!({ "source": REACHABLE });
    visitor.devtools("Page.addScriptToEvaluateOnNewDocument", source).await;
    visitor.open(&site.url("?device=cpu&workers=1")).await;
    visitor.wait_for("Ready.", SOON).await;
    visitor
}

/// Worker and reader are ended in the middle of a series: others take over, and nothing is lost.
pub async fn killed_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 6, 90);
    let site = Site::serve(BTreeMap::new());
    let visitor = with_reachable_workers(&site).await;
    visitor.choose_all(&files).await;
    visitor.wait_for("Done:", SOON).await;
    visitor.press("Run the other 5 slices").await;
    visitor.wait_for("2 of 6 done", SOON).await;
    for (program, notice) in [
        ("worker_cpu", "The worker was restarted: out of memory"),
        ("reader", "The reader was restarted"),
    ] {
        visitor.client.execute(KILL, vec![json!(program)]).await.expect("a killed program");
        visitor.wait_for(notice, SOON).await;
    }
    visitor.wait_for("of 6 slices have lesions.", SOON).await;
    assert_shows(&visitor, &native(&files[3])).await;
    // One that breaks while nothing runs leaves nothing that seems to run.
    const READERS: &str =
        "return window.workers.filter(([name]) => name.includes('reader')).length";
    let readers = || async {
        let count = visitor.client.execute(READERS, Vec::new()).await.expect("a count");
        count.as_u64().expect("a count")
    };
    let before = readers().await;
    visitor.client.execute(KILL, vec![json!("reader")]).await.expect("a killed reader");
    visitor.until("another reader", SOON, || async { readers().await > before }).await;
    let is_at_rest = || async {
        let status = visitor.status().await;
        !status.contains("Opening")
            && visitor.text("body").await.unwrap_or_default().contains("Done:")
    };
    visitor.until("nothing seems to run", SOON, is_at_rest).await;
    assert_eq!(visitor.alert().await, None);
    visitor.leave().await;
}

/// A worker that says nothing any more is noticed, too.
pub async fn a_silent_worker() {
    let site = Site::serve(BTreeMap::new());
    let visitor = with_reachable_workers(&site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Working: computing features", SOON).await;
    let silence =
        "window.workers.filter(([name]) => name.includes('worker_cpu')).pop()[1].terminate()";
    visitor.client.execute(silence, Vec::new()).await.expect("a silent worker");
    visitor.wait_for("The worker was restarted: it stopped responding", 2 * SOON).await;
    visitor.wait_for("Done:", SOON).await;
    assert_shows(&visitor, &native(&repository().join("www/samples/phantom-covid19.png"))).await;
    visitor.leave().await;
}

/// However many workers share a series, the report is the same.
pub async fn several_workers() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = write_series(folder.path(), 16, 120);
    let site = Site::serve(BTreeMap::new());
    let mut seen = Vec::new();
    for workers in ["1", "2"] {
        let visitor = Visitor::new(WebGpu::Off).await;
        visitor.open(&site.url(&format!("?device=cpu&workers={workers}"))).await;
        visitor.wait_for("Ready.", SOON).await;
        visitor.choose_all(&files).await;
        visitor.wait_for("Done:", SOON).await;
        let started = Instant::now();
        visitor.press("Run the other 15 slices").await;
        if workers == "2" {
            visitor.wait_for("Working on 2 slices at once", SOON).await;
        }
        visitor.wait_for("of 16 slices have lesions.", SOON).await;
        println!("15 slices, {workers} workers: {:.1} s", started.elapsed().as_secs_f64());
        visitor.press("Report (JSON)").await;
        let report: Report =
            serde_json::from_slice(&visitor.saved("report.json").await).expect("JSON");
        let lesions: Vec<_> = report.slices.iter().map(|slice| slice.lesions.clone()).collect();
        seen.push((lesions, report.slices.iter().map(|slice| slice.classes).collect::<Vec<_>>()));
        visitor.leave().await;
    }
    assert_eq!(seen[0], seen[1]);
}

/// A graphics card without memory for a slice: the CPU takes over with the same slice.
pub async fn gpu_memory() {
    // The worker's own program is told so by its device, after the start-up check.
    let told = "const request = GPUAdapter.prototype.requestDevice;
        GPUAdapter.prototype.requestDevice = async function (...given) {
            const device = await request.apply(this, given);
            self.addEventListener('message', ({ data }) => {
                if (!data.message?.Predict) return;
                const error = new GPUOutOfMemoryError('no memory for a buffer');
                setTimeout(() => device.dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror', { error })));
            });
            return device;
        };";
    let site = Site::with_program_after("worker_gpu.js", told);
    let visitor = Visitor::new(WebGpu::On).await;
    visitor.open(&site.url("?device=gpu")).await;
    visitor.wait_for("Ready.", GPU_SOON).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("The graphics card is no longer used", SOON).await;
    let body = visitor.text("body").await.unwrap_or_default();
    assert!(body.contains("Out of Memory"), "{body}");
    visitor.wait_for("Done:", SOON).await;
    assert_shows(&visitor, &native(&repository().join("www/samples/phantom-covid19.png"))).await;
    visitor.leave().await;
}
