//! What is on the canvas, and how it is shown.

use std::rc::Rc;

use crate::image::sections::Sections;
use crate::web::messages::reader::ShownSlice;
use crate::web::view::View;

/// A slice on the canvas.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedSlice {
    /// File name.
    pub source: String,
    /// Its number, counted through all series.
    pub slice: usize,
    /// Grey values, row-major.
    pub pixels: Rc<Vec<u8>>,
    /// The file's values, row-major; `None` for a picture.
    pub values: Option<Rc<Vec<i16>>>,
    /// Size, windows, spacing.
    pub shown: ShownSlice,
}

/// Planes across a series, as the reader cut them.
#[derive(Clone, Debug, PartialEq)]
pub struct RenderedSections {
    /// Number of the series' first slice, counted through all series.
    pub first: usize,
    /// How many of its slices are in them; the others are black.
    pub read: usize,
    /// Where they lie.
    pub sections: Sections,
    /// Grey values of each, in the order of [`Sections::cuts`], row-major.
    pub pixels: [Rc<Vec<u8>>; 2],
}

/// Planes across the shown series that are looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Reslice {
    /// Column and row of the slices where they lie.
    pub at: (usize, usize),
    /// Those that came last, perhaps of another place.
    pub rendered: Option<RenderedSections>,
    /// First slice of a series that has none, and why.
    pub error: Option<(usize, String)>,
}

/// How a slice is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Display {
    /// The part to look at.
    pub view: View,
    /// Whether lesions are drawn.
    pub overlay: bool,
    /// Whether their masks are filled.
    pub filled: bool,
    /// Opacity of filled masks, 0 to 1.
    pub opacity: f64,
    /// Whether the mask scores are shown beside it.
    pub scores: bool,
    /// Whether the lungs are outlined.
    pub lungs: bool,
}

impl Default for Display {
    fn default() -> Self {
        Self {
            view: View::default(),
            overlay: true,
            filled: true,
            opacity: 0.35,
            scores: false,
            lungs: false,
        }
    }
}

/// A way through the slices of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many on, or back.
    By(isize),
    /// To the first.
    First,
    /// To the last.
    Last,
}
