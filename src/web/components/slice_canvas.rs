//! The slice with masks, boxes and scores, moved and windowed by pointer, wheel and keys.

use std::rc::Rc;

use gloo::events::{EventListener, EventListenerOptions};
use wasm_bindgen::JsCast;
use web_sys::{
    HtmlCanvasElement, HtmlElement, HtmlInputElement, HtmlSelectElement, PointerEvent, WheelEvent,
};
use yew::prelude::*;

use crate::image::Window;
use crate::report::SliceReport;
use crate::web::browser;
use crate::web::drawing::{draw, draw_scores, outlines};
use crate::web::gestures::{Gesture, PointerTracker, key, place};
use crate::web::read_out::{PixelValue, ReadOut};
use crate::web::scale_bar::ScaleBar;
use crate::web::state::{Display, RenderedSlice, Step};
use crate::web::texts::{counted, text};

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
}

/// Windows to choose from.
fn windows(picture: &RenderedSlice) -> Vec<(AttrValue, Option<Window>)> {
    let mut windows = vec![
        (text!("slice.window.network"), None),
        (text!("slice.window.lung"), Some(Window::LUNG)),
        (text!("slice.window.mediastinum"), Some(Window::MEDIASTINUM)),
    ];
    if let Some(file_window) = picture.shown.file_window {
        windows.push((text!("slice.window.given", window = file_window), Some(file_window)));
    }
    windows
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
        summary += &text!("slice.bar", millimetres = bar.millimetres);
    }
    summary.into()
}

/// What lies under the pointer.
fn read_out_text(found: &ReadOut) -> String {
    let mut words = match found.value {
        PixelValue::Hounsfield(value) => text!("slice.value.hounsfield", value = value).to_string(),
        PixelValue::Plain(value) => text!("slice.value.plain", value = value).to_string(),
        PixelValue::Grey(value) => text!("slice.value.grey", value = value).to_string(),
    };
    words += &text!("slice.value.place", column = found.column, row = found.row);
    if let Some([right, down]) = found.place_mm {
        let (right, down) = (format!("{right:.1}"), format!("{down:.1}"));
        words += &text!("slice.value.mm", right = right, down = down);
    }
    words
}

