//! Reads the user's files, of whatever format, and writes exports.

#[cfg(target_arch = "wasm32")]
fn main() {
    groundglass::web::reader::run::<groundglass::image::decode::AllFormats>();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
