//! What the address of the page asks for.

use web_sys::UrlSearchParams;

/// The lowest score computed: the page's slider leaves out more without asking the network again.
pub const LOWEST_SCORE: f32 = 0.05;

/// `?device=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// WebGPU.
    Gpu,
    /// WebAssembly.
    Cpu,
}

impl Device {
    /// Names of its worker's script and program.
    pub fn files(self) -> [&'static str; 2] {
        match self {
            Self::Gpu => ["worker_gpu.js", "worker_gpu_bg.wasm"],
            Self::Cpu => ["worker_cpu.js", "worker_cpu_bg.wasm"],
        }
    }
}

/// Which reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// PNG and JPEG alone.
    #[default]
    Pictures,
    /// Every format.
    AllFormats,
}

impl Reader {
    /// Names of its script and program.
    pub fn files(self) -> [&'static str; 2] {
        match self {
            Self::Pictures => ["reader_pictures.js", "reader_pictures_bg.wasm"],
            Self::AllFormats => ["reader.js", "reader_bg.wasm"],
        }
    }
}

/// What the address asks for. Settings only, never data.
#[derive(Clone, Debug, Default)]
pub struct PageOptions {
    /// `?device=`.
    pub device: Option<Device>,
    /// `?model=`.
    pub model: Option<String>,
    /// `?lang=`.
    pub language: Option<String>,
    /// `?bench=1`.
    pub bench: bool,
    /// `?embed=1`: without what a frame in another page has no place for.
    pub embed: bool,
    /// `?threshold=`: lesions with a lower score are left out.
    pub threshold: Option<f32>,
    /// `?workers=`: how many CPU workers share a series; without it, as many as pay off.
    pub workers: Option<usize>,
}

impl PageOptions {
    /// Reads the page's address.
    pub fn from_address() -> Self {
        let query = web_sys::window()
            .and_then(|window| window.location().search().ok())
            .and_then(|search| UrlSearchParams::new_with_str(&search).ok());
        let get = |name: &str| query.as_ref().and_then(|query| query.get(name));
        Self {
            device: match get("device").as_deref() {
                Some("gpu") => Some(Device::Gpu),
                Some("cpu") => Some(Device::Cpu),
                _ => None,
            },
            model: get("model"),
            language: get("lang"),
            workers: get("workers")
                .map(|text| number(&text))
                .filter(|count| *count >= 1.0)
                .map(|n| n as usize),
            bench: get("bench").is_some_and(|value| value != "0"),
            embed: get("embed").is_some_and(|value| value != "0"),
            threshold: get("threshold")
                .map(|text| number(&text) as f32)
                .filter(|value| (LOWEST_SCORE..1.0).contains(value)),
        }
    }
}

/// A number, NaN without one. The browser's reading: Rust's own would be ten kilobytes of the page.
fn number(text: &str) -> f64 {
    js_sys::Number::parse_float(text)
}
