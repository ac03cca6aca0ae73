//! A picture, DICOM file, NIfTI volume or archive: opened, and its first slices read.
#![no_main]

use groundglass::image::Study;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let examination = Study::open([("file".to_owned(), bytes.to_vec())]);
    for series in &study.series {
        for slice in series.slices.iter().take(2) {
            if let Ok(raw) = slice.read() {
                let _ = raw.windowed(&slice.name, None);
            }
        }
    }
});
