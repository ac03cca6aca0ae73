//! What pointers, wheels and keys mean on a slice.

use web_sys::{Element, HtmlElement, KeyboardEvent, PointerEvent, WheelEvent};
use yew::AttrValue;

use crate::image::Window;
use crate::web::state::Step;
use crate::web::texts::text;

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

impl Gesture {
    /// One step in.
    pub const ZOOM_IN: Self = Self::Zoom { factor: STEP, at: (0.5, 0.5) };
    /// One step out.
    pub const ZOOM_OUT: Self = Self::Zoom { factor: 1.0 / STEP, at: (0.5, 0.5) };

    /// The wheel scrolls through slices; with Control, which is also what pinching a touchpad sends, it
    /// magnifies.
    pub fn of_wheel(event: &WheelEvent, element: &Element) -> Self {
        if event.ctrl_key() || event.meta_key() {
            let at = nearest(event.client_x(), event.client_y(), element);
            return Self::Zoom { factor: (-event.delta_y() * 0.004).exp().clamp(0.5, 2.0), at };
        }
        Self::Step(Step::By(if event.delta_y() > 0.0 { 1 } else { -1 }))
    }
}

/// A point of the window in widths and heights of an element.
pub fn place(x: i32, y: i32, element: &Element) -> (f64, f64) {
    let bounds = element.get_bounding_client_rect();
    let share = |at: i32, from: f64, length: f64| (f64::from(at) - from) / length;
    (share(x, bounds.left(), bounds.width()), share(y, bounds.top(), bounds.height()))
}

/// The same; of a point beside the element, the nearest in it.
fn nearest(x: i32, y: i32, element: &Element) -> (f64, f64) {
    let (across, down) = place(x, y, element);
    (across.clamp(0.0, 1.0), down.clamp(0.0, 1.0))
}

/// The pointers that are down.
#[derive(Debug, Default)]
pub struct PointerTracker {
    /// Identifier and place, in pixels of the window.
    fingers: Vec<(i32, (f64, f64))>,
}

impl PointerTracker {
    /// Follows a pointer and says what its movement means: one pointer drags the window (left button) or
    /// the view (middle button, Shift, or a finger on a magnified slice) or magnifies (right button), two
    /// fingers magnify.
    pub fn follow(
        &mut self,
        event: &PointerEvent,
        element: &HtmlElement,
        has_window: bool,
        is_whole: bool,
    ) -> Option<Gesture> {
        let (id, now) =
            (event.pointer_id(), (f64::from(event.client_x()), f64::from(event.client_y())));
        match event.type_().as_str() {
            "pointerdown" => {
                self.fingers.retain(|(finger, _)| *finger != id);
                self.fingers.push((id, now));
                // Without capture the drag only ends at the edge.
                element.set_pointer_capture(id).ok();
                None
            }
            "pointermove" => {
                let index = self.fingers.iter().position(|(finger, _)| *finger == id)?;
                let before = std::mem::replace(&mut self.fingers[index].1, now);
                let moved = (now.0 - before.0, now.1 - before.1);
                let bounds = element.get_bounding_client_rect();
                if let [first, second] = self.fingers[..] {
                    let other = if index == 0 { second.1 } else { first.1 };
                    let distance = |a: (f64, f64)| (a.0 - other.0).hypot(a.1 - other.1).max(1.0);
                    let middle = ((now.0 + other.0) / 2.0, (now.1 + other.1) / 2.0);
                    let at = nearest(middle.0 as i32, middle.1 as i32, element);
                    let factor = distance(now) / distance(before);
                    return Some(Gesture::Zoom { factor, at });
                }
                let pan =
                    Gesture::Pan { x: moved.0 / bounds.width(), y: moved.1 / bounds.height() };
                if event.pointer_type() == "touch" {
                    return (!is_whole).then_some(pan);
                }
                match event.buttons() {
                    2 => {
                        let at = nearest(event.client_x(), event.client_y(), element);
                        Some(Gesture::Zoom { factor: (-moved.1 * 0.01).exp(), at })
                    }
                    1 if has_window && !event.shift_key() => Some(Gesture::Window {
                        width: moved.0 * UNITS_PER_PIXEL,
                        center: moved.1 * UNITS_PER_PIXEL,
                    }),
                    1 | 4 => Some(pan),
                    _ => None,
                }
            }
            _ => {
                self.fingers.retain(|(finger, _)| *finger != id);
                None
            }
        }
    }
}

/// What a key means while the slice has the focus.
pub fn key(event: &KeyboardEvent) -> Option<Gesture> {
    if event.ctrl_key() || event.meta_key() || event.alt_key() {
        return None;
    }
    let pan = |x: f64, y: f64| Gesture::Pan { x: x * KEY_PAN, y: y * KEY_PAN };
    Some(match (event.key().as_str(), event.shift_key()) {
        ("ArrowUp", true) => pan(0.0, 1.0),
        ("ArrowDown", true) => pan(0.0, -1.0),
        ("ArrowLeft", true) => pan(1.0, 0.0),
        ("ArrowRight", true) => pan(-1.0, 0.0),
        ("ArrowUp" | "ArrowLeft", false) => Gesture::Step(Step::By(-1)),
        ("ArrowDown" | "ArrowRight", false) => Gesture::Step(Step::By(1)),
        ("PageUp", _) => Gesture::Step(Step::By(-PAGE)),
        ("PageDown", _) => Gesture::Step(Step::By(PAGE)),
        ("Home", _) => Gesture::Step(Step::First),
        ("End", _) => Gesture::Step(Step::Last),
        ("+" | "=", _) => Gesture::ZOOM_IN,
        ("-", _) => Gesture::ZOOM_OUT,
        ("0", _) => Gesture::Fit,
        ("1", _) => Gesture::SetWindow(None),
        ("2", _) => Gesture::SetWindow(Some(Window::LUNG)),
        ("3", _) => Gesture::SetWindow(Some(Window::MEDIASTINUM)),
        ("o", _) => Gesture::Overlay,
        ("f", _) => Gesture::Fill,
        ("m", _) => Gesture::Scores,
        ("l", _) => Gesture::Lungs,
        _ => return None,
    })
}

/// Keys and pointer movements with their meanings, for the help sheet.
pub fn help() -> [(AttrValue, AttrValue); 16] {
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
        (text!("keys.tab"), text!("keys.tab.means")),
        (text!("keys.escape"), text!("keys.escape.means")),
    ]
}
