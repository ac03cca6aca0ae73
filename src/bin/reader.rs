//! The worker that reads the visitor's files and writes exports.

#[cfg(target_arch = "wasm32")]
fn main() {
    groundglass::web::reader::run();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
