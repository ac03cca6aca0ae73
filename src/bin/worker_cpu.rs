//! The worker that computes on one CPU thread: small, and works everywhere.

#[cfg(target_arch = "wasm32")]
fn main() {
    groundglass::web::worker::run::<groundglass::web::worker::CpuDevice>();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
