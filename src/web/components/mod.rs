//! The parts of the page.

mod bench;
mod lesion_list;
mod probabilities;
mod slice_canvas;
mod slice_input;
mod status;

pub use bench::Bench;
pub use lesion_list::LesionList;
pub use probabilities::Probabilities;
pub use slice_canvas::SliceCanvas;
pub use slice_input::SliceInput;
pub use status::Status;
