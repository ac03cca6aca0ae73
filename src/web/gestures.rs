//! What pointers, wheels and keys mean on a slice.

use crate::image::Window;
use crate::web::state::Step;
use crate::web::texts::{Text, text};

/// Magnification of one step.
const STEP: f64 = 1.25;
/// Share of what is seen that one key moves.
const KEY_PAN: f64 = 0.1;
/// Hounsfield units for each pixel that a pointer moves.
const UNITS_PER_PIXEL: f64 = 2.0;
/// Slices that a page key skips.
const PAGE: isize = 10;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gesture {
    /// Magnify about a point, in widths and heights of what is seen.
    Zoom {
        /// How much more.
        factor: f64,
        /// About which point.
        at: (f64, f64),
    },
    /// Move, in widths and heights of what is seen.
    Pan {
        /// To the right.
        x: f64,
        /// Down.
        y: f64,
    },
    /// Change the window, in Hounsfield units.
    Window {
        /// Width by.
        width: f64,
        /// Centre by.
        center: f64,
    },
    /// Take a window; `None` for the one that the network sees.
    SetWindow(Option<Window>),
    /// Go to another slice.
    Step(Step),
    /// See all of the slice.
    Fit,
    /// Show or hide the lesions.
    Overlay,
    /// Fill or outline them.
    Fill,
    /// Show or hide the mask scores beside the slice.
    Scores,
    /// Outline the lungs, or not.
    Lungs,
}

/// Where an element lies in the window, in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Bounds {
    /// A point of the window in widths and heights of the element.
    pub fn share(&self, (x, y): (f64, f64)) -> (f64, f64) {
        ((x - self.left) / self.width, (y - self.top) / self.height)
    }

    /// The same; of a point beside the element, the nearest in it.
    fn nearest(&self, at: (f64, f64)) -> (f64, f64) {
        let (across, down) = self.share(at);
        (across.clamp(0.0, 1.0), down.clamp(0.0, 1.0))
    }
}

/// What a pointer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PointerAction {
    /// A button or finger was put down.
    Down,
    /// It moved.
    Move,
    /// It was lifted.
    Up,
    /// The browser took it away.
    Cancel,
}

/// A pointer event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pointer {
    /// Which pointer.
    pub id: i32,
    /// What it did.
    pub action: PointerAction,
    /// Where, in pixels of the window.
    pub at: (f64, f64),
    /// Buttons that are down: 1 left, 2 right, 4 middle.
    pub buttons: u16,
    /// Whether it is a finger.
    pub is_touch: bool,
    /// Whether Shift is down.
    pub shift: bool,
}

impl Gesture {
    /// One step in.
    pub const ZOOM_IN: Self = Self::Zoom { factor: STEP, at: (0.5, 0.5) };
    /// One step out.
    pub const ZOOM_OUT: Self = Self::Zoom { factor: 1.0 / STEP, at: (0.5, 0.5) };

    /// The wheel scrolls through slices; with Control, which is also what pinching a touchpad sends, it
    /// magnifies. `down` is how far it turned towards the user.
    pub fn of_wheel(down: f64, control: bool, at: (f64, f64), bounds: &Bounds) -> Self {
        if control {
            let at = bounds.nearest(at);
            return Self::Zoom { factor: (-down * 0.004).exp().clamp(0.5, 2.0), at };
        }
        Self::Step(Step::By(if down > 0.0 { 1 } else { -1 }))
    }

