//! From files to the network's input: decoding, series, windowing, resizing; and phantoms.

pub mod decode;
pub mod lungs;
mod natural_order;
pub mod phantom;
pub mod plane;
pub mod plausibility;
pub mod preprocess;
pub mod refusal;
pub mod sections;
pub mod series;
pub mod series_slice;
pub mod slice;
pub mod study;
pub mod volume;
pub mod warning;
pub mod window;

pub use decode::{ImageError, decode_slice};
pub use plane::Plane;
pub use preprocess::NetworkInput;
pub use refusal::{NotChestCt, Refusal};
pub use series::Series;
pub use series_slice::{FileBytes, SeriesSlice};
pub use slice::CtSlice;
pub use study::Study;
pub use warning::Warning;
pub use window::Window;
