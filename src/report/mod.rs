//! What was found: on a slice, in a series, in all files; and the verdict on a slice's class.

pub mod correction;
pub mod corrections;
pub mod joined_lesions;
pub mod lung_volume;
pub mod lungs;
pub mod measurements;
pub mod probabilities;
pub mod regions;
pub mod reopened;
pub mod series;
pub mod slice;
pub mod verdict;
pub mod whole;

pub use probabilities::ClassProbabilities;
pub use series::SeriesReport;
pub use slice::{Contradiction, Lesion, Origin, ReaderClass, SliceReport};
pub use whole::{FileError, ModelInfo, ModelsInfo, NOTICE, Report, SCHEMA};
