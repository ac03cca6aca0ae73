//! Drawing and measuring on a slice: keys, and the stroke that a pointer draws.

use crate::web::gestures::{Pointer, PointerAction};
use crate::web::view::View;

/// How much one key changes it.
const RADIUS_STEP: f64 = 1.25;
/// Pixels of the slice that a key with Shift moves the brush.
const LARGE_STEP: f64 = 10.0;

/// What a key means while the slice has the focus and a pointer would draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BrushKey {
    /// Move the brush by so many pixels of the slice.
    Move(f64, f64),
    /// Draw where it is; of what is measured, set an end there.
    Draw,
    /// Make it larger or smaller.
    Radius(f64),
}

impl BrushKey {
    /// Of a key as the browser names it.
    pub fn of(name: &str, shift: bool) -> Option<Self> {
        let step = if shift { LARGE_STEP } else { 1.0 };
        Some(match name {
            "ArrowLeft" => Self::Move(-step, 0.0),
            "ArrowRight" => Self::Move(step, 0.0),
            "ArrowUp" => Self::Move(0.0, -step),
            "ArrowDown" => Self::Move(0.0, step),
            " " | "Enter" => Self::Draw,
            "]" => Self::Radius(RADIUS_STEP),
            "[" => Self::Radius(1.0 / RADIUS_STEP),
            _ => return None,
        })
    }
}

/// Column and row of a slice of this size at `at`, in widths and heights of what `view` shows of it.
pub fn place(view: View, at: (f64, f64), (width, height): (usize, usize)) -> (f64, f64) {
    ((view.left + at.0 / view.zoom) * width as f64, (view.top + at.1 / view.zoom) * height as f64)
}

/// The other way round.
pub fn share(view: View, place: (f64, f64), (width, height): (usize, usize)) -> (f64, f64) {
    let of = |place: f64, length: usize, edge: f64| (place / length as f64 - edge) * view.zoom;
    (of(place.0, width, view.left), of(place.1, height, view.top))
}

/// What became of a stroke.
#[derive(Clone, Debug, PartialEq)]
pub enum Stroking {
    /// There is none.
    None,
    /// It goes on: from the first point to the second.
    Drawn((f64, f64), (f64, f64)),
    /// It is done, through these points.
    Done(Vec<(f64, f64)>),
    /// It was none: a second finger magnifies, the browser took the pointer away, or its end was not seen.
    GivenUp,
}

/// The stroke that is being drawn.
#[derive(Debug, Default)]
pub struct StrokeTracker {
    pointer: Option<i32>,
    points: Vec<(f64, f64)>,
}

impl StrokeTracker {
    /// What was drawn so far is not wanted.
    pub fn give_up(&mut self) -> Stroking {
        *self = Self::default();
        Stroking::GivenUp
    }

    /// Follows a pointer that is at `at` on the slice. The left button or one finger draws.
    pub fn follow(&mut self, pointer: &Pointer, at: (f64, f64)) -> Stroking {
        let is_own = self.pointer == Some(pointer.id);
        match pointer.action {
            PointerAction::Down if self.pointer.is_some() && !is_own => self.give_up(),
            PointerAction::Down if pointer.is_touch || (pointer.buttons == 1 && !pointer.shift) => {
                *self = Self { pointer: Some(pointer.id), points: vec![at] };
                Stroking::Drawn(at, at)
            }
            PointerAction::Cancel if is_own => self.give_up(),
            PointerAction::Move if is_own && pointer.buttons == 0 => self.give_up(),
            PointerAction::Move if is_own => {
                let before = self.points.last().copied().unwrap_or(at);
                self.points.push(at);
                Stroking::Drawn(before, at)
            }
            PointerAction::Up if is_own => Stroking::Done(std::mem::take(self).points),
            _ => Stroking::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pointer(id: i32, action: PointerAction, buttons: u16, is_touch: bool) -> Pointer {
        Pointer { id, action, at: (0.0, 0.0), buttons, is_touch, shift: false }
    }

    #[test]
    fn a_stroke_is_what_one_pointer_draws_from_down_to_up() {
        let mut tracker = StrokeTracker::default();
        let mut follow = |id, action, at| tracker.follow(&pointer(id, action, 1, false), at);
        assert_eq!(follow(1, PointerAction::Move, (0.0, 0.0)), Stroking::None, "it only hovers");
        follow(1, PointerAction::Down, (1.0, 1.0));
        let drawn = follow(1, PointerAction::Move, (2.0, 1.0));
        assert_eq!(drawn, Stroking::Drawn((1.0, 1.0), (2.0, 1.0)));
        let done = follow(1, PointerAction::Up, (2.0, 1.0));
        assert_eq!(done, Stroking::Done(vec![(1.0, 1.0), (2.0, 1.0)]));
        assert_eq!(follow(1, PointerAction::Up, (2.0, 1.0)), Stroking::None);
    }

    #[test]
    fn a_stroke_whose_end_is_not_seen_is_none() {
        let mut tracker = StrokeTracker::default();
        for (action, buttons) in [(PointerAction::Cancel, 0), (PointerAction::Move, 0)] {
            tracker.follow(&pointer(1, PointerAction::Down, 1, false), (1.0, 1.0));
            let end = tracker.follow(&pointer(1, action, buttons, false), (2.0, 1.0));
            assert_eq!(end, Stroking::GivenUp, "{action:?}");
            let after = tracker.follow(&pointer(1, PointerAction::Move, 0, false), (3.0, 1.0));
            assert_eq!(after, Stroking::None);
        }
    }

    #[test]
    fn other_buttons_and_a_second_finger_draw_nothing() {
        let mut tracker = StrokeTracker::default();
        for (buttons, shift) in [(2, false), (4, false), (1, true)] {
            let down = Pointer { shift, ..pointer(1, PointerAction::Down, buttons, false) };
            assert_eq!(tracker.follow(&down, (1.0, 1.0)), Stroking::None);
        }
        let mut finger = |id, action| tracker.follow(&pointer(id, action, 1, true), (1.0, 1.0));
        assert!(matches!(finger(1, PointerAction::Down), Stroking::Drawn(..)));
        assert_eq!(finger(2, PointerAction::Down), Stroking::GivenUp);
        assert_eq!(finger(1, PointerAction::Move), Stroking::None);
        assert_eq!(finger(1, PointerAction::Up), Stroking::None);
    }

    proptest! {
        #[test]
        fn places_and_shares_are_the_same_points(
            zoom in 1f64..16.0, x in 0f64..1.0, y in 0f64..1.0
        ) {
            let view = View::default().zoomed(zoom, (0.3, 0.8));
            let size = (512, 300);
            let (back_x, back_y) = share(view, place(view, (x, y), size), size);
            prop_assert!((back_x - x).abs() < 1e-9 && (back_y - y).abs() < 1e-9);
        }
    }
}
