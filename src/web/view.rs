//! The part of a slice that is looked at.

/// Largest magnification.
pub const MOST_ZOOM: f64 = 16.0;

/// A part of a slice: magnified `zoom` times, with its upper left corner at (`left`, `top`), counted in
/// widths and heights of the slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// Magnification, from 1: the whole slice.
    pub zoom: f64,
    /// Left edge, 0 to 1.
    pub left: f64,
    /// Upper edge, 0 to 1.
    pub top: f64,
}

impl Default for View {
    fn default() -> Self {
        Self { zoom: 1.0, left: 0.0, top: 0.0 }
    }
}

impl View {
    /// Nothing outside the slice is ever looked at.
    fn bounded(self) -> Self {
        let zoom = self.zoom.clamp(1.0, MOST_ZOOM);
        let bound = |edge: f64| edge.clamp(0.0, 1.0 - 1.0 / zoom);
        Self { zoom, left: bound(self.left), top: bound(self.top) }
    }

    /// Magnified `factor` times more; what lies at `point`, in widths and heights of what is seen, stays
    /// where it is unless that would show what is outside.
    pub fn zoomed(self, factor: f64, point: (f64, f64)) -> Self {
        let zoom = (self.zoom * factor).clamp(1.0, MOST_ZOOM);
        let moved = |edge: f64, at: f64| edge + at / self.zoom - at / zoom;
        Self { zoom, left: moved(self.left, point.0), top: moved(self.top, point.1) }.bounded()
    }

    /// Moved so that what is seen follows a pointer that moved by (`x`, `y`), in widths and heights of
    /// what is seen.
    pub fn dragged(self, x: f64, y: f64) -> Self {
        Self { left: self.left - x / self.zoom, top: self.top - y / self.zoom, ..self }.bounded()
    }

    /// Whether all of the slice is seen.
    pub fn is_whole(&self) -> bool {
        self.zoom <= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_done_only_the_slice_is_seen(
            steps in prop::collection::vec((0.1f64..10.0, -2.0f64..2.0, -2.0f64..2.0), 0..20)
        ) {
            let mut view = View::default();
            for (factor, x, y) in steps {
                view = view.zoomed(factor, (x.abs().min(1.0), y.abs().min(1.0))).dragged(x, y);
                prop_assert!((1.0..=MOST_ZOOM).contains(&view.zoom));
                prop_assert!(view.left >= 0.0 && view.left + 1.0 / view.zoom <= 1.0 + 1e-9);
                prop_assert!(view.top >= 0.0 && view.top + 1.0 / view.zoom <= 1.0 + 1e-9);
            }
        }

        #[test]
        fn magnifying_keeps_what_lies_under_the_pointer(
            zoom in 1.0f64..4.0, factor in 1.0f64..4.0, x in 0.0f64..1.0, y in 0.0f64..1.0
        ) {
            let before = View::default().zoomed(zoom, (0.5, 0.5));
            let after = before.zoomed(factor, (x, y));
            let place = |view: View| (view.left + x / view.zoom, view.top + y / view.zoom);
            prop_assert!((place(before).0 - place(after).0).abs() < 1e-9);
            prop_assert!((place(before).1 - place(after).1).abs() < 1e-9);
        }
    }
}
