//! What the address of the page asks for.

/// The lowest score computed: the slider leaves out more without asking the network again.
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
    /// Names of its worker's script and program; which of the two for CPUs depends on whether the browser multiplies and
    /// adds in one step.
    pub fn files(self, fuses_multiply_add: bool) -> [&'static str; 2] {
        match (self, fuses_multiply_add) {
            (Self::Gpu, _) => ["worker_gpu.js", "worker_gpu_bg.wasm"],
            (Self::Cpu, false) => ["worker_cpu.js", "worker_cpu_bg.wasm"],
            (Self::Cpu, true) => ["worker_cpu_fma.js", "worker_cpu_fma_bg.wasm"],
        }
    }
}

/// Colours of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// Light on dark.
    Dark,
    /// Dark on light.
    Light,
}

impl Theme {
    /// Its name, in the address and the style sheet.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
        }
    }
}

/// Which reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reader {
    /// PNG and JPEG alone.
    #[default]
    Raster,
    /// Every format.
    AllFormats,
}

impl Reader {
    /// Names of its script and program.
    pub fn files(self) -> [&'static str; 2] {
        match self {
            Self::Raster => ["reader_pictures.js", "reader_pictures_bg.wasm"],
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
    /// `?fma=0`: the CPU worker for all browsers.
    pub avoids_fma: bool,
    /// `?theme=`; without it, as the system is set.
    pub theme: Option<Theme>,
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
    /// Reads them: `get` gives a value by its name, `number` reads a number, NaN without one.
    pub fn read(get: impl Fn(&str) -> Option<String>, number: impl Fn(&str) -> f64) -> Self {
        Self {
            device: match get("device").as_deref() {
                Some("gpu") => Some(Device::Gpu),
                Some("cpu") => Some(Device::Cpu),
                _ => None,
            },
            model: get("model"),
            avoids_fma: get("fma").is_some_and(|value| value == "0"),
            language: get("lang"),
            theme: get("theme").and_then(|name| {
                [Theme::Dark, Theme::Light].into_iter().find(|theme| theme.name() == name)
            }),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> PageOptions {
        let get = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
        };
        PageOptions::read(get, |text| text.parse().unwrap_or(f64::NAN))
    }

    #[test]
    fn what_makes_no_sense_is_as_if_it_were_not_there() {
        let options = read("device=cpu&model=x&workers=3&threshold=0.4&embed=1&theme=dark");
        assert_eq!(options.theme, Some(Theme::Dark));
        assert_eq!((options.device, options.workers), (Some(Device::Cpu), Some(3)));
        assert!(options.embed && !options.bench);
        assert_eq!(options.threshold, Some(0.4));
        let options = read("device=tpu&workers=0&threshold=7&bench=0&theme=pink");
        assert_eq!(options.theme, None);
        assert_eq!((options.device, options.workers, options.threshold), (None, None, None));
        assert!(!options.bench);
        assert_eq!(read("workers=many&threshold=low").workers, None);
    }
}
