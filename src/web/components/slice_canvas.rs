//! The slice with masks, boxes and scores, moved and windowed by pointer, wheel and keys.

use std::rc::Rc;

use gloo::events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlCanvasElement, HtmlElement, PointerEvent, WheelEvent};
use yew::prelude::*;

use crate::image::Window;
use crate::report::SliceReport;
use crate::report::correction::{Correction, Stroke};
use crate::report::measurements::{Shape, axes};
use crate::web::browser;
use crate::web::brush::{self, BrushKey, StrokeTracker, Stroking};
use crate::web::components::view_tools::ViewTools;
use crate::web::drawing::{Outlines, draw, draw_scores, draw_stroke};
use crate::web::editing::{Editing, Tool};
use crate::web::gestures::{Bounds, Gesture, Pointer, PointerAction, PointerTracker, Tap};
use crate::web::read_out::{ReadOut, measure};
use crate::web::scale_bar::ScaleBar;
use crate::web::state::{Display, RenderedSlice, Step};
use crate::web::texts::{counted, decimal, text};
use crate::web::view::View;

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The slice.
    pub picture: RenderedSlice,
    /// What was found on it, once known.
    pub report: Option<Rc<SliceReport>>,
    /// Mask scores of its lesions, strongest first, 28 x 28 bytes each.
    pub scores: Option<Rc<Vec<u8>>>,
    /// The lesion pointed at.
    pub highlighted: Option<usize>,
    /// How it is shown.
    pub display: Display,
    /// Called to show it differently.
    pub on_display: Callback<Display>,
    /// The chosen window; `None` for the one that the network sees.
    pub window: Option<Window>,
    /// Called with another window.
    pub on_window: Callback<Option<Window>>,
    /// Called to go to another slice.
    pub on_step: Callback<Step>,
    /// How findings are corrected.
    pub editing: Option<Editing>,
    /// Called to correct them in another way.
    pub on_editing: Callback<Editing>,
    /// Called with what was drawn or measured.
    pub on_correct: Callback<Correction>,
    /// Column and row where planes across the series lie, if they are shown.
    pub cross: Option<(usize, usize)>,
    /// Called to move them.
    pub on_cross: Callback<(usize, usize)>,
    /// What lies beside it.
    pub children: Html,
}

fn summary(props: &Props) -> AttrValue {
    let source = &props.picture.source;
    let report = props.report.as_ref().filter(|report| report.segmented);
    let mut summary = match report.map(|report| report.lesions.len()) {
        None => text!("slice.alone", source = source),
        Some(count) => counted!("slice.lesions", count, source = source),
    }
    .to_string();
    if let Some(plane) = props.picture.shown.plane {
        let [left, right, upper, lower] = plane.edges();
        summary += &text!("slice.edges", left = left, right = right, upper = upper, lower = lower);
    }
    if let Some(bar) = ScaleBar::of(&props.picture.shown, props.display.view) {
        let millimetres = decimal(bar.millimetres, bar.digits());
        summary += &text!("slice.bar", millimetres = millimetres);
    }
    summary.into()
}

/// Where an element lies.
fn bounds(element: &Element) -> Bounds {
    let bounds = element.get_bounding_client_rect();
    let (left, top) = (bounds.left(), bounds.top());
    Bounds { left, top, width: bounds.width(), height: bounds.height() }
}

/// Where the mouse is, in pixels of the window.
fn place(event: &MouseEvent) -> (f64, f64) {
    (f64::from(event.client_x()), f64::from(event.client_y()))
}

fn pointer(event: &PointerEvent) -> Pointer {
    Pointer {
        id: event.pointer_id(),
        action: match event.type_().as_str() {
            "pointerdown" => PointerAction::Down,
            "pointermove" => PointerAction::Move,
            "pointercancel" => PointerAction::Cancel,
            _ => PointerAction::Up,
        },
        at: place(event),
        buttons: event.buttons(),
        is_touch: event.pointer_type() == "touch",
        shift: event.shift_key(),
    }
}

