//! The built page in headless Chromium, driven as a person would.
//!
//! Needs `dist/` (`make dist`), Chromium and ChromeDriver; without one of them every test is
//! reported as ignored, by name. Each test leaves a screenshot in `artifacts/`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod attack;
#[path = "../common/mod.rs"]
mod common;
mod corrections;
mod devices;
mod offline_and_access;
mod policy;
mod robustness;
mod sessions;
mod site;
mod studies;
mod trial;
mod visitor;
mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use groundglass::classes::SliceClass;
use groundglass::image::decode_slice;
use groundglass::image::phantom::draw;
use groundglass::inference::manifest::Manifest;
use groundglass::inference::{NoProgress, Predictor, Settings};
use groundglass::report::SliceReport;
use libtest_mimic::{Arguments, Trial};
use site::Site;
use trial::trial;
use visitor::{Visitor, WebGpu};

/// Patience for the CPU worker: starting, loading, one slice.
const SOON: u64 = 60;
/// Patience for WebGPU on SwiftShader, which compiles and runs shaders on the CPU.
const GPU_SOON: u64 = 240;

fn main() -> ExitCode {
    let missing: Vec<&str> = [
        (!site::folder().join("index.html").is_file()).then_some("dist/ (run `make dist`)"),
        visitor::find("chromedriver").is_none().then_some("chromedriver"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !missing.is_empty() {
        println!("the browser tests are ignored: {} not found", missing.join(", "));
    }
    if !offline_and_access::axe().is_file() {
        println!(
            "the accessibility rules are not checked: axe-core was not found (run `make tools`)"
        );
    }
    let mut arguments = Arguments::from_args();
    // Most of the time one browser waits for one core.
    arguments.test_threads = arguments.test_threads.or(Some(2));
    let trials = vec![
        // What takes longest begins first.
        trial(
            "whatever_a_visitor_does_nothing_stands_under_another_name",
            attack::everything_at_once,
        ),
        trial("a_worker_that_falls_silent_is_replaced", robustness::a_silent_worker),
        trial("a_file_that_hangs_the_reader_is_refused_by_name", policy::a_hanging_file),
        trial("webgpu_gives_the_native_result_on_a_full_slice", devices::a_full_slice_on_web_gpu),
        trial(
            "webgpu_passes_the_start_up_check_and_a_lost_device_is_replaced",
            devices::a_lost_device,
        ),
        trial("a_device_that_computes_wrong_values_is_not_believed", devices::a_wrong_device),
        trial("a_sample_is_outlined_and_classified_as_natively", a_sample),
        trial(
            "a_browser_without_relaxed_simd_gets_the_worker_for_all",
            devices::without_relaxed_simd,
        ),
        trial("an_own_picture_is_read_and_stays_here", an_own_picture),
        trial("a_dicom_slice_is_read_with_its_spacing", a_dicom_slice),
        trial("a_series_is_sorted_run_and_exported", studies::a_series),
        trial("planes_across_a_series_lead_to_its_slices", studies::planes),
        trial("a_series_with_gaps_has_no_planes_and_says_why", studies::no_planes),
        trial("a_zip_is_opened_and_a_change_of_threshold_acts_at_once", studies::a_zip),
        trial("findings_are_corrected_by_hand_and_files_say_so", corrections::by_hand),
        trial("corrections_of_a_series_are_undone_where_they_were_made", corrections::in_a_series),
        trial("a_session_is_saved_and_resumed", sessions::saved_and_resumed),
        trial("a_report_is_opened_over_its_images", sessions::reports_reopened),
        trial("a_cancelled_series_is_resumed", studies::resuming),
        trial("keys_wheel_and_pointer_move_through_the_slices", studies::the_viewer),
        trial("every_format_is_opened_and_transfer_syntaxes_agree", studies::formats)
            .with_ignored_flag(!common::reference().is_dir()),
        trial("after_a_visit_the_page_works_without_a_network", offline_and_access::offline),
        trial("after_an_update_the_page_works_without_a_network", policy::updates),
        trial("other_applications_of_the_origin_are_left_alone", policy::neighbours),
        trial("no_program_reaches_another_origin_or_makes_code", policy::every_program_is_bound),
        trial("what_is_chosen_later_is_not_replaced_by_what_comes_late", policy::a_late_sample),
        trial(
            "files_that_changed_are_neither_shown_nor_saved_under_old_names",
            policy::changed_files,
        ),
        trial("findings_are_not_drawn_on_a_file_written_over", policy::overwritten_files),
        trial("an_export_under_way_outlives_what_is_opened_next", policy::an_export_under_way),
        trial(
            "a_model_that_could_not_be_had_is_asked_for_again",
            policy::a_network_that_comes_back,
        ),
        trial(
            "findings_of_two_models_never_stand_under_one",
            policy::a_site_that_changes_its_model,
        ),
        trial(
            "a_pause_between_two_slices_leaves_nothing_running",
            policy::a_pause_between_two_slices,
        ),
        trial("of_what_is_no_chest_nothing_is_said_unless_it_is_forced", policy::no_chest),
        trial("no_accessibility_rule_is_violated", offline_and_access::accessibility)
            .with_ignored_flag(!offline_and_access::axe().is_file()),
        trial("a_first_visit_stays_within_its_size", offline_and_access::sizes)
            .with_ignored_flag(!offline_and_access::is_shrunk()),
        trial("without_storage_the_page_works", robustness::forbidden_storage),
        trial("weights_that_cannot_be_kept_are_fetched_again", robustness::full_storage),
        trial("a_tab_in_the_background_goes_on_beside_another", robustness::two_tabs),
        trial("three_hundred_slices_do_not_fill_the_memory", robustness::many_slices)
            .with_ignored_flag(true),
        trial("the_page_speaks_german_and_changes_to_english", offline_and_access::german),
        trial(
            "the_package_gives_the_native_result_and_can_be_cancelled",
            offline_and_access::package,
        )
        .with_ignored_flag(!site::folder().join("package").is_dir()),
        trial("a_killed_worker_and_a_killed_reader_are_replaced", robustness::killed_programs),
        trial("several_workers_give_what_one_gives", robustness::several_workers),
        trial("a_graphics_card_without_memory_is_replaced", robustness::gpu_memory),
        trial("model_card_and_diagnostics_name_no_file", offline_and_access::about),
        trial("a_reference_slice_matches_the_native_result", a_reference_slice)
            .with_ignored_flag(!common::reference().is_dir()),
        trial("a_running_slice_can_be_cancelled_and_the_page_goes_on", cancelling),
        trial("files_that_are_no_slices_are_named_and_the_page_goes_on", bad_files),
        trial("without_webgpu_the_cpu_computes_and_the_page_says_so", devices::without_web_gpu),
        trial("a_graphics_card_emulated_in_software_is_left_alone", devices::a_software_gpu),
        trial("damaged_weights_are_refused", weights::damaged_weights),
        trial("an_unknown_model_is_named", weights::an_unknown_model),
        trial("another_model_is_chosen_in_the_page", weights::another_model),
        trial("a_model_of_the_users_finds_what_it_finds_natively", weights::an_own_model),
        trial("weights_come_from_the_cache_the_second_time", weights::cached_weights),
        trial("the_benchmark_shows_a_median_for_each_stage", the_benchmark),
        trial("the_page_fits_a_phone", a_phone),
    ];
    let ignored = |trial: Trial| {
        let flag = trial.has_ignored_flag() || !missing.is_empty();
        trial.with_ignored_flag(flag)
    };
    let trials = trials.into_iter().map(ignored).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn manifest() -> Manifest {
    let text = std::fs::read_to_string(repository().join("models/manifest.json"));
    Manifest::parse(&text.expect("the manifest")).expect("the manifest")
}

/// The file that a visitor downloads first.
fn default_weights() -> String {
    let manifest = manifest();
    let (_, entry) = manifest.model(None).expect("the default model");
    entry.files().first().expect("a file").to_string()
}

/// What the native predictor says with the site's weights.
fn native(file: &Path) -> SliceReport {
    native_with(None, file)
}

/// The same with another model than the default.
fn native_with(model: Option<&str>, file: &Path) -> SliceReport {
    let manifest = manifest();
    let (name, entry) = manifest.model(model).expect("the model");
    let files: BTreeMap<String, Vec<u8>> = entry
        .files()
        .into_iter()
        .map(|file| {
            let bytes = std::fs::read(repository().join("models").join(file));
            (file.to_owned(), bytes.expect("the weights"))
        })
        .collect();
    let model = manifest.load(name, entry, &files).expect("the model");
    let predictor = Predictor::on_cpu(&model, "cpu").expect("a predictor");
    let bytes = std::fs::read(file).expect("the slice");
    let slice = decode_slice("slice", &bytes, None).expect("a slice");
    pollster::block_on(predictor.predict(&slice, &Settings::default(), &mut NoProgress))
        .expect("a report")
}

/// Asserts that the page shows what the native predictor says.
async fn assert_shows(visitor: &Visitor, report: &SliceReport) {
    let classes = report.classes.expect("classes");
    let expected = [
        ("Control", classes.control),
        ("Common Pneumonia", classes.common_pneumonia),
        ("COVID-19", classes.covid19),
    ];
    let meters = visitor.meters().await;
    assert_eq!(meters.len(), 3);
    for ((label, value), (name, probability)) in meters.iter().zip(expected) {
        assert_eq!(label, name);
        assert!((value - f64::from(probability) * 100.0).abs() < 0.2, "{label}: {value}");
    }
    let lesions = visitor.lesions().await;
    assert_eq!(lesions.len(), report.lesions.len(), "{lesions:?}");
    for (shown, lesion) in lesions.iter().zip(&report.lesions) {
        assert!(shown.contains(&format!("score {:.2}", lesion.score)), "{shown}: {lesion:?}");
    }
}

async fn ready_on_cpu(site: &Site) -> Visitor {
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("?device=cpu")).await;
    visitor.wait_for("Ready.", SOON).await;
    visitor
}

/// A visitor whose files are open, and the first slice done.
async fn with_opened(site: &Site, files: &[PathBuf]) -> Visitor {
    let visitor = ready_on_cpu(site).await;
    visitor.choose_all(files).await;
    visitor.wait_for("Done:", SOON).await;
    visitor
}

async fn a_sample() {
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    let report = native(&repository().join("www/samples/phantom-covid19.png"));
    assert!(!report.lesions.is_empty(), "the sample shows lesions");
    assert!(visitor.status().await.starts_with("Done:"), "the status line says so");
    assert_shows(&visitor, &report).await;
    let body = visitor.text("body").await.unwrap_or_default();
    assert!(body.contains("Research use only, not a medical device."));
    assert!(body.contains("Your images stay on this machine"));
    assert!(body.contains("cpu (WebAssembly)"));
    assert!(
        site.requests("/worker_cpu_fma_bg.wasm") > 0,
        "Chromium multiplies and adds in one step"
    );
    visitor.picture("sample").await;
    visitor.leave().await;
}

fn write_picture(folder: &Path, name: &str, class: SliceClass, seed: u64) -> PathBuf {
    let phantom = draw(class, seed);
    let side = phantom.slice.width as u32;
    let path = folder.join(name);
    image::GrayImage::from_raw(side, side, phantom.slice.pixels)
        .expect("a picture")
        .save(&path)
        .expect("a written picture");
    path
}

async fn an_own_picture() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write_picture(folder.path(), "my scan.png", SliceClass::CommonPneumonia, 11);
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.choose(&file).await;
    visitor.wait_for("Done:", SOON).await;
    assert_shows(&visitor, &native(&file)).await;
    assert!(visitor.text("figcaption").await.unwrap_or_default().contains("my scan.png"));
    let origin = site.url("").split("/some").next().unwrap_or_default().to_owned();
    for address in visitor.resources().await {
        assert!(address.starts_with(&origin), "{address} is foreign");
    }
    visitor.picture("own-picture").await;
    visitor.leave().await;
}

async fn a_dicom_slice() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("slice.dcm");
    common::dicom::write_phantom(&file, 21, 0.0);
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.choose(&file).await;
    visitor.wait_for("Done:", SOON).await;
    let report = native(&file);
    assert_eq!(report.spacing_mm, Some([0.5, 0.5]));
    assert_shows(&visitor, &report).await;
    visitor.picture("dicom").await;
    visitor.leave().await;
}

