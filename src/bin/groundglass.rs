//! The command line program.

#[cfg(not(target_arch = "wasm32"))]
mod native {
    /// Training allocates and frees large buffers all the time; the system's allocator gives each
    /// back to the kernel and pays for fresh pages.
    #[global_allocator]
    static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

    pub fn run() -> std::process::ExitCode {
        groundglass::cli::run()
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    native::run()
}

#[cfg(target_arch = "wasm32")]
fn main() {}
