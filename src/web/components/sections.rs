//! The planes across the shown series, beside the slice.

use std::rc::Rc;

use gloo::events::{EventListener, EventListenerOptions};
use wasm_bindgen::{Clamped, JsCast, JsValue};
use web_sys::{
    CanvasRenderingContext2d, HtmlCanvasElement, HtmlElement, HtmlInputElement, ImageData,
    PointerEvent, WheelEvent,
};
use yew::prelude::*;

use crate::image::sections::{self, Anatomical, Cut};
use crate::report::SliceReport;
use crate::web::browser;
use crate::web::sections::{cross, pointed_at, rgba, wanted};
use crate::web::session::Session;
use crate::web::state::{RenderedSections, State};
use crate::web::texts::{Text, text};
use crate::web::warnings::words;

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Connection to the reader.
    pub session: Session,
}

/// Something large that is the same if it lies at the same place: comparing it all takes longer than drawing it. It is
/// kept, so that nothing else comes to lie there.
struct Same<T: ?Sized>(Rc<T>);

impl<T: ?Sized> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

/// Findings on the slices of the series, with the numbers of these.
type Found = Rc<[(usize, SliceReport)]>;

fn name(anatomical: Anatomical) -> Text {
    match anatomical {
        Anatomical::Sagittal => text!("sections.sagittal"),
        Anatomical::Coronal => text!("sections.coronal"),
        Anatomical::Axial => text!("sections.axial"),
    }
}

/// Why the shown series has none, if so.
fn reason(state: &State, first: usize) -> Option<Text> {
    let (series, _) = state.contents.series_of(state.shown)?;
    if series.distance_mm.is_none() {
        let uneven = series.warnings.iter().filter(|warning| warning.is_of_distances());
        let said: Vec<String> = uneven.map(|warning| words(warning).to_string()).collect();
        return Some(match (series.slices.len(), said.is_empty()) {
            (1, _) => text!("sections.single"),
            (_, true) => text!("sections.unknown"),
            (_, false) => text!("sections.none", reason = said.join("; ")),
        });
    }
    let error = state.reslice.as_ref().and_then(|reslice| reslice.error.as_ref());
    let (_, message) = error.filter(|(failed, _)| *failed == first)?;
    Some(text!("sections.none", reason = message))
}

/// Both planes, or why there are none.
#[component]
pub fn Sections(props: &Props) -> Html {
    let state = &props.state;
    let (series, first) = state.contents.series_of(state.shown).unzip();
    let first = first.unwrap_or_default();
    let found = {
        let (reports, edits) = (Same(state.reports.clone()), Same(state.edits.clone()));
        let state = state.clone();
        let dependencies = (reports, edits, state.threshold, first);
        use_memo(dependencies, move |_| Found::from(state.reports_of_series()))
    };
    let rendered = state.reslice.as_ref().and_then(|reslice| reslice.rendered.clone());
    // Those of another series are not this one's.
    let rendered = rendered.filter(|rendered| rendered.first == first);
    let reason = reason(state, first);
    let count = series.map_or(0, |series| series.slices.len());
    let read = rendered.as_ref().map_or(0, |rendered| rendered.read);
    let said = match &reason {
        Some(reason) => reason.to_string(),
        None if read < count => text!("sections.reading", read = read, count = count).to_string(),
        None => String::new(),
    };
    html! {
        <section class="sections" aria-label={text!("sections.label")}>
            <p role="status">{said}</p>
            if let Some(rendered) = rendered.filter(|_| reason.is_none()) {
                for which in 0..2 {
                    <Plane
                        rendered={rendered.clone()}
                        {which}
                        found={(*found).clone()}
                        state={state.clone()}
                        session={props.session.clone()}
                    />
                }
            }
        </section>
    }
}

#[derive(Properties)]
struct PlaneProps {
    rendered: RenderedSections,
    which: usize,
    found: Found,
    state: UseReducerHandle<State>,
    session: Session,
}

impl PartialEq for PlaneProps {
    fn eq(&self, other: &Self) -> bool {
        self.which == other.which
            && Rc::ptr_eq(&self.found, &other.found)
            && self.rendered == other.rendered
            && self.state == other.state
    }
}

