//! The lesions that are drawn on a slice, and which of them count (docs/method.md, 5.2).

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::classes::LesionClasses;
use crate::classes::mask_value::{CONSOLIDATION, GROUND_GLASS};
use crate::detection::mask::connected_components::connected_components;
use crate::detection::mask::scale_from_512;
use crate::detection::{BBox, Mask};
use crate::image::CtSlice;
use crate::unknown_name::UnknownName;

/// Lesions of this many pixels or fewer, where the long side has 512, do not count (docs/method.md, 5): the paper's rule.
pub const MINIMUM_AREA: usize = 100;

/// Which lesions of a mask are learnt, and as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LesionTargets {
    /// Ground-glass opacity and consolidation as one class; the paper's lightweight models.
    #[default]
    Merge,
    /// Ground-glass opacity alone.
    Ggo,
    /// Two classes.
    Both,
}

impl LesionTargets {
    /// The detector's classes.
    pub fn lesion_classes(self) -> LesionClasses {
        match self {
            Self::Merge | Self::Ggo => LesionClasses::Merge,
            Self::Both => LesionClasses::Both,
        }
    }

    /// The class of a mask's pixel, by value; 0 is no lesion.
    pub(super) fn class_of(self, value: u8) -> usize {
        match (self, value) {
            (_, GROUND_GLASS) => 1,
            (Self::Merge, CONSOLIDATION) => 1,
            (Self::Both, CONSOLIDATION) => 2,
            _ => 0,
        }
    }
}

impl FromStr for LesionTargets {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "merge" => Ok(Self::Merge),
            "ggo" => Ok(Self::Ggo),
            "both" => Ok(Self::Both),
            _ => Err(UnknownName {
                what: "choice of lesions",
                name: name.into(),
                known: "merge, ggo and both",
            }),
        }
    }
}

/// One lesion of a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// 1, or 2 for consolidation where it is told apart.
    pub class: usize,
    /// Bounding box in pixels, far corner exclusive.
    pub bbox: BBox,
    /// Its pixels.
    pub mask: Mask,
}

/// A slice with its lesions.
#[derive(Clone, Debug)]
pub struct LesionSlice {
    /// The picture.
    pub slice: CtSlice,
    /// Lesions over the minimum area, class by class, each class in reading order.
    pub instances: Vec<Instance>,
    /// Places that are neither lesion nor background: what is drawn there is too small to count.
    pub ignored: Vec<Instance>,
}

/// Which of the drawn lesions count, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LesionRules {
    /// What is learnt.
    pub classes: LesionTargets,
    /// Lesions of this many pixels or fewer do not count, where the long side of the slice has 512 pixels:
    /// a lesion does not become smaller because its slice was stored so.
    pub minimum_area: usize,
    /// Whether those are ignored; otherwise they are background, as in the paper.
    pub ignore_small: bool,
}

impl LesionRules {
    /// The paper's, for these classes.
    pub fn paper(classes: LesionTargets) -> Self {
        Self { classes, minimum_area: MINIMUM_AREA, ignore_small: false }
    }

    /// The smallest area that counts, in pixels of a slice of this size.
    pub fn minimum_in(&self, size: (usize, usize)) -> f64 {
        let scale = scale_from_512(size);
        self.minimum_area as f64 * scale * scale
    }

    /// Sorts what is drawn on a slice into lesions and ignored places.
    pub fn sort(&self, slice: CtSlice, drawn: Vec<Instance>) -> LesionSlice {
        let minimum = self.minimum_in((slice.width, slice.height));
        let (instances, mut ignored): (Vec<_>, Vec<_>) =
            drawn.into_iter().partition(|instance| instance.mask.area() as f64 > minimum);
        if !self.ignore_small {
            ignored.clear();
        }
        LesionSlice { slice, instances, ignored }
    }
}

/// The lesions of a mask: 8-connected components of each class with more than `minimum_area` px.
pub fn instances(
    values: &[u8],
    (width, height): (usize, usize),
    classes: LesionTargets,
    minimum_area: usize,
) -> Vec<Instance> {
    (1..classes.lesion_classes().num_classes())
        .flat_map(|class| {
            let pixels = values.iter().map(|value| classes.class_of(*value) == class).collect();
            connected_components(&Mask { width, height, pixels }, minimum_area)
                .into_iter()
                .map(move |found| Instance { class, bbox: found.bbox, mask: found.mask })
        })
        .collect()
}
