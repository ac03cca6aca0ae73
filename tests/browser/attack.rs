//! A visitor who does everything at once: files, cancels, crashes, no network, other languages, in any order.
//!
//! Short by default; `GROUNDGLASS_ATTACK_SECONDS=600` attacks for ten minutes, `GROUNDGLASS_ATTACK_SEED=N` in
//! the order of a run that printed N.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use fantoccini::Locator;
use groundglass::classes::SliceClass;
use groundglass::image::phantom::draw;
use groundglass::report::Report;
use groundglass::report::SliceReport;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::policy::kept;
use crate::robustness::{KILL, with_reachable_workers};
use crate::site::Site;
use crate::visitor::Visitor;
use crate::{SOON, native};

/// What is shown of a slice that is done: its name, and the chances in percent.
const SHOWN: &str = "const name = document.querySelector('.slice .source');
    const meters = [...document.querySelectorAll('[role=meter]')].map(meter => Number(meter.getAttribute('aria-valuenow')));
    return [name ? name.textContent : '', meters];";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Slices of different patients, each with what the native program says of it.
fn slices(folder: &Path) -> BTreeMap<String, (PathBuf, SliceReport)> {
    let classes = [SliceClass::Control, SliceClass::CommonPneumonia, SliceClass::Covid19];
    let draw_one = |place: usize| {
        let slice = draw(classes[place % 3], 100 + place as u64).slice;
        let path = folder.join(format!("patient{place}.png"));
        let picture =
            image::GrayImage::from_raw(slice.width as u32, slice.height as u32, slice.pixels);
        picture.expect("a picture").save(&path).expect("a written picture");
        let report = native(&path);
        (format!("patient{place}.png"), (path, report))
    };
    (0..9).map(draw_one).collect()
}

fn same_classes(report: &SliceReport, percent: &[f64]) -> bool {
    let Some(classes) = report.classes else { return percent.is_empty() };
    let expected = [classes.control, classes.common_pneumonia, classes.covid19];
    percent.len() == 3
        && percent.iter().zip(expected).all(|(a, e)| (a - f64::from(e) * 100.0).abs() < 0.3)
}

/// Clicks the first button whose text begins so, if there is one.
async fn press_if_there(visitor: &Visitor, starts: &[&str]) {
    for start in starts {
        let path = format!(
            "//button[starts-with(normalize-space(), '{start}') and not(@disabled or @aria-disabled)]"
        );
        if let Ok(button) = visitor.client.find(Locator::XPath(&path)).await {
            let lies_in_a_sheet =
                button.is_displayed().await.is_ok_and(|is_displayed| !is_displayed);
            // Gone again, or under something else: another step will do.
            if lies_in_a_sheet {
                let _ = visitor.toggle_sheet().await;
            }
            let _ = button.click().await;
            if lies_in_a_sheet {
                let _ = visitor.toggle_sheet().await;
            }
            return;
        }
    }
}

/// Gives files to the input, whatever the language of its label.
async fn choose(visitor: &Visitor, files: &[PathBuf]) {
    let paths: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let input = visitor.client.find(Locator::Id("slice-file")).await.expect("the input");
    input.send_keys(&paths.join("\n")).await.expect("paths");
}

async fn network(visitor: &Visitor, offline: bool) {
    let conditions = json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    visitor.devtools("Network.emulateNetworkConditions", conditions).await;
}