    /// What a key means while the slice has the focus. `name` is the browser's.
    pub fn of_key(name: &str, shift: bool) -> Option<Self> {
        let pan = |x: f64, y: f64| Self::Pan { x: x * KEY_PAN, y: y * KEY_PAN };
        Some(match (name, shift) {
            ("ArrowUp", true) => pan(0.0, 1.0),
            ("ArrowDown", true) => pan(0.0, -1.0),
            ("ArrowLeft", true) => pan(1.0, 0.0),
            ("ArrowRight", true) => pan(-1.0, 0.0),
            ("ArrowUp" | "ArrowLeft", false) => Self::Step(Step::By(-1)),
            ("ArrowDown" | "ArrowRight", false) => Self::Step(Step::By(1)),
            ("PageUp", _) => Self::Step(Step::By(-PAGE)),
            ("PageDown", _) => Self::Step(Step::By(PAGE)),
            ("Home", _) => Self::Step(Step::First),
            ("End", _) => Self::Step(Step::Last),
            ("+" | "=", _) => Self::ZOOM_IN,
            ("-", _) => Self::ZOOM_OUT,
            ("0", _) => Self::Fit,
            ("1", _) => Self::SetWindow(None),
            ("2", _) => Self::SetWindow(Some(Window::LUNG)),
            ("3", _) => Self::SetWindow(Some(Window::MEDIASTINUM)),
            ("o", _) => Self::Overlay,
            ("f", _) => Self::Fill,
            ("m", _) => Self::Scores,
            ("l", _) => Self::Lungs,
            _ => return None,
        })
    }
}

/// The pointers that are down.
#[derive(Debug, Default)]
pub struct PointerTracker {
    /// Identifier and place, in pixels of the window.
    down: Vec<(i32, (f64, f64))>,
}

impl PointerTracker {
    /// Follows a pointer and says what its movement means: one pointer drags the window (left button) or
    /// the view (middle button, Shift, or a finger on a magnified slice) or magnifies (right button), two
    /// fingers magnify.
    pub fn follow(
        &mut self,
        pointer: &Pointer,
        bounds: &Bounds,
        has_window: bool,
        is_whole: bool,
    ) -> Option<Gesture> {
        let Pointer { id, at: now, .. } = *pointer;
        match pointer.action {
            PointerAction::Down => {
                self.down.retain(|(known, _)| *known != id);
                self.down.push((id, now));
                None
            }
            PointerAction::Move => {
                let index = self.down.iter().position(|(known, _)| *known == id)?;
                let before = std::mem::replace(&mut self.down[index].1, now);
                let moved = (now.0 - before.0, now.1 - before.1);
                if let [first, second] = self.down[..] {
                    let other = if index == 0 { second.1 } else { first.1 };
                    let distance = |a: (f64, f64)| (a.0 - other.0).hypot(a.1 - other.1).max(1.0);
                    let middle = ((now.0 + other.0) / 2.0, (now.1 + other.1) / 2.0);
                    let factor = distance(now) / distance(before);
                    return Some(Gesture::Zoom { factor, at: bounds.nearest(middle) });
                }
                let pan = Gesture::Pan { x: moved.0 / bounds.width, y: moved.1 / bounds.height };
                if pointer.is_touch {
                    return (!is_whole).then_some(pan);
                }
                match pointer.buttons {
                    2 => Some(Gesture::Zoom {
                        factor: (-moved.1 * 0.01).exp(),
                        at: bounds.nearest(now),
                    }),
                    1 if has_window && !pointer.shift => Some(Gesture::Window {
                        width: moved.0 * UNITS_PER_PIXEL,
                        center: moved.1 * UNITS_PER_PIXEL,
                    }),
                    1 | 4 => Some(pan),
                    _ => None,
                }
            }
            PointerAction::Up | PointerAction::Cancel => {
                self.down.retain(|(known, _)| *known != id);
                None
            }
        }
    }
}

