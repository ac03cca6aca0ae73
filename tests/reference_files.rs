//! Real files: broken at random, they are refused without a panic; whole, slices of chests are not refused.
//!
//! Needs the reference folder (see `common::reference`); without it every test is reported as ignored.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "each test uses its own part")]
#[path = "malformed_input/attack.rs"]
mod attack;
mod common;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

use groundglass::image::Refusal;
use groundglass::image::plausibility::{class_refusal, refusal};
use groundglass::network::StateDict;
use libtest_mimic::{Arguments, Trial};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use self::attack::{LARGEST, MOST_BYTES, MOST_TIME, broken, check_memory, look, rounds};

const CHECKPOINTS: [&str; 2] = ["resnet18t1_seg.pth", "resnet18t1_paper_seg.pth"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trial = |name: &str, needs: &str, body: fn()| {
        let is_missing = !common::reference().join(needs).exists();
        let body = move || {
            body();
            Ok(())
        };
        Trial::test(name, body).with_ignored_flag(is_missing)
    };
    let trials = vec![
        trial("broken_copies_are_refused_without_a_panic", "data/formats", broken_copies),
        trial("broken_checkpoints_are_refused_without_a_panic", "golden", broken_checkpoints),
        trial("slices_of_chests_are_hardly_ever_refused", "data/classes-mixed", slices_of_chests),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn broken_copies() {
    let mut files = Vec::new();
    let mut folders = vec![common::reference().join("data/formats")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let mut panics = 0;
    let each = rounds().div_ceil(20);
    for path in &files {
        let whole = std::fs::read(path).unwrap();
        look(&whole);
        LARGEST.store(0, Ordering::Relaxed);
        for seed in 0..each {
            let bytes = broken(&whole, &mut ChaCha8Rng::seed_from_u64(seed));
            let started = Instant::now();
            panics += look(&bytes);
            let what = format!("{}, seed {seed}", path.display());
            assert!(started.elapsed() < MOST_TIME, "{what}: {:?}", started.elapsed());
            // A compressed volume may be as large as deflate can make it, within the budget.
            let most =
                (1100 * bytes.len()).min(groundglass::image::decode::limits::MAX_UNPACKED as usize);
            check_memory(&what, MOST_BYTES.max(most));
        }
    }
    println!("{} files, each broken {each} times: {panics} ended at the wall", files.len());
}

fn broken_checkpoints() {
    for name in CHECKPOINTS {
        let bytes = std::fs::read(common::reference().join("golden").join(name)).unwrap();
        assert!(StateDict::from_bytes(&bytes).is_ok(), "{name}");
        for seed in 0..rounds() / 30 {
            let broken = broken(&bytes, &mut ChaCha8Rng::seed_from_u64(seed));
            let outcome = catch_unwind(|| StateDict::from_bytes(&broken).is_ok());
            assert!(outcome.is_ok(), "{name}, seed {seed}: the reader panicked");
        }
    }
}

/// Those with a lesion never, others where hardly any lung is to be seen.
fn slices_of_chests() {
    let data = common::reference().join("data");
    let count = |folder: &str, wanted: &dyn Fn(&Path) -> bool| {
        let (mut slices, mut refused, mut black) = (0, Vec::new(), 0);
        for entry in fs::read_dir(data.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let Ok(slice) = groundglass::image::decode_slice("", &fs::read(&path).unwrap(), None)
            else {
                continue;
            };
            if wanted(&path) {
                slices += 1;
                refused.extend(refusal(&slice).map(|reason| (path.clone(), reason)));
                black += u32::from(class_refusal(&slice) == Some(Refusal::BlackLungs));
            }
        }
        let share = refused.len() as f64 / f64::from(slices);
        println!("{folder}: {} of {slices} refused ({:.1} %)", refused.len(), 100.0 * share);
        println!("{folder}: the lungs of {black} are black");
        assert!(f64::from(black) < 0.01 * f64::from(slices), "{folder}: {black} black lungs");
        refused
            .iter()
            .take(5)
            .for_each(|(path, reason)| println!("  {}: {reason}", path.display()));
        share
    };
    let with_lesion = |path: &Path| {
        let name = path.with_extension("png");
        let mask = path.parent().unwrap().parent().unwrap().join("masks");
        let mask = image::open(mask.join(name.file_name().unwrap())).unwrap().into_luma8();
        mask.pixels().filter(|pixel| pixel.0[0] >= 2).count() > 100
    };
    for folder in
        ["lesions/train", "lesions/test", "lesions-clahe256/train", "lesions-single/train"]
    {
        let share = count(&format!("{folder}/imgs"), &with_lesion);
        assert!(share < 0.01, "{folder}: {share} of the slices with a lesion");
    }
    assert!(count("classes-mixed/images", &|_| true) < 0.02);
    assert!(count("classes/images", &|_| true) < 0.1);
}
