//! Why a slice is not analysed, or given no class: a code with its numbers, and English words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a slice is no axial slice of a chest CT, by its own file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotChestCt {
    /// DICOM's Modality (0008,0060) is not `CT`.
    Modality(String),
    /// A scout view, by DICOM's Image Type (0008,0008).
    Localizer,
    /// Its plane is turned from axial, in degrees.
    Turned(u32),
}

impl fmt::Display for NotChestCt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Modality(modality) => write!(f, "its modality is {modality}, not CT"),
            Self::Localizer => f.write_str("it is a localizer (scout), not an axial slice"),
            Self::Turned(degrees) => write!(f, "it is turned {degrees}\u{b0} from axial"),
        }
    }
}

/// Why nothing is said of a slice, or no class given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Its file says that it is something else.
    NotChestCt(NotChestCt),
    /// A field of view that no chest CT has, in millimetres.
    FieldOfView {
        /// Across.
        width_mm: u32,
        /// Down.
        height_mm: u32,
    },
    /// Air and tissue cannot be told apart.
    NoContrast,
    /// The longer side of the body, in millimetres, is too short for a chest.
    SmallBody(u32),
    /// Nothing looks like a lung.
    NoLung,
    /// Too little lung for a class.
    LittleLung,
    /// The lungs are black: another window.
    BlackLungs,
    /// Its mean intensity is unlike that of every slice of the training.
    UnlikeMean(Unlike),
    /// The standard deviation of its intensities is.
    UnlikeContrast(Unlike),
}

/// A value outside of its range in training, of intensities from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlike {
    /// The slice's.
    pub value: u32,
    /// Lowest in training.
    pub low: u32,
    /// Highest in training.
    pub high: u32,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unlike = |f: &mut fmt::Formatter<'_>,
                      what: &str,
                      Unlike { value, low, high }: &Unlike| {
            write!(
                f,
                "its {what} of {value} lies outside the range seen in training ({low} to {high}): this may not be a CT slice in a lung window"
            )
        };
        match self {
            Self::NotChestCt(reason) => {
                write!(f, "this is not an axial chest CT slice: {reason}")
            }
            Self::FieldOfView { width_mm, height_mm } => {
                write!(f, "the field of view of {width_mm} x {height_mm} mm does not match a chest CT")
            }
            Self::NoContrast => f.write_str(
                "no contrast between air and tissue: this is not a CT slice in a lung window",
            ),
            Self::SmallBody(size) => {
                write!(f, "the body measures {size} mm, too little for a chest")
            }
            Self::NoLung => f.write_str(
                "no lung is visible: the slice lies outside the lungs, or is not an axial chest CT slice in a lung window",
            ),
            Self::LittleLung => f.write_str(
                "hardly any lung is visible: the slice lies at the edge of the lungs, or is not an axial chest CT slice in a lung window",
            ),
            Self::BlackLungs => {
                f.write_str("the lungs are black: this is not a CT slice in a lung window")
            }
            Self::UnlikeMean(values) => unlike(f, "mean intensity", values),
            Self::UnlikeContrast(values) => unlike(f, "contrast", values),
        }
    }
}