/// Keys and pointer movements with their meanings, for the help sheet.
pub fn help() -> [(Text, Text); 17] {
    [
        (text!("keys.slices"), text!("keys.slices.means")),
        (text!("keys.page"), text!("keys.page.means")),
        (text!("keys.ends"), text!("keys.ends.means")),
        (text!("keys.drag"), text!("keys.drag.means")),
        (text!("keys.zoom"), text!("keys.zoom.means")),
        (text!("keys.right"), text!("keys.right.means")),
        (text!("keys.fingers"), text!("keys.fingers.means")),
        (text!("keys.pan"), text!("keys.pan.means")),
        (text!("keys.fit"), text!("keys.fit.means")),
        (text!("keys.windows"), text!("keys.windows.means")),
        (text!("keys.overlay"), text!("keys.overlay.means")),
        (text!("keys.fill"), text!("keys.fill.means")),
        (text!("keys.scores"), text!("keys.scores.means")),
        (text!("keys.lungs"), text!("keys.lungs.means")),
        (text!("keys.undo"), text!("keys.undo.means")),
        (text!("keys.tab"), text!("keys.tab.means")),
        (text!("keys.escape"), text!("keys.escape.means")),
    ]
}

/// Pixels of the window by which a pointer may move and still only points.
const POINTS: f64 = 4.0;

/// A pointer that is pressed and hardly moved, and no other with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tap {
    /// Pointers that are pressed.
    pressed: Vec<i32>,
    /// Where the only one began, as long as it may be a tap.
    from: Option<(f64, f64)>,
}

