//! A DICOM file: what it says of itself, and its first frame.
#![no_main]

use groundglass::image::decode::{AllFormats, Budget, Formats};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Behind a preamble, so that no time goes into finding the mark.
    let mut file = vec![0; 128];
    file.extend_from_slice(b"DICM");
    file.extend_from_slice(bytes);
    if AllFormats::open(&file, &mut Budget::default()).is_ok() {
        let _ = AllFormats::decode(&file, 0);
    }
    let _ = AllFormats::dicom_source(&file, 0);
});
