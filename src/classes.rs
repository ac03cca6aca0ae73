//! What slices and lesions are called: number, key, name and colour, once.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Number of classes of a slice.
pub const CLASSES: usize = 3;

/// Class of a slice, in the order of the logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "usize", try_from = "usize")]
pub enum SliceClass {
    /// No pneumonia.
    Control,
    /// Pneumonia that is not COVID-19.
    CommonPneumonia,
    /// COVID-19.
    Covid19,
}

impl SliceClass {
    /// All classes, in the order of the logits.
    pub const ALL: [Self; CLASSES] = [Self::Control, Self::CommonPneumonia, Self::Covid19];

    /// Its place among the logits.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The class of a place among the logits.
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    /// The class of the highest value, by their places; the first of equal ones.
    pub fn of_highest<T: PartialOrd>(values: &[T; CLASSES]) -> Self {
        let higher = |best: Self, class: Self| {
            if values[class.index()] > values[best.index()] { class } else { best }
        };
        Self::ALL.into_iter().fold(Self::Control, higher)
    }

    /// Whether it is pneumonia, of whatever kind.
    pub fn is_pneumonia(self) -> bool {
        self != Self::Control
    }

    /// Its name in JSON and CSV.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::CommonPneumonia => "common_pneumonia",
            Self::Covid19 => "covid19",
        }
    }

    /// Its name in English sentences.
    pub fn name(self) -> &'static str {
        ["control", "common pneumonia", "COVID-19"][self.index()]
    }

    /// Its name in headings.
    pub fn title(self) -> &'static str {
        ["Control", "Common Pneumonia", "COVID-19"][self.index()]
    }

    /// What the names of its files begin with, as in COVIDx-CT.
    pub fn prefix(self) -> &'static str {
        ["Normal", "CP", "NCP"][self.index()]
    }

    /// The class that a file name begins with: COVIDx-CT's word, or the number, as the paper's author writes it.
    pub fn of_name(name: &str) -> Option<Self> {
        let word = name.split('_').next()?;
        let is_own = |class: &Self| word == class.prefix() || word == class.index().to_string();
        Self::ALL.into_iter().find(is_own)
    }
}

/// As it is written: its place among the logits.
impl From<SliceClass> for usize {
    fn from(class: SliceClass) -> Self {
        class.index()
    }
}

impl TryFrom<usize> for SliceClass {
    type Error = &'static str;

    fn try_from(index: usize) -> Result<Self, &'static str> {
        Self::from_index(index).ok_or("a class is 0, 1 or 2")
    }
}

/// Kind of a lesion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LesionKind {
    /// Ground glass or consolidation, from a network that does not tell them apart.
    Lesion,
    /// Ground-glass opacity.
    GroundGlass,
    /// Consolidation.
    Consolidation,
}

impl LesionKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Lesion, Self::GroundGlass, Self::Consolidation];

    /// Its name in JSON and CSV.
    pub fn key(self) -> &'static str {
        match self {
            Self::Lesion => "lesion",
            Self::GroundGlass => "ground_glass",
            Self::Consolidation => "consolidation",
        }
    }

    /// Its name in English sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lesion => "lesion",
            Self::GroundGlass => "ground glass",
            Self::Consolidation => "consolidation",
        }
    }

    /// Its number in masks and COCO categories: 1, or 2 for consolidation.
    pub fn category(self) -> u8 {
        if self == Self::Consolidation { 2 } else { 1 }
    }

    /// The name of its COCO category.
    pub fn category_name(self) -> &'static str {
        if self == Self::Consolidation { "consolidation" } else { "ground_glass_or_lesion" }
    }

    /// Its colour. Consolidation and ground glass differ in brightness too, so that the difference survives a grey
    /// print.
    pub fn rgb(self) -> [u8; 3] {
        if self == Self::Consolidation { [255, 196, 0] } else { [235, 64, 52] }
    }
}

/// Which lesion classes the detector tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LesionClasses {
    /// One class, lesion: ground-glass opacity and consolidation merged (also for `ggo` alone).
    Merge,
    /// Two classes: ground-glass opacity, consolidation.
    Both,
}

impl LesionClasses {
    /// Classes of the box head, background included.
    pub fn num_classes(self) -> usize {
        match self {
            Self::Merge => 2,
            Self::Both => 3,
        }
    }
}

impl fmt::Display for LesionClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Merge => "merge",
            Self::Both => "both",
        })
    }
}

/// Values of a mask pixel, as in the CNCB data (docs/method.md, 5.1).
pub mod mask_value {
    /// Outside the lungs.
    pub const BACKGROUND: u8 = 0;
    /// Healthy lung.
    pub const LUNG: u8 = 1;
    /// Ground-glass opacity.
    pub const GROUND_GLASS: u8 = 2;
    /// Consolidation.
    pub const CONSOLIDATION: u8 = 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_tell_a_class_by_word_or_number() {
        assert_eq!(SliceClass::of_name("NCP_12_3.png"), Some(SliceClass::Covid19));
        assert_eq!(SliceClass::of_name("CP_1_1_1.png"), Some(SliceClass::CommonPneumonia));
        assert_eq!(SliceClass::of_name("0_7.png"), Some(SliceClass::Control));
        assert_eq!(SliceClass::of_name("scan_7.png"), None);
        assert_eq!(SliceClass::of_name(""), None);
    }

    #[test]
    fn a_kind_is_written_as_its_key() {
        for kind in LesionKind::ALL {
            let written = serde_json::to_value(kind).expect("JSON");
            assert_eq!(written, kind.key());
        }
    }
}