/// A real slice at full size.
async fn a_reference_slice() {
    let folder = common::reference();
    let file = folder.join("data/lesions/test/imgs/2_10.jpg");
    // ChromeDriver takes no paths with `..` in them.
    let file = std::fs::canonicalize(file).expect("the reference slice");
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.choose(&file).await;
    visitor.wait_for("Done:", SOON).await;
    assert_shows(&visitor, &native(&file)).await;
    visitor.leave().await;
}

async fn cancelling() {
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Working", SOON).await;
    visitor.press("Cancel").await;
    visitor.wait_for("Cancelled.", SOON).await;
    assert!(visitor.meters().await.is_empty());
    visitor.picture("cancelled").await;
    visitor.press("Healthy phantom").await;
    visitor.wait_for("Done:", SOON).await;
    assert_eq!(visitor.meters().await.len(), 3);
    visitor.leave().await;
}

async fn bad_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a written file");
        path
    };
    let whole =
        std::fs::read(repository().join("www/samples/phantom-control.png")).expect("a file");
    let dot = folder.path().join("dot.png");
    image::GrayImage::from_pixel(1, 1, image::Luma([7])).save(&dot).expect("a dot");
    let cases = [
        (write("empty.png", b""), "empty"),
        (write("cut.png", &whole[..whole.len() / 2]), "cut off"),
        (write("notes.png", b"these are notes"), "not a PNG, JPEG, DICOM, NIfTI or zip"),
        (dot, "1 x 1"),
        (write("bomb.png", &common::png_header_bomb()), "20000 x 20000"),
    ];
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    for (file, reason) in &cases {
        visitor.choose(file).await;
        visitor.wait_for(reason, SOON).await;
        let alert = visitor.alert().await.expect("an alert");
        let name = file.file_name().expect("a name").to_string_lossy();
        assert!(alert.contains(&*name) && alert.contains(reason), "{alert}");
    }
    visitor.picture("bad-file").await;
    visitor.press("Healthy phantom").await;
    visitor.wait_for("Done:", SOON).await;
    assert_eq!(visitor.alert().await, None);
    visitor.leave().await;
}

