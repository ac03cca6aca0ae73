//! The worker that computes on the user's graphics card. Built with the feature `webgpu`.

#[cfg(all(target_arch = "wasm32", feature = "webgpu"))]
fn main() {
    groundglass::web::worker::run::<groundglass::web::worker::GpuDevice>();
}

#[cfg(not(all(target_arch = "wasm32", feature = "webgpu")))]
fn main() {}
