//! The three classes of a slice.

/// Control, common pneumonia, COVID-19: in the order of the logits.
pub const CLASSES: usize = 3;

/// Their names.
pub const CLASS_NAMES: [&str; CLASSES] = ["control", "common pneumonia", "COVID-19"];
