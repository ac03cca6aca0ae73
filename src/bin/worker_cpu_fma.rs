//! The worker for one CPU thread that multiplies and adds in one step. Engines without "relaxed SIMD" refuse it.

#[cfg(target_arch = "wasm32")]
fn main() {
    groundglass::kernels::matmul::fuse_multiply_add();
    groundglass::web::worker::run::<groundglass::web::worker::CpuDevice>();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {}
