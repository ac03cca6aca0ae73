//! Walks through the slices of the opened series and runs them.

use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use crate::web::messages::reader::OpenedSeries;
use crate::web::session::Session;
use crate::web::state::State;
use crate::web::texts::{counted, text};

/// Height of the strip of lesion areas.
const STRIP: f64 = 20.0;

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Connection to reader and workers.
    pub session: Session,
}

/// Series, slice, lesion areas along the series, and the button that runs them all.
#[component]
pub fn SeriesPanel(props: &Props) -> Html {
    let state = &props.state;
    let Some((series, first)) = state.contents.series_of(state.shown) else {
        return Html::default();
    };
    let show = {
        let (session, state) = (props.session.clone(), state.clone());
        move |slice: usize| session.look_at(&state, slice)
    };
    let on_slice = {
        let show = show.clone();
        Callback::from(move |event: InputEvent| {
            let input = event.target().and_then(|t| t.dyn_into::<HtmlInputElement>().ok());
            if let Some(input) = input {
                show(first + (input.value_as_number() as usize).saturating_sub(1));
            }
        })
    };
    let on_series = {
        let contents = state.contents.clone();
        Callback::from(move |event: Event| {
            let select = event.target().and_then(|t| t.dyn_into::<HtmlSelectElement>().ok());
            let index = select.map_or(0, |select| select.selected_index().max(0) as usize);
            let before: usize = contents.series[..index].iter().map(|s| s.slices.len()).sum();
            show(before + contents.series[index].slices.len() / 2);
        })
    };
    let count = series.slices.len();
    let open: Vec<usize> =
        (first..first + count).filter(|slice| !state.reports.contains_key(slice)).collect();
    let left = open.len();
    let on_run = {
        let session = props.session.clone();
        Callback::from(move |_: MouseEvent| session.run(open.clone()))
    };
    let is_resliced = state.reslice.is_some();
    let on_reslice = {
        let (session, state) = (props.session.clone(), state.clone());
        Callback::from(move |_: MouseEvent| {
            session.reslice((!is_resliced).then(|| state.middle_of_findings()));
        })
    };
    let position = state.shown - first + 1;
    html! {
        <section class="series" aria-label={text!("series.label")}>
            if state.contents.series.len() > 1 {
                <label>
                    {text!("series.choose")}
                    <select onchange={on_series}>
                        for other in state.contents.series.iter() {
                            <option selected={other == series}>
                                {text!("series.option", name = other.name, count = other.slices.len())}
                            </option>
                        }
                    </select>
                </label>
            }
            <label class="slider">
                {text!("series.slice")}
                <input
                    id="slice-number"
                    type="range"
                    min="1"
                    max={count.to_string()}
                    step="1"
                    value={position.to_string()}
                    aria-valuetext={text!("series.position", position = position, count = count)}
                    oninput={on_slice}
                />
                <output>{text!("series.position", position = position, count = count)}</output>
            </label>
            { strip(state, series, first) }
            <div class="series-actions">
                if left > 0 {
                    <button type="button" onclick={on_run} disabled={state.is_running()}>
                        if left == count {
                            {text!("series.run_all", count = count)}
                        } else {
                            {counted!("series.run_other", left)}
                        }
                    </button>
                }
                <button type="button" aria-pressed={is_resliced.to_string()} onclick={on_reslice}>
                    {text!("sections.show")}
                </button>
                <span>{text!("series.done", done = count - left, count = count)}</span>
            </div>
        </section>
    }
}

/// A bar for every slice, as high as its lesions are large.
fn strip(state: &State, series: &OpenedSeries, first: usize) -> Html {
    let count = series.slices.len();
    let areas: Vec<Option<usize>> =
        (first..first + count).map(|slice| state.lesion_area(slice)).collect();
    let largest = areas.iter().flatten().max().copied().unwrap_or_default().max(1) as f64;
    let done = areas.iter().flatten().count();
    let with_lesions = areas.iter().flatten().filter(|area| **area > 0).count();
    html! {
        <svg
            class="strip"
            viewBox={format!("0 0 {count} {STRIP}")}
            preserveAspectRatio="none"
            role="img"
            aria-label={text!("series.strip", with_lesions = with_lesions, done = done)}
        >
            for (index, area) in areas.iter().enumerate() {
                if let Some(area) = area {
                    <rect
                        class="area"
                        x={index.to_string()}
                        width="0.9"
                        y={format!("{:.2}", STRIP - 1.0 - *area as f64 / largest * (STRIP - 1.0))}
                        height={format!("{:.2}", 1.0 + *area as f64 / largest * (STRIP - 1.0))}
                    />
                }
            }
            <rect
                class="here"
                x={(state.shown - first).to_string()}
                y="0"
                width="0.9"
                height={STRIP.to_string()}
            />
        </svg>
    }
}
