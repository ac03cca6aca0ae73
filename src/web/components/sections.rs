//! The planes across the shown series, beside the slice.

use std::rc::Rc;

use wasm_bindgen::{Clamped, JsCast, JsValue};
use web_sys::{
    CanvasRenderingContext2d, HtmlCanvasElement, HtmlElement, HtmlInputElement, ImageData,
    PointerEvent,
};
use yew::prelude::*;

use crate::image::sections::{Anatomical, Cut};
use crate::web::browser;
use crate::web::sections::{cross, pointed_at, rgba};
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

fn name(anatomical: Anatomical) -> Text {
    match anatomical {
        Anatomical::Sagittal => text!("sections.sagittal"),
        Anatomical::Coronal => text!("sections.coronal"),
        Anatomical::Axial => text!("sections.axial"),
    }
}

/// Why the shown series has none, if so.
fn reason(state: &State) -> Option<Text> {
    let (series, _) = state.contents.series_of(state.shown)?;
    if let Some(error) = state.reslice.as_ref().and_then(|reslice| reslice.error.as_deref()) {
        return Some(text!("sections.failed", reason = error));
    }
    if series.distance_mm.is_some() {
        return None;
    }
    let said: Vec<String> =
        series.warnings.iter().map(|warning| words(warning).to_string()).collect();
    Some(match said.is_empty() {
        true => text!("sections.unknown"),
        false => text!("sections.uneven", reason = said.join(" ")),
    })
}

/// Both planes, or why there are none.
#[component]
pub fn Sections(props: &Props) -> Html {
    let state = &props.state;
    let first = state.contents.series_of(state.shown).map(|(_, first)| first);
    let rendered = state.reslice.as_ref().and_then(|reslice| reslice.rendered.clone());
    // Those of another series are not this one's.
    let rendered = rendered.filter(|rendered| Some(rendered.first) == first);
    html! {
        <section class="sections" aria-label={text!("sections.label")}>
            if let Some(reason) = reason(state) {
                <p class="warning">{reason}</p>
            } else if let Some(rendered) = rendered {
                for which in 0..2 {
                    <Plane
                        rendered={rendered.clone()}
                        {which}
                        state={state.clone()}
                        session={props.session.clone()}
                    />
                }
            } else {
                <p role="status">{text!("sections.reading")}</p>
            }
        </section>
    }
}

#[derive(Properties, PartialEq)]
struct PlaneProps {
    rendered: RenderedSections,
    which: usize,
    state: UseReducerHandle<State>,
    session: Session,
}

/// One of them, with a slider that moves it.
#[component]
fn Plane(props: &PlaneProps) -> Html {
    let PlaneProps { rendered, which, state, session } = props;
    let which = *which;
    let sections = rendered.sections;
    let cut = sections.cuts()[which];
    let (width, height) = sections.picture_size(cut);
    let canvas = use_node_ref();
    {
        let (canvas, rendered, state) = (canvas.clone(), rendered.clone(), state.clone());
        // Of what was found only whether it is the same: comparing it all takes longer than drawing it.
        let found = (Rc::as_ptr(&state.reports) as usize, Rc::as_ptr(&state.edits) as usize);
        let dependencies = (rendered.clone(), found, state.threshold, state.display);
        use_effect_with(dependencies, move |_| {
            let rgba = rgba(&rendered, which, &state.reports_of_series(), state.display);
            let aspect = sections.aspect(cut);
            let drawn = canvas
                .cast::<HtmlCanvasElement>()
                .map(|canvas| draw(&canvas, &rgba, (width, height), aspect));
            if let Some(Err(error)) = drawn {
                log::error!("a plane could not be drawn: {}", browser::describe(&error));
            }
        });
    }
    let go = {
        let (session, state) = (session.clone(), state.clone());
        move |at: (usize, usize), slice: usize| {
            if state.reslice.as_ref().is_some_and(|reslice| reslice.at != at) {
                session.reslice(Some(at));
            }
            if slice != state.shown {
                session.look_at(&state, slice);
            }
        }
    };
    let on_pointer = {
        let (go, rendered, canvas) = (go.clone(), rendered.clone(), canvas.clone());
        Callback::from(move |event: PointerEvent| {
            let Some(element) = canvas.cast::<HtmlElement>().filter(|_| event.buttons() & 1 == 1)
            else {
                return;
            };
            element.set_pointer_capture(event.pointer_id()).ok();
            let bounds = element.get_bounding_client_rect();
            let share = (
                (f64::from(event.client_x()) - bounds.left()) / bounds.width().max(1.0),
                (f64::from(event.client_y()) - bounds.top()) / bounds.height().max(1.0),
            );
            let (at, slice) = pointed_at(&rendered, which, share);
            go(at, slice);
        })
    };
    let (place, count) = match cut {
        Cut::Row(row) => (row, sections.size.1),
        Cut::Column(column) => (column, sections.size.0),
    };
    let on_place = {
        let (state, at) = (state.clone(), sections.at);
        Callback::from(move |event: InputEvent| {
            let Some(input) = event.target_dyn_into::<HtmlInputElement>() else { return };
            let place = (input.value_as_number() as usize).saturating_sub(1);
            let at = match cut {
                Cut::Row(_) => (at.0, place),
                Cut::Column(_) => (place, at.1),
            };
            go(at, state.shown);
        })
    };
    let name = name(sections.anatomical(cut));
    let position = match cut {
        Cut::Row(_) => text!("sections.row", place = place + 1, count = count),
        Cut::Column(_) => text!("sections.column", place = place + 1, count = count),
    };
    let [left, right, upper, lower] = sections.edges(cut);
    let edges =
        text!("slice.edges", left = left, right = right, upper = upper, lower = lower).to_string();
    let (x, y) = cross(rendered, which, state.shown);
    let [x, y] = [x, y].map(|place| place.to_string());
    let [width, height] = [width, height].map(|side| side.to_string());
    html! {
        <figure class="plane">
            <label class="slider">
                {&name}
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
                    onpointermove={on_pointer}
                />
                <svg
                    class="cross"
                    viewBox={format!("0 0 {width} {height}")}
                    preserveAspectRatio="none"
                    aria-hidden="true"
                >
                    <line x1={x.clone()} x2={x} y1="0" y2={height} />
                    <line x1="0" x2={width} y1={y.clone()} y2={y} />
                </svg>
                for (side, letters) in [("left", left), ("right", right), ("upper", upper), ("lower", lower)] {
                    <span class={classes!("edge", side)} aria-hidden="true">{letters}</span>
                }
            </div>
        </figure>
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
