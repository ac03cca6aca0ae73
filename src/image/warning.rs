//! What the user should know about how files were read: a code with its numbers, and English words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::image::{Refusal, Window};

/// What the user should know about a slice or a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// So many slices are in the series more than once.
    Copies(usize),
    /// The files do not say where the slices lie: they are in the order of their numbers.
    OrderedByNumber,
    /// The files do not say where the slices lie: they are in the order of their names.
    OrderedByName,
    /// The slices of the series are turned against each other.
    NotParallel,
    /// They have pixels of different sizes.
    DifferentPixelSizes,
    /// They are shifted against each other.
    Shifted,
    /// So many slices lie at the place of another.
    SamePlace(usize),
    /// Their distances differ.
    UnevenDistances {
        /// The smallest, in millimetres.
        least_mm: f64,
        /// The largest, in millimetres.
        most_mm: f64,
    },
    /// They are turned from axial, in degrees.
    Turned(f64),
    /// The file does not say how its values become Hounsfield units.
    UnknownUnits,
    /// DICOM's Rescale Type (0028,1054) says that they are others.
    OtherUnits(String),
    /// No value is as low as air.
    NoAir,
    /// The file does not say how it lies in the patient.
    UnknownOrientation,
    /// The file continues after its volume.
    TrailingData,
    /// The window that the file asks for does not show the lungs; [`Window::LUNG`] was used.
    OtherWindow(Window),
    /// The picture is coloured.
    Coloured,
    /// The picture is almost black.
    AlmostBlack,
    /// The slice was analysed on request although there is a reason not to.
    OnRequest(Refusal),
    /// No region was found for the classifier.
    NoRegion,
}

impl Warning {
    /// Whether it says that the slices of a series are no volume.
    pub fn is_of_distances(&self) -> bool {
        matches!(
            self,
            Self::NotParallel
                | Self::DifferentPixelSizes
                | Self::Shifted
                | Self::SamePlace(_)
                | Self::UnevenDistances { .. }
        )
    }

    /// The sentences of `warnings`.
    pub fn sentences(warnings: &[Self]) -> Vec<String> {
        warnings.iter().map(Self::to_string).collect()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copies(copies) => {
                write!(f, "{copies} slices are in the series more than once")
            }
            Self::OrderedByNumber => f.write_str(
                "the files do not say where the slices lie; they are in the order of their numbers",
            ),
            Self::OrderedByName => f.write_str(
                "the files do not say where the slices lie; they are in the order of their names",
            ),
            Self::NotParallel => f.write_str(
                "the slices are turned against each other, and volumes are not computed",
            ),
            Self::DifferentPixelSizes => {
                f.write_str("the slices have pixels of different sizes, and volumes are not computed")
            }
            Self::Shifted => f.write_str(
                "the slices are shifted against each other, and volumes are not computed",
            ),
            Self::SamePlace(count) => write!(f, "{count} slices lie at the place of another"),
            Self::UnevenDistances { least_mm, most_mm } => write!(
                f,
                "the slices lie from {least_mm:.2} to {most_mm:.2} mm apart; slices may be missing, and volumes are not computed"
            ),
            Self::Turned(degrees) => write!(
                f,
                "the slices are turned {degrees:.0}\u{b0} from axial; the models know axial slices only"
            ),
            Self::UnknownUnits => f.write_str(
                "the file does not say how its values become Hounsfield units; they are taken as such",
            ),
            Self::OtherUnits(units) => write!(
                f,
                "the file says that its values are {units}, not Hounsfield units; they are taken as such"
            ),
            Self::NoAir => f.write_str(
                "the values do not look like Hounsfield units: none is as low as air; this may not be a CT",
            ),
            Self::UnknownOrientation => f.write_str(
                "the file does not say how it lies in the patient; left and right may be swapped",
            ),
            Self::TrailingData => {
                f.write_str("the file continues after its volume; the rest is not read")
            }
            Self::OtherWindow(window) => write!(
                f,
                "the file's window {window} does not show the lungs; {} was used",
                Window::LUNG
            ),
            Self::Coloured => f.write_str(
                "the picture is coloured and was read as grey; annotations on a scan disturb the result",
            ),
            Self::AlmostBlack => {
                f.write_str("the picture is almost black; it may have been saved without a window")
            }
            Self::OnRequest(refusal) => write!(f, "analysed on request although {refusal}"),
            Self::NoRegion => {
                f.write_str("no region was found at all; the class comes from an empty batch")
            }
        }
    }
}
