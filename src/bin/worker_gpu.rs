//! The worker that computes on the visitor's graphics card. Built with the feature `webgpu`.

#[cfg(all(target_arch = "wasm32", feature = "webgpu"))]
fn main() {
    use groundglass::web::worker::{DeviceKind, run};
    run(DeviceKind::Gpu);
}

#[cfg(not(all(target_arch = "wasm32", feature = "webgpu")))]
fn main() {}
