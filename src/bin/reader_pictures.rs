//! Reads the user's pictures and writes exports: a third of the program for every format.

#[cfg(target_arch = "wasm32")]
fn main() {
    groundglass::web::reader::run::<groundglass::image::decode::RasterOnly>();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
