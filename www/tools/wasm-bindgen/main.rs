//! The part of wasm-bindgen's command that building the page takes. The command as published also brings its test runner,
//! with a web server and TLS, which are most of what there is to compile.

use anyhow::{Result, bail};
use pico_args::Arguments;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let mut arguments = Arguments::from_env();
    if arguments.contains("--version") {
        println!("wasm-bindgen {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let mut bindgen = Bindgen::new();
    match arguments.value_from_str::<_, String>("--target")?.as_str() {
        "web" => bindgen.web(true)?,
        "no-modules" => bindgen.no_modules(true)?,
        other => bail!("--target {other} is not known here; it is web or no-modules"),
    };
    // As the command does, unlike the library.
    bindgen.omit_default_module_path(false);
    bindgen.typescript(!arguments.contains("--no-typescript"));
    bindgen.out_name(&arguments.value_from_str::<_, String>("--out-name")?);
    let folder: String = arguments.value_from_str("--out-dir")?;
    bindgen.input_path(arguments.free_from_str::<String>()?);
    let rest = arguments.finish();
    if !rest.is_empty() {
        bail!("not known here: {rest:?}");
    }
    bindgen.generate(folder)
}