/// The slice and what it is shown with.
#[component]
pub fn SliceCanvas(props: &Props) -> Html {
    let canvas = use_node_ref();
    // Outlines are traced once a report, not once a frame.
    let outlines = use_memo(props.report.clone(), |report| {
        report.as_ref().map(|report| outlines(report)).unwrap_or_default()
    });
    {
        let canvas = canvas.clone();
        let dependencies =
            (props.picture.clone(), props.report.clone(), props.highlighted, props.display);
        use_effect_with(dependencies, move |(picture, report, highlighted, display)| {
            if let Some(canvas) = canvas.cast::<HtmlCanvasElement>() {
                let report = report.as_deref().map(|report| (report, outlines.as_slice()));
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
    let display = props.display;
    // The point, not what lies there: slices are scrolled under a pointer that rests.
    let point = use_state(|| None::<(f64, f64)>);
    let read_out = (*point).and_then(|at| ReadOut::at(&props.picture, display.view, at));
    let on_leave = {
        let point = point.clone();
        Callback::from(move |_: PointerEvent| point.set(None))
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
                        apply(Gesture::of_wheel(event, &element));
                    }
                })
            });
            move || drop(listener)
        });
    }
    let on_pointer = {
        let (pointer_tracker, apply, canvas) =
            (pointer_tracker.clone(), apply.clone(), canvas.clone());
        let has_window = props.picture.shown.window.is_some();
        let is_whole = props.display.view.is_whole();
        let point = point.clone();
        Callback::from(move |event: PointerEvent| {
            let Some(element) = canvas.cast::<HtmlElement>() else { return };
            point.set(Some(place(event.client_x(), event.client_y(), &element)));
            let gesture =
                pointer_tracker.borrow_mut().follow(&event, &element, has_window, is_whole);
            if let Some(gesture) = gesture {
                apply(gesture);
            }
        })
    };
    let on_key = {
        let apply = apply.clone();
        Callback::from(move |event: KeyboardEvent| {
            if let Some(gesture) = key(&event) {
                event.prevent_default();
                apply(gesture);
            }
        })
    };
    let press = |gesture: Gesture| {
        let apply = apply.clone();
        Callback::from(move |_: MouseEvent| apply(gesture))
    };
    let on_opacity = props.on_display.reform(move |event: InputEvent| {
        let input = event.target_dyn_into::<HtmlInputElement>();
        let opacity = input.map(|input| input.value_as_number()).unwrap_or_default();
        Display { opacity, ..display }
    });
    let windows = windows(&props.picture);
    let is_preset = windows.iter().any(|(_, window)| *window == props.window);
    let on_window = {
        let windows = windows.clone();
        props.on_window.reform(move |event: Event| {
            let select = event.target_dyn_into::<HtmlSelectElement>();
            let index = select.and_then(|select| usize::try_from(select.selected_index()).ok());
            index.and_then(|index| windows.get(index)).and_then(|(_, window)| *window)
        })
    };
    html! {
        <figure class="slice">
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
                    class={classes!((!display.view.is_whole()).then_some("zoomed"))}
                    onpointerdown={on_pointer.clone()}
                    onpointermove={on_pointer.clone()}
                    onpointerup={on_pointer.clone()}
                    onpointercancel={on_pointer}
                    onpointerleave={on_leave}
                    oncontextmenu={Callback::from(|event: MouseEvent| event.prevent_default())}
                />
                if has_scores {
                    <canvas
                        ref={score_map}
                        class="scores"
                        role="img"
                        aria-label={text!("slice.scores")}
                    />
                }
            </div>
            <figcaption>
                <span class="source">{&props.picture.source}</span>
                <div class="tools" role="group" aria-label={text!("slice.view")}>
                    <button type="button" aria-label={text!("slice.zoom_in")} onclick={press(Gesture::ZOOM_IN)}>{"+"}</button>
                    <button type="button" aria-label={text!("slice.zoom_out")} onclick={press(Gesture::ZOOM_OUT)}>{"−"}</button>
                    <button type="button" onclick={press(Gesture::Fit)}>{text!("slice.fit")}</button>
                    <button
                        type="button"
                        aria-pressed={display.overlay.to_string()}
                        onclick={press(Gesture::Overlay)}
                    >{text!("slice.overlay")}</button>
                    <button
                        type="button"
                        aria-pressed={display.filled.to_string()}
                        onclick={press(Gesture::Fill)}
                    >{text!("slice.fill")}</button>
                    <button
                        type="button"
                        aria-pressed={display.scores.to_string()}
                        onclick={press(Gesture::Scores)}
                    >{text!("slice.show_scores")}</button>
                </div>
                <span class="read-out">{read_out.as_ref().map(read_out_text).unwrap_or_default()}</span>
                if has_scores {
                    <span class="scale">{"0 "}<span class="ramp" aria-hidden="true" />{" 1"}</span>
                }
                if let Some(window) = props.picture.shown.window {
                    <label>
                        {text!("slice.window")}
                        <select onchange={on_window}>
                            for (name, choice) in &windows {
                                <option selected={*choice == props.window}>{name}</option>
                            }
                            if !is_preset {
                                <option selected=true>{text!("slice.window.own", window = window)}</option>
                            }
                        </select>
                    </label>
                }
                <label>
                    {text!("slice.opacity")}
                    <input
                        type="range"
                        min="0"
                        max="1"
                        step="0.05"
                        value={display.opacity.to_string()}
                        oninput={on_opacity}
                    />
                </label>
            </figcaption>
        </figure>
    }
}
