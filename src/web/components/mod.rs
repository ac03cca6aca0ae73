//! The parts of the page.

mod about;
mod bench;
mod details;
mod exports;
mod file_header;
mod footer;
mod joined_lesions;
mod lesion_list;
mod lungs;
mod probabilities;
mod problems;
mod regions;
mod series_findings;
mod series_panel;
mod slice_canvas;
mod slice_input;
mod status;
mod view_tools;

pub use about::About;
pub use bench::Bench;
pub use details::Details;
pub use exports::Exports;
pub use file_header::FileHeader;
pub use footer::Footer;
pub use joined_lesions::JoinedLesions;
pub use lesion_list::LesionList;
pub use lungs::Lungs;
pub use probabilities::Probabilities;
pub use problems::Problems;
pub use regions::Regions;
pub use series_findings::SeriesFindings;
pub use series_panel::SeriesPanel;
pub use slice_canvas::SliceCanvas;
pub use slice_input::{InputError, SliceInput};
pub use status::Status;