/// The slice and what it is shown with.
#[component]
pub fn SliceCanvas(props: &Props) -> Html {
    let canvas = use_node_ref();
    // Strokes that came to nothing: the slice is drawn again after each.
    let given_up = use_state(|| 0);
    // Outlines are traced once a report, not once a frame.
    let outlines = use_memo(props.report.clone(), |report| {
        report.as_ref().map(|report| Outlines::of(report)).unwrap_or_default()
    });
    {
        let canvas = canvas.clone();
        let shown = (props.picture.clone(), props.report.clone(), props.highlighted);
        let dependencies = (shown, props.display, *given_up);
        use_effect_with(dependencies, move |((picture, report, highlighted), display, _)| {
            if let Some(canvas) = canvas.cast::<HtmlCanvasElement>() {
                let report = report.as_deref().map(|report| (report, &*outlines));
                if let Err(error) = draw(&canvas, picture, report, *highlighted, *display) {
                    log::error!("the slice could not be drawn: {}", browser::describe(&error));
                }
            }
        });
    }
    let score_map = use_node_ref();
    let has_scores = props.display.scores && props.report.is_some() && props.scores.is_some();
    {
        let score_map = score_map.clone();
        let shown = props.report.clone().zip(props.scores.clone()).filter(|_| has_scores);
        use_effect_with((shown, props.display.view), move |(shown, view)| {
            if let (Some(canvas), Some((report, scores))) =
                (score_map.cast::<HtmlCanvasElement>(), shown)
                && let Err(error) = draw_scores(&canvas, report, scores, *view)
            {
                log::error!("the scores could not be drawn: {}", browser::describe(&error));
            }
        });
    }
    let pointer_tracker = use_mut_ref(PointerTracker::default);
    let stroke_tracker = use_mut_ref(StrokeTracker::default);
    // Nothing is drawn on a slice of which nothing is known yet.
    let editing = props.editing.filter(|editing| editing.draws() && props.report.is_some());
    let size = (props.picture.shown.width, props.picture.shown.height);
    // Where what is being measured begins.
    let anchor = use_state(|| None::<(f64, f64)>);
    {
        // What was begun on another slice, with another tool or on another lesion does not go on here.
        let (stroke_tracker, anchor) = (stroke_tracker.clone(), anchor.clone());
        let subject = (props.picture.slice, props.editing.map(|it| (it.tool, it.lesion)));
        use_effect_with(subject, move |_| {
            stroke_tracker.borrow_mut().give_up();
            anchor.set(None);
        });
    }
    let correct = {
        let (on_correct, picture) = (props.on_correct.clone(), props.picture.clone());
        move |editing: Editing, points: Vec<(f64, f64)>| {
            let ends = points.first().copied().zip(points.last().copied());
            let shape = ends.and_then(|(from, to)| editing.tool.shape([from, to]));
            on_correct.emit(match shape {
                Some(shape) => Correction::Measure(measure(shape, &picture)),
                None => {
                    let Editing { lesion, radius, kind, .. } = editing;
                    let erases = editing.tool == Tool::Eraser;
                    Correction::Paint(Stroke { lesion, points, radius, erases, kind })
                }
            });
        }
    };
    let display = props.display;
    // The point, not what lies there: slices are scrolled under a pointer that rests.
    let point = use_state(|| None::<(f64, f64)>);
    let read_out = (*point).and_then(|at| ReadOut::at(&props.picture, display.view, at));
    let on_leave = {
        let point = point.clone();
        // The keys go on from where a pointer left the brush.
        let keeps = props.editing.is_some_and(|editing| editing.draws());
        Callback::from(move |_: PointerEvent| {
            if !keeps {
                point.set(None);
            }
        })
    };
    let apply = {
        let (on_display, on_window, on_step) =
            (props.on_display.clone(), props.on_window.clone(), props.on_step.clone());
        let (display, shown_through) = (props.display, props.picture.shown.window);
        Rc::new(move |gesture: Gesture| match gesture {
            Gesture::Zoom { factor, at } => {
                on_display.emit(Display { view: display.view.zoomed(factor, at), ..display });
            }
            Gesture::Pan { x, y } => {
                on_display.emit(Display { view: display.view.dragged(x, y), ..display });
            }
            Gesture::Window { width, center } => {
                if let Some(window) = shown_through {
                    on_window.emit(Some(window.moved(width, center)));
                }
            }
            Gesture::SetWindow(window) => {
                if shown_through.is_some() {
                    on_window.emit(window);
                }
            }
            Gesture::Step(step) => on_step.emit(step),
            Gesture::Fit => {
                on_display.emit(Display { view: Default::default(), ..display });
            }
            Gesture::Overlay => on_display.emit(Display { overlay: !display.overlay, ..display }),
            Gesture::Fill => on_display.emit(Display { filled: !display.filled, ..display }),
            Gesture::Scores => on_display.emit(Display { scores: !display.scores, ..display }),
            Gesture::Lungs => on_display.emit(Display { lungs: !display.lungs, ..display }),
        })
    };
    {
        // Yew listens to wheels passively; the page must not scroll under the slice.
        let (canvas, apply) = (canvas.clone(), apply.clone());
        use_effect(move || {
            let listener = canvas.cast::<HtmlCanvasElement>().map(|canvas| {
                let options = EventListenerOptions::enable_prevent_default();
                let element = canvas.clone();
                EventListener::new_with_options(&canvas, "wheel", options, move |event| {
                    if let Some(event) = event.dyn_ref::<WheelEvent>() {
                        event.prevent_default();
                        let control = event.ctrl_key() || event.meta_key();
                        let bounds = bounds(&element);
                        apply(Gesture::of_wheel(event.delta_y(), control, place(event), &bounds));
                    }
                })
            });
            move || drop(listener)
        });
    }
    let tap = use_mut_ref(Tap::default);
    let on_pointer = {
        let (tap, on_cross) = (tap.clone(), props.on_cross.clone());
        let has_cross = props.cross.is_some() && editing.is_none();
        let (pointer_tracker, apply, canvas) =
            (pointer_tracker.clone(), apply.clone(), canvas.clone());
        let has_window = props.picture.shown.window.is_some();
        let is_whole = props.display.view.is_whole();
        let (point, given_up, correct) = (point.clone(), given_up.clone(), correct.clone());
        let anchor = anchor.clone();
        let picture = props.picture.clone();
        Callback::from(move |event: PointerEvent| {
            let Some(element) = canvas.cast::<HtmlElement>() else { return };
            let (bounds, pointer) = (bounds(&element), pointer(&event));
            point.set(Some(bounds.share(pointer.at)));
            if pointer.action == PointerAction::Down {
                // Without capture the drag only ends at the edge.
                element.set_pointer_capture(pointer.id).ok();
            }
            if tap.borrow_mut().follow(&pointer) && has_cross {
                let (column, row) = brush::place(display.view, bounds.share(pointer.at), size);
                on_cross.emit((column.max(0.0) as usize, row.max(0.0) as usize));
            }
            let gesture =
                pointer_tracker.borrow_mut().follow(&pointer, &bounds, has_window, is_whole);
            if let Some(editing) = editing {
                let at = brush::place(display.view, bounds.share(pointer.at), size);
                match stroke_tracker.borrow_mut().follow(&pointer, at) {
                    Stroking::None => (),
                    Stroking::Drawn(from, _) if editing.tool.measures() => {
                        if pointer.action == PointerAction::Down {
                            anchor.set(Some(from));
                        }
                        return;
                    }
                    Stroking::Drawn(from, to) => {
                        let canvas = canvas.cast::<HtmlCanvasElement>();
                        let drawn = canvas
                            .map(|it| draw_stroke(&it, &picture, display, (from, to), editing));
                        if let Some(Err(error)) = drawn {
                            log::error!("the stroke is not shown: {}", browser::describe(&error));
                        }
                        return;
                    }
                    Stroking::Done(points) => {
                        given_up.set(*given_up + 1);
                        anchor.set(None);
                        correct(editing, points);
                        return;
                    }
                    Stroking::GivenUp => {
                        given_up.set(*given_up + 1);
                        anchor.set(None);
                    }
                }
            }
            if let Some(gesture) = gesture {
                apply(gesture);
            }
        })
    };
    let on_key = {
        let apply = apply.clone();
        let (point, on_editing) = (point.clone(), props.on_editing.clone());
        let anchor = anchor.clone();
        Callback::from(move |event: KeyboardEvent| {
            // Brackets take the Alt key on some keyboards.
            let is_bracket = matches!(event.key().as_str(), "[" | "]");
            if event.ctrl_key() || event.meta_key() || (event.alt_key() && !is_bracket) {
                return;
            }
            let key = editing.zip(BrushKey::of(&event.key(), event.shift_key()));
            if let (Some(_), "Escape") = (*anchor, event.key().as_str()) {
                event.prevent_default();
                event.stop_propagation();
                anchor.set(None);
                return;
            }
            if let Some((editing, key)) = key {
                event.prevent_default();
                if key == BrushKey::Draw && event.repeat() {
                    return;
                }
                let at = brush::place(display.view, point.unwrap_or((0.5, 0.5)), size);
                match key {
                    BrushKey::Move(x, y) => {
                        let (across, down) = brush::share(display.view, (at.0 + x, at.1 + y), size);
                        point.set(Some((across.clamp(0.0, 1.0), down.clamp(0.0, 1.0))));
                    }
                    BrushKey::Draw => {
                        point.set(Some(brush::share(display.view, at, size)));
                        match (*anchor, editing.tool.measures()) {
                            (None, true) => anchor.set(Some(at)),
                            (Some(from), true) => {
                                anchor.set(None);
                                correct(editing, vec![from, at]);
                            }
                            (_, false) => correct(editing, vec![at]),
                        }
                    }
                    BrushKey::Radius(factor) => {
                        on_editing.emit(editing.with_radius(editing.radius * factor));
                    }
                }
                return;
            }
            if let Some(gesture) = Gesture::of_key(&event.key(), event.shift_key()) {
                event.prevent_default();
                apply(gesture);
            }
        })
    };
    html! {
        <figure class="slice">
            <div class="views">
            <div
                class="viewer"
                tabindex="0"
                role="group"
                aria-label={text!("slice.label")}
                onkeydown={on_key}
            >
                <canvas
                    ref={canvas}
                    role="img"
                    aria-label={summary(props)}
                    class={classes!(
                        (!display.view.is_whole()).then_some("zoomed"),
                        editing.map(|_| "drawing"),
                    )}
                    onpointerdown={on_pointer.clone()}
                    onpointermove={on_pointer.clone()}
                    onpointerup={on_pointer.clone()}
                    onpointercancel={on_pointer}
                    onpointerleave={on_leave}
                    oncontextmenu={Callback::from(|event: MouseEvent| event.prevent_default())}
                />
                if let Some((editing, at)) = editing.zip(*point) {
                    { tool_outline(editing, *anchor, display.view, at, size) }
                }
                if let Some(at) = props.cross {
                    { cross(at, display.view, size) }
                }
                if has_scores {
                    <canvas
                        ref={score_map}
                        class="scores"
                        role="img"
                        aria-label={text!("slice.scores")}
                    />
                }
            </div>
            { props.children.clone() }
            </div>
            <ViewTools
                picture={props.picture.clone()}
                {display}
                on_display={props.on_display.clone()}
                window={props.window}
                on_window={props.on_window.clone()}
                {read_out}
                {has_scores}
                on_gesture={Callback::from(move |gesture| apply(gesture))}
            />
        </figure>
    }
}