/// Whatever happens, no finding stands under another name, nothing that was saved is of another slice, and the
/// page continues.
pub async fn everything_at_once() {
    let seconds = number("GROUNDGLASS_ATTACK_SECONDS").unwrap_or(40);
    let seed = number("GROUNDGLASS_ATTACK_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.as_secs()
    });
    println!("attacked for {seconds} s with GROUNDGLASS_ATTACK_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let slices = slices(folder.path());
    let broken = folder.path().join("broken.dcm");
    let bytes = [&[0; 128][..], b"DICM", &[2, 0, 0x10, 0, b'U', b'I', 0xff, 0xff, 1]].concat();
    std::fs::write(&broken, bytes).expect("a broken file");
    let mut files: Vec<PathBuf> = slices.values().map(|(path, _)| path.clone()).collect();
    files.push(broken);

    let versions = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    for (version, name) in versions.iter().zip(["aaaaaaaaaaaa", "bbbbbbbbbbbb"]) {
        Site::write_version(version.path(), name);
    }
    let site = Site::serve(BTreeMap::new());
    site.deploy(versions[0].path());
    let visitor = with_reachable_workers(&site).await;
    // From the second visit on the page is the service worker's, and survives updates.
    let is_kept = || async { kept(&visitor).await.contains("app-aaaaaaaaaaaa/reader_bg.wasm") };
    visitor.until("the page is kept", 2 * SOON, is_kept).await;
    visitor.open(&site.url("?device=cpu&workers=1")).await;
    visitor.wait_for("Ready.", SOON).await;
    visitor.devtools("Network.enable", json!({})).await;
    let (mut steps, mut checks) = (0, 0);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        steps += 1;
        match rng.random_range(0..16) {
            0..3 => {
                let count = rng.random_range(1..=5);
                let chosen: Vec<PathBuf> = files.sample(&mut rng, count).cloned().collect();
                choose(&visitor, &chosen).await;
            }
            3 => press_if_there(&visitor, &["COVID-19 phantom", "Phantom COVID-19"]).await,
            4 if rng.random_bool(0.5) => press_if_there(&visitor, &["Pause"]).await,
            4 => press_if_there(&visitor, &["Cancel", "Abbrechen"]).await,
            5..8 => press_if_there(&visitor, &["Run the other", "Die andere"]).await,
            place @ 8..10 => {
                let program = if place == 8 { "worker_cpu" } else { "reader" };
                // None may be there at the moment.
                let _ = visitor.client.execute(KILL, vec![json!(program)]).await;
            }
            10 if rng.random_bool(0.3) => {
                site.deploy(versions[rng.random_range(0..2)].path());
                let update =
                    "navigator.serviceWorker.getRegistration().then(known => known?.update())";
                visitor.client.execute(update, Vec::new()).await.expect("a look for updates");
            }
            10 => network(&visitor, rng.random_bool(0.5)).await,
            11 => {
                let script = "const list = [...document.querySelectorAll('select')].find(list => [...list.options].some(option => option.lang === 'de'));
                    list.selectedIndex = 1 - list.selectedIndex;
                    list.dispatchEvent(new Event('change', { bubbles: true }));";
                visitor.client.execute(script, Vec::new()).await.expect("another language");
            }
            12..14 => press_if_there(&visitor, &["Report (JSON)", "Bericht (JSON)"]).await,
            14 => {
                let script = "document.querySelector('.slice canvas')?.dispatchEvent(new WheelEvent('wheel', { deltaY: 100, bubbles: true, cancelable: true }))";
                visitor.client.execute(script, Vec::new()).await.expect("a turn of the wheel");
            }
            _ => tokio::time::sleep(Duration::from_millis(rng.random_range(200..3000))).await,
        }
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..500))).await;
        let shown = visitor.client.execute(SHOWN, Vec::new()).await.expect("what is shown");
        let (name, percent): (String, Vec<f64>) = serde_json::from_value(shown).expect("a pair");
        if let Some((_, report)) = slices.get(&name)
            && !percent.is_empty()
        {
            checks += 1;
            assert!(same_classes(report, &percent), "step {steps}: {name}: {percent:?}");
        }
    }

    // Left in peace, the page is as good as new.
    network(&visitor, false).await;
    let (path, report) = slices.values().next().expect("a slice");
    choose(&visitor, std::slice::from_ref(path)).await;
    let is_done = || async {
        let shown = visitor.client.execute(SHOWN, Vec::new()).await.expect("what is shown");
        let (name, percent): (String, Vec<f64>) = serde_json::from_value(shown).expect("a pair");
        name == "patient0.png" && same_classes(report, &percent)
    };
    visitor.until("the page continues", 2 * SOON, is_done).await;
    assert_eq!(
        visitor
            .client
            .find_all(Locator::Css("ul[aria-labelledby=lesions-title] > li"))
            .await
            .expect("a list")
            .len(),
        report.lesions.len()
    );

    let mut saved = 0;
    for bytes in visitor.saved_so_far(".json") {
        let Ok(saved_report) = serde_json::from_slice::<Report>(&bytes) else {
            panic!("a saved report is not whole");
        };
        for slice in &saved_report.slices {
            let Some((_, known)) = slices.get(&slice.source) else { continue };
            saved += 1;
            let classes = slice.classes.map(|classes| {
                [classes.control, classes.common_pneumonia, classes.covid19]
                    .map(|probability| f64::from(probability) * 100.0)
            });
            assert!(same_classes(known, classes.as_ref().map_or(&[], |c| &c[..])), "{slice:?}");
            assert_eq!(slice.lesions.len(), known.lesions.len(), "{}", slice.source);
        }
    }
    println!(
        "{steps} steps, {checks} looks at a finding, {saved} saved findings: none under another name"
    );
    visitor.leave().await;
}
