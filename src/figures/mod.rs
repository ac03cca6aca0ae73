//! Drawings for papers and run folders, as SVG and PNG from one description.

mod plot;

pub use plot::{Series, lines};
