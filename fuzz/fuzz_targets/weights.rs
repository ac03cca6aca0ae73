//! Weights: packs of our own and checkpoints of PyTorch.
#![no_main]

use groundglass::network::StateDict;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = StateDict::from_bytes(bytes);
});