/// The site with another manifest.
fn with_manifest(change: impl FnOnce(&mut Manifest)) -> Site {
    let mut manifest = manifest();
    change(&mut manifest);
    let text = serde_json::to_vec(&manifest).expect("JSON");
    Site::serve(BTreeMap::from([("models/manifest.json".to_owned(), text)]))
}

async fn the_benchmark() {
    let site = Site::serve(BTreeMap::new());
    let visitor = Visitor::new(WebGpu::Off).await;
    visitor.open(&site.url("?device=cpu&bench=1")).await;
    visitor.wait_for("median of 5", 2 * SOON).await;
    let total = visitor.text("[data-stage=total]").await.expect("a total");
    let total: f64 = total.trim_end_matches(" ms").parse().expect("a number");
    assert!(total > 1.0, "{total}");
    println!("{}", visitor.text(".bench").await.unwrap_or_default());
    visitor.picture("bench").await;
    visitor.leave().await;
}

async fn a_phone() {
    let site = Site::serve(BTreeMap::new());
    let visitor = ready_on_cpu(&site).await;
    visitor.client.set_window_size(500, 900).await.expect("another size");
    visitor.press("COVID-19 phantom").await;
    visitor.wait_for("Done:", SOON).await;
    let script = "return document.documentElement.scrollWidth - window.innerWidth";
    let overflow = visitor.client.execute(script, Vec::new()).await.expect("a number");
    assert!(overflow.as_i64().is_some_and(|pixels| pixels <= 0), "{overflow} px too wide");
    visitor.picture("phone").await;
    visitor.leave().await;
}
