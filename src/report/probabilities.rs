//! How probable each class of a slice is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::classes::CLASSES;

/// Probabilities of the slice's class: softmax of the three logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassProbabilities {
    /// No pneumonia.
    pub control: f32,
    /// Pneumonia that is not COVID-19.
    pub common_pneumonia: f32,
    /// COVID-19.
    pub covid19: f32,
}

impl ClassProbabilities {
    /// From the values in the order of the classes.
    pub fn new([control, common_pneumonia, covid19]: [f32; CLASSES]) -> Self {
        Self { control, common_pneumonia, covid19 }
    }

    /// The values in the order of the classes.
    pub fn values(&self) -> [f32; CLASSES] {
        [self.control, self.common_pneumonia, self.covid19]
    }
}

impl fmt::Display for ClassProbabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [control, common_pneumonia, covid19] = self.values().map(|value| value * 100.0);
        write!(
            f,
            "Control {control:.1} %, Common Pneumonia {common_pneumonia:.1} %, COVID-19 {covid19:.1} %"
        )
    }
}
