//! The worker that computes on one CPU thread: small, and works everywhere.

#[cfg(target_arch = "wasm32")]
fn main() {
    use groundglass::web::worker::{DeviceKind, run};
    run(DeviceKind::Cpu);
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
