//! The command line program.

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    groundglass::cli::run()
}

#[cfg(target_arch = "wasm32")]
fn main() {}
