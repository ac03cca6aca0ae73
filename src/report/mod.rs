//! What was found: on a slice, in a series, in all files; and the verdict on a slice's class.

pub mod joined_lesions;
pub mod lung_volume;
pub mod lungs;
pub mod regions;
pub mod series;
mod slice;
pub mod verdict;

pub use series::SeriesReport;
pub use slice::*;
