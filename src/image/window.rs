//! Window and level: from Hounsfield units to 8-bit intensities.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A window in Hounsfield units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Value shown as middle grey.
    pub center: f64,
    /// Range from black to white.
    pub width: f64,
}

impl Window {
    /// The usual lung window, and the one the models know.
    pub const LUNG: Self = Self { center: -600.0, width: 1500.0 };

    /// The usual window for soft tissue between the lungs.
    pub const MEDIASTINUM: Self = Self { center: 40.0, width: 400.0 };

    /// Whether lesions of the lung can be seen in it: wide, and centred on aerated tissue.
    pub fn shows_lungs(&self) -> bool {
        (-850.0..=-250.0).contains(&self.center) && (800.0..=2500.0).contains(&self.width)
    }

    /// Wider by `width` and centred higher by `center`, within what makes sense for CT.
    pub fn moved(self, width: f64, center: f64) -> Self {
        Self {
            center: (self.center + center).clamp(-2000.0, 4000.0).round(),
            width: (self.width + width).clamp(1.0, 8000.0).round(),
        }
    }

    /// The 8-bit intensity of a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use groundglass::image::Window;
    ///
    /// assert_eq!([-2000.0, -600.0, 400.0].map(|value| Window::LUNG.apply(value)), [0, 128, 255]);
    /// ```
    pub fn apply(&self, hounsfield: f32) -> u8 {
        let low = self.center - self.width / 2.0;
        // `as` saturates, and sends NaN to 0.
        ((f64::from(hounsfield) - low) / self.width * 255.0).round() as u8
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.center, self.width)
    }
}

/// A text that is no window.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is no window; write CENTER/WIDTH, such as -600/1500")]
pub struct NotAWindow(String);

impl FromStr for Window {
    type Err = NotAWindow;

    fn from_str(text: &str) -> Result<Self, NotAWindow> {
        let wanted = || NotAWindow(text.into());
        let (center, width) = text.split_once('/').ok_or_else(wanted)?;
        let number = |part: &str| part.trim().parse::<f64>().ok().filter(|v| v.is_finite());
        match (number(center), number(width)) {
            (Some(center), Some(width)) if width > 0.0 => Ok(Self { center, width }),
            _ => Err(wanted()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lung_window_spans_minus_1350_to_150() {
        assert_eq!(Window::LUNG.apply(-1350.0), 0);
        assert_eq!(Window::LUNG.apply(-600.0), 128);
        assert_eq!(Window::LUNG.apply(150.0), 255);
        assert_eq!(Window::LUNG.apply(3000.0), 255);
        assert_eq!(Window::LUNG.apply(f32::NAN), 0);
    }

    #[test]
    fn windows_are_read_as_center_and_width() {
        assert_eq!("-600/1500".parse(), Ok(Window::LUNG));
        for wrong in ["", "5", "1/0", "a/b", "nan/10"] {
            assert!(wrong.parse::<Window>().is_err(), "{wrong}");
        }
    }
}