/// One of them, with a slider that moves it.
#[component]
fn Plane(props: &PlaneProps) -> Html {
    let PlaneProps { rendered, which, found, state, session } = props;
    let (which, first) = (*which, rendered.first);
    let canvas = use_node_ref();
    {
        let (canvas, rendered) = (canvas.clone(), rendered.clone());
        let display = state.display;
        let pixels = Same(rendered.pixels[which].clone());
        let shown_as = (display.overlay, display.filled, display.opacity);
        let dependencies = (pixels, Same(found.clone()), shown_as);
        use_effect_with(dependencies, move |(_, found, _)| {
            let rgba = rgba(&rendered, which, &found.0, display);
            let sections = rendered.sections;
            let cut = sections.cuts()[which];
            let (size, aspect) = (sections.picture_size(cut), sections.aspect(cut));
            let drawn =
                canvas.cast::<HtmlCanvasElement>().map(|canvas| draw(&canvas, &rgba, size, aspect));
            if let Some(Err(error)) = drawn {
                log::error!("a plane could not be drawn: {}", browser::describe(&error));
            }
        });
    }
    // Where they are about to be: what came last may be older than what was asked for since.
    let at = state.reslice.as_ref().map_or(rendered.sections.at, |reslice| reslice.at);
    let sections = wanted(rendered, at);
    let cut = sections.cuts()[which];
    let (place, count) = match cut {
        Cut::Row(row) => (row, sections.size.1),
        Cut::Column(column) => (column, sections.size.0),
    };
    let go = {
        let session = session.clone();
        let moved = move |place: usize| match cut {
            Cut::Row(_) => (sections.at.0, place),
            Cut::Column(_) => (place, sections.at.1),
        };
        move |place: usize| session.reslice(Some(moved(place.min(count.saturating_sub(1)))))
    };
    {
        // As on the slice: the page must not scroll under the plane.
        let (canvas, go) = (canvas.clone(), go.clone());
        use_effect(move || {
            let listener = canvas.cast::<HtmlCanvasElement>().map(|canvas| {
                let options = EventListenerOptions::enable_prevent_default();
                EventListener::new_with_options(&canvas, "wheel", options, move |event| {
                    if let Some(event) = event.dyn_ref::<WheelEvent>() {
                        event.prevent_default();
                        go(place.saturating_add_signed(if event.delta_y() > 0.0 { 1 } else { -1 }));
                    }
                })
            });
            move || drop(listener)
        });
    }
    let on_pointer = {
        let (session, state, canvas) = (session.clone(), state.clone(), canvas.clone());
        Callback::from(move |event: PointerEvent| {
            let is_over = event.type_() == "pointerup";
            let Some(element) = canvas.cast::<HtmlElement>() else { return };
            if !is_over && event.buttons() & 1 == 0 {
                return;
            }
            element.set_pointer_capture(event.pointer_id()).ok();
            let bounds = element.get_bounding_client_rect();
            let share = (
                (f64::from(event.client_x()) - bounds.left()) / bounds.width().max(1.0),
                (f64::from(event.client_y()) - bounds.top()) / bounds.height().max(1.0),
            );
            let (at, slice) = pointed_at(&sections, which, share);
            if at != sections.at {
                session.reslice(Some(at));
            }
            // Those that are only passed are not predicted.
            match (is_over, first + slice == state.shown) {
                (true, _) => session.look_at(&state, first + slice),
                (false, false) => session.show(first + slice, state.window),
                (false, true) => (),
            }
        })
    };
    let on_place = Callback::from(move |event: InputEvent| {
        if let Some(input) = event.target_dyn_into::<HtmlInputElement>() {
            go((input.value_as_number() as usize).saturating_sub(1));
        }
    });
    let name = name(sections.anatomical(cut));
    let position = match cut {
        Cut::Row(_) => text!("sections.row", place = place + 1, count = count),
        Cut::Column(_) => text!("sections.column", place = place + 1, count = count),
    };
    let [left, right, upper, lower] = sections.edges(cut);
    let edges = text!("slice.edges", left = left, right = right, upper = upper, lower = lower);
    html! {
        <figure class="plane">
            <label class="slider">
                {name.clone()}
                <input
                    type="range"
                    min="1"
                    max={count.to_string()}
                    step="1"
                    value={(place + 1).to_string()}
                    aria-valuetext={position}
                    oninput={on_place}
                />
            </label>
            <div>
                <canvas
                    ref={canvas}
                    role="img"
                    aria-label={format!("{name}{edges}")}
                    onpointerdown={on_pointer.clone()}
                    onpointermove={on_pointer.clone()}
                    onpointerup={on_pointer}
                />
                { lines(&sections, which, state.shown.saturating_sub(first)) }
                for (side, letters) in [("left", left), ("right", right), ("upper", upper), ("lower", lower)] {
                    <span class={classes!("edge", side)} aria-hidden="true">{letters}</span>
                }
            </div>
        </figure>
    }
}

/// Where the other plane and the slice cross it.
fn lines(sections: &sections::Sections, which: usize, slice: usize) -> Html {
    let (width, height) = sections.picture_size(sections.cuts()[which]);
    let (x, y) = cross(sections, which, slice);
    let [x, y] = [x, y].map(|place| place.to_string());
    let [width, height] = [width, height].map(|side| side.to_string());
    html! {
        <svg
            class="cross"
            viewBox={format!("0 0 {width} {height}")}
            preserveAspectRatio="none"
            aria-hidden="true"
        >
            <line x1={x.clone()} x2={x} y1="0" y2={height} />
            <line x1="0" x2={width} y1={y.clone()} y2={y} />
        </svg>
    }
}

fn draw(
    canvas: &HtmlCanvasElement,
    rgba: &[u8],
    (width, height): (usize, usize),
    aspect: f64,
) -> Result<(), JsValue> {
    let (width, height) = (width as u32, height as u32);
    canvas.set_width(width);
    canvas.set_height(height);
    let around = canvas.parent_element().ok_or("the canvas lies nowhere")?;
    around.dyn_into::<HtmlElement>()?.style().set_property("--ratio", &aspect.to_string())?;
    let context: CanvasRenderingContext2d =
        canvas.get_context("2d")?.ok_or("the canvas has no 2d context")?.dyn_into()?;
    let data = ImageData::new_with_u8_clamped_array_and_sh(Clamped(rgba), width, height)?;
    context.put_image_data(&data, 0.0, 0.0)
}
