//! The pictures shown last: a worker deep in a slice answers late, and scrolling should not wait.

use std::collections::VecDeque;

use crate::image::Window;
use crate::web::state::RenderedSlice;

/// Pictures kept: three quarters of a megabyte each at 512 x 512, with their values.
const MOST: usize = 32;

/// A slice, and the window chosen for it.
pub type View = (usize, Option<Window>);

/// Pictures by slice and window, oldest first.
#[derive(Debug, Default)]
pub struct ImageCache(VecDeque<(View, RenderedSlice)>);

impl ImageCache {
    /// A picture, if it is kept.
    pub fn get(&self, view: View) -> Option<RenderedSlice> {
        self.0.iter().find(|(kept, _)| *kept == view).map(|(_, picture)| picture.clone())
    }

    /// Keeps a picture; the oldest has to go if there are many.
    pub fn keep(&mut self, view: View, picture: RenderedSlice) {
        let pictures = &mut self.0;
        pictures.retain(|(kept, _)| *kept != view);
        pictures.push_back((view, picture));
        if pictures.len() > MOST {
            pictures.pop_front();
        }
    }

    /// Forgets all, because other files are open.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
