//! One CT slice, before and after windowing.

use serde::{Deserialize, Serialize};

use crate::image::{NotChestCt, Plane, Warning, Window};

/// A slice: 8-bit intensities after windowing, and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CtSlice {
    /// File name or path, for messages and reports.
    pub source: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width` intensities, row-major; they travel beside what is serialised.
    #[serde(skip)]
    pub pixels: Vec<u8>,
    /// Millimetres between rows and between columns, if the file tells.
    pub spacing_mm: Option<[f64; 2]>,
    /// Where it lies in the patient, if the file tells.
    pub plane: Option<Plane>,
    /// Why it is no axial slice of a chest CT, if its file says so.
    pub not_chest_ct: Option<NotChestCt>,
    /// What the user should know about how the file was read.
    pub warnings: Vec<Warning>,
}

impl CtSlice {
    /// A slice of `size` (columns, rows) of which nothing but its intensities is known.
    pub fn new(source: impl Into<String>, size: (usize, usize), pixels: Vec<u8>) -> Self {
        let (width, height) = size;
        Self {
            source: source.into(),
            width,
            height,
            pixels,
            spacing_mm: None,
            plane: None,
            not_chest_ct: None,
            warnings: Vec::new(),
        }
    }
}

/// What a file holds, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Intensities of a picture, to be taken as they are.
    Grey(Vec<u8>),
    /// Hounsfield units.
    Hounsfield(Vec<f32>),
}

/// A slice as its file holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct RawSlice {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width` values.
    pub values: Values,
    /// Whether the file says that its values are Hounsfield units.
    pub says_hounsfield: bool,
    /// Low values are to be shown bright.
    pub inverted: bool,
    /// The window that the file asks for.
    pub window: Option<Window>,
    /// Millimetres between rows and between columns, if the file tells.
    pub spacing_mm: Option<[f64; 2]>,
    /// Where it lies in the patient, if the file tells.
    pub plane: Option<Plane>,
    /// Why it is no axial slice of a chest CT, if its file says so.
    pub not_chest_ct: Option<NotChestCt>,
    /// What the user should know about how the file was read.
    pub warnings: Vec<Warning>,
}

impl RawSlice {
    /// The window that [`windowed`](Self::windowed) takes if it is left the choice; `None` for a picture.
    pub fn default_window(&self) -> Option<Window> {
        match self.values {
            Values::Grey(_) => None,
            Values::Hounsfield(_) => Some(choose(self.window, &mut Vec::new())),
        }
    }

    /// The slice in `window`; without one, in the file's if that shows the lungs, else in
    /// [`Window::LUNG`]. A picture has its window in it already.
    pub fn windowed(self, source: &str, window: Option<Window>) -> CtSlice {
        let mut warnings = self.warnings;
        let pixels = match self.values {
            Values::Grey(pixels) => pixels,
            Values::Hounsfield(values) => {
                let window = window.unwrap_or_else(|| choose(self.window, &mut warnings));
                // Bright becomes dark around the window's centre.
                let mirror = 2.0 * window.center as f32;
                let shown = |value| if self.inverted { mirror - value } else { value };
                values.into_iter().map(|value| window.apply(shown(value))).collect()
            }
        };
        CtSlice {
            source: source.to_owned(),
            width: self.width,
            height: self.height,
            pixels,
            spacing_mm: self.spacing_mm,
            plane: self.plane,
            not_chest_ct: self.not_chest_ct,
            warnings,
        }
    }
}

fn choose(given: Option<Window>, warnings: &mut Vec<Warning>) -> Window {
    match given {
        Some(given) if given.shows_lungs() => given,
        Some(given) => {
            warnings.push(Warning::OtherWindow(given));
            Window::LUNG
        }
        None => Window::LUNG,
    }
}

/// A slice's place in its file and in the patient; told without decoding the picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SliceHeader {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Frame of the file, from 0.
    pub frame: usize,
    /// Identifier of the series, if the file has one.
    pub series: Option<String>,
    /// Identifier of the instance, if the file has one.
    pub instance: Option<String>,
    /// Study, frame of reference and patient, as far as the file says: slices of different ones are no series.
    pub origin: [String; 3],
    /// Millimetres between rows and between columns, if the file tells.
    pub spacing_mm: Option<[f64; 2]>,
    /// Number within the series as the scanner gave it.
    pub number: Option<i64>,
    /// Where it lies.
    pub plane: Option<Plane>,
}
