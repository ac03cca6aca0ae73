//! What a report becomes outside the program: pictures.

pub mod overlay;