/// Where the planes across the series cross the slice.
fn cross(at: (usize, usize), view: View, (width, height): (usize, usize)) -> Html {
    let middle = |place: usize, count: usize| place.min(count.saturating_sub(1)) as f64 + 0.5;
    let (column, row) = (middle(at.0, width).to_string(), middle(at.1, height).to_string());
    let (width, height) = (width as f64, height as f64);
    let seen = [view.left * width, view.top * height, width / view.zoom, height / view.zoom];
    html! {
        <svg class="cross" viewBox={seen.map(|edge| edge.to_string()).join(" ")} aria-hidden="true">
            <line x1={column.clone()} x2={column} y1="0" y2={height.to_string()} />
            <line x1="0" x2={width.to_string()} y1={row.clone()} y2={row} />
        </svg>
    }
}

/// Where the brush is, and how large; or what is being measured, from `anchor` on.
fn tool_outline(
    editing: Editing,
    anchor: Option<(f64, f64)>,
    view: View,
    at: (f64, f64),
    size: (usize, usize),
) -> Html {
    let (width, height) = (size.0 as f64, size.1 as f64);
    let (column, row) = brush::place(view, at, size);
    let seen = [view.left * width, view.top * height, width / view.zoom, height / view.zoom];
    let shape = editing.tool.shape([anchor.unwrap_or((column, row)), (column, row)]);
    let outline = |class: &'static str| match shape {
        None => html! {
            <circle
                {class}
                cx={column.to_string()}
                cy={row.to_string()}
                r={editing.radius.to_string()}
            />
        },
        Some(Shape::Ruler([from, to])) => html! {
            <line
                {class}
                x1={from.0.to_string()}
                y1={from.1.to_string()}
                x2={to.0.to_string()}
                y2={to.1.to_string()}
            />
        },
        Some(Shape::Ellipse(corners)) => {
            let [(x, y), (across, down)] = axes(corners);
            html! {
                <ellipse
                    {class}
                    cx={x.to_string()}
                    cy={y.to_string()}
                    rx={across.to_string()}
                    ry={down.to_string()}
                />
            }
        }
    };
    html! {
        <svg class="brush" viewBox={seen.map(|edge| edge.to_string()).join(" ")} aria-hidden="true">
            { outline("outer") }
            { outline("inner") }
        </svg>
    }
}
