//! What is on the canvas, and how it is shown.

use std::rc::Rc;

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