impl Tap {
    /// Follows a pointer; says whether a tap ended here.
    pub fn follow(&mut self, pointer: &Pointer) -> bool {
        let is_near =
            |from: (f64, f64)| (pointer.at.0 - from.0).hypot(pointer.at.1 - from.1) < POINTS;
        match pointer.action {
            PointerAction::Down => {
                self.pressed.retain(|id| *id != pointer.id);
                self.pressed.push(pointer.id);
                let is_alone = self.pressed.len() == 1 && pointer.buttons == 1 && !pointer.shift;
                self.from = Some(pointer.at).filter(|_| is_alone);
                false
            }
            PointerAction::Move => {
                self.from = self.from.filter(|from| is_near(*from));
                false
            }
            PointerAction::Up => {
                self.pressed.retain(|id| *id != pointer.id);
                self.from.take().is_some_and(is_near)
            }
            PointerAction::Cancel => {
                self.pressed.retain(|id| *id != pointer.id);
                self.from = None;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { left: 100.0, top: 50.0, width: 200.0, height: 400.0 };

    fn pointer(id: i32, action: PointerAction, at: (f64, f64), buttons: u16) -> Pointer {
        Pointer { id, action, at, buttons, is_touch: false, shift: false }
    }

    /// What a drag from `from` to `to` means.
    fn drag(change: impl Fn(&mut Pointer), has_window: bool, is_whole: bool) -> Option<Gesture> {
        let mut tracker = PointerTracker::default();
        let mut follow = |action, at| {
            let mut pointer = pointer(1, action, at, 1);
            change(&mut pointer);
            tracker.follow(&pointer, &BOUNDS, has_window, is_whole)
        };
        assert_eq!(follow(PointerAction::Down, (150.0, 150.0)), None);
        let found = follow(PointerAction::Move, (170.0, 130.0));
        assert_eq!(follow(PointerAction::Up, (170.0, 130.0)), None);
        assert_eq!(follow(PointerAction::Move, (180.0, 130.0)), None, "it is up");
        found
    }

    #[test]
    fn a_tap_is_one_pointer_that_hardly_moves() {
        let taps = |steps: &[(i32, PointerAction, (f64, f64))]| {
            let mut tap = Tap::default();
            let follow = |(id, action, at): &(i32, PointerAction, (f64, f64))| {
                tap.follow(&pointer(*id, *action, *at, 1))
            };
            steps.iter().map(follow).filter(|is_tap| *is_tap).count()
        };
        use PointerAction::{Cancel, Down, Move, Up};
        let (here, near, far) = ((50.0, 50.0), (52.0, 51.0), (90.0, 50.0));
        assert_eq!(taps(&[(1, Down, here), (1, Move, near), (1, Up, near)]), 1);
        assert_eq!(taps(&[(1, Down, here), (1, Up, here), (1, Down, far), (1, Up, far)]), 2);
        assert_eq!(taps(&[(1, Down, here), (1, Move, far), (1, Move, here), (1, Up, here)]), 0);
        assert_eq!(taps(&[(1, Down, here), (1, Up, far)]), 0);
        assert_eq!(taps(&[(1, Down, here), (1, Cancel, here), (1, Up, here)]), 0);
        let pinch =
            [(1, Down, here), (2, Down, far), (2, Move, here), (2, Up, here), (1, Up, here)];
        assert_eq!(taps(&pinch), 0);
        assert_eq!(taps(&[(1, Up, here)]), 0);
    }

    #[test]
    fn a_drag_windows_pans_or_magnifies_by_button_and_shift() {
        let window = Gesture::Window { width: 40.0, center: -40.0 };
        let pan = Gesture::Pan { x: 0.1, y: -0.05 };
        assert_eq!(drag(|_| (), true, true), Some(window));
        assert_eq!(drag(|_| (), false, true), Some(pan), "a picture has no window");
        assert_eq!(drag(|pointer| pointer.shift = true, true, true), Some(pan));
        assert_eq!(drag(|pointer| pointer.buttons = 4, true, true), Some(pan));
        assert_eq!(drag(|pointer| pointer.buttons = 0, true, true), None);
        let zoom = drag(|pointer| pointer.buttons = 2, true, true);
        assert_eq!(zoom, Some(Gesture::Zoom { factor: 0.2f64.exp(), at: (0.35, 0.2) }));
    }

    #[test]
    fn a_finger_moves_a_magnified_slice_and_scrolls_the_page_over_a_whole_one() {
        let touch = |pointer: &mut Pointer| pointer.is_touch = true;
        assert_eq!(drag(touch, true, true), None);
        assert_eq!(drag(touch, true, false), Some(Gesture::Pan { x: 0.1, y: -0.05 }));
    }

    #[test]
    fn two_fingers_magnify_about_their_middle() {
        let mut tracker = PointerTracker::default();
        let mut follow = |id, action, at| {
            let finger = Pointer { is_touch: true, ..pointer(id, action, at, 1) };
            tracker.follow(&finger, &BOUNDS, true, true)
        };
        follow(1, PointerAction::Down, (150.0, 250.0));
        follow(2, PointerAction::Down, (250.0, 250.0));
        let spread = follow(2, PointerAction::Move, (350.0, 250.0));
        assert_eq!(spread, Some(Gesture::Zoom { factor: 2.0, at: (0.75, 0.5) }));
        follow(1, PointerAction::Up, (150.0, 250.0));
        assert_eq!(follow(2, PointerAction::Move, (360.0, 250.0)), None, "one finger is left");
    }

    #[test]
    fn the_wheel_scrolls_and_with_control_magnifies_no_more_than_twice() {
        let wheel = |down, control| Gesture::of_wheel(down, control, (0.0, 250.0), &BOUNDS);
        assert_eq!(wheel(120.0, false), Gesture::Step(Step::By(1)));
        assert_eq!(wheel(-1.0, false), Gesture::Step(Step::By(-1)));
        assert_eq!(wheel(-9999.0, true), Gesture::Zoom { factor: 2.0, at: (0.0, 0.5) });
    }

    #[test]
    fn every_key_of_the_help_sheet_means_something() {
        let keys =
            ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home"];
        let more = ["End", "+", "-", "0", "1", "2", "3", "o", "f", "m", "l"];
        for key in keys.into_iter().chain(more) {
            assert!(Gesture::of_key(key, false).is_some(), "{key}");
        }
        assert_eq!(Gesture::of_key("ArrowLeft", true), Some(Gesture::Pan { x: 0.1, y: 0.0 }));
        assert_eq!(Gesture::of_key("a", false), None);
        // The help names each of the letters.
        let named = help().map(|(key, _)| key.to_string());
        for key in ["0", "o", "f", "m", "l"] {
            assert!(named.iter().any(|name| name == key), "{key}");
        }
    }
}
