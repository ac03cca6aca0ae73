//! Breaks files at random and hands them to their readers, within bounds of time and memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use groundglass::image::Study;
use groundglass::image::decode::ImageError;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Broken files of each kind; GROUNDGLASS_HOSTILE asks for more.
pub fn rounds() -> u64 {
    std::env::var("GROUNDGLASS_HOSTILE").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// Breaks a file: bytes changed, a piece repeated or left out, the end cut off.
pub fn broken(whole: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            break;
        }
        // Headers are at the front: half of the changes hit there.
        let length = bytes.len();
        let reach = if rng.random_bool(0.5) { length.min(600) } else { length };
        let at = rng.random_range(0..reach);
        match rng.random_range(0..6) {
            0 => bytes[at] = rng.random(),
            1 => bytes[at] ^= 1 << rng.random_range(0..8),
            2 => bytes[at] = [0, 0xff, 0x7f, 0x80][rng.random_range(0..4)],
            3 => bytes.truncate(at),
            4 => {
                let end = (at + rng.random_range(1..64)).min(length);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = (at + rng.random_range(1..64)).min(length);
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

/// The system's allocator, which remembers the largest block that was asked for.
struct Counting;

pub static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code, reason = "an allocator is unsafe by its trait; it hands everything on")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Largest block that any of these small files may cost: a picture of 4096 x 4096 pixels, 16 bytes each.
pub const MOST_BYTES: usize = 256 << 20;

/// Longest time that any may take, on a busy machine.
pub const MOST_TIME: Duration = Duration::from_secs(5);

/// Fails if a block larger than the budget was asked for since the last look.
pub fn check_memory(what: &str, most: usize) {
    let largest = LARGEST.swap(0, Ordering::Relaxed);
    assert!(largest <= most, "{what}: a block of {largest} bytes was asked for");
}

/// Breaks `whole` many times and hands it to `read`; a panic fails with what to look for.
pub fn attack(name: &str, whole: &[u8], read: impl Fn(&[u8])) {
    read(whole);
    if let Some(folder) = std::env::var_os("GROUNDGLASS_SEEDS") {
        // Whole files for the fuzzer to start from.
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(std::path::Path::new(&folder).join(name.replace([' ', '/'], "_")), whole)
            .unwrap();
    }
    for seed in 0..rounds() {
        let bytes = broken(whole, &mut ChaCha8Rng::seed_from_u64(seed));
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&bytes)));
        assert!(outcome.is_ok(), "{name}, seed {seed}: the reader panicked");
        let seconds = started.elapsed();
        assert!(seconds < MOST_TIME, "{name}, seed {seed}: {seconds:?}");
        check_memory(&format!("{name}, seed {seed}"), MOST_BYTES);
    }
}

/// Opens a file and decodes what it offers, as the page and the command line do. Says how many reads a panic
/// behind the wall ended.
pub fn look(bytes: &[u8]) -> usize {
    let is_broken = |error: &ImageError| {
        assert!(!error.to_string().is_empty());
        usize::from(matches!(error, ImageError::Broken { .. }))
    };
    let found = Study::open([("file".to_owned(), bytes.to_vec())]);
    let mut panics: usize = found.refused.iter().map(|(_, error)| is_broken(error)).sum();
    for series in &found.series {
        for slice in series.slices.iter().take(3) {
            panics += slice.read().map_or_else(|error| is_broken(&error), |_| 0);
            panics += slice.dicom_source().map_or_else(|error| is_broken(&error), |_| 0);
        }
    }
    panics
}

/// Attacks the readers of slices. Libraries below may panic, which the wall turns into an error; it is counted.
pub fn attack_slices(name: &str, whole: &[u8]) {
    let panics = AtomicUsize::new(0);
    attack(name, whole, |bytes| {
        panics.fetch_add(look(bytes), Ordering::Relaxed);
    });
    println!("{name}: {} of {} ended at the wall", panics.into_inner(), rounds());
}
