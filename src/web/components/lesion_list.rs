//! The lesions, strongest first; pointing at one highlights it on the slice.

use std::rc::Rc;

use web_sys::HtmlInputElement;
use yew::prelude::*;

use crate::classes::LesionKind;
use crate::report::{Lesion, Origin, SliceReport};
use crate::web::options::LOWEST_SCORE;
use crate::web::texts::{decimal, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The report with the lesions over the threshold.
    pub report: Rc<SliceReport>,
    /// The threshold of the score.
    pub threshold: f32,
    /// The lesion pointed at.
    pub highlighted: Option<usize>,
    /// Called when the reader points at another.
    pub on_highlight: Callback<Option<usize>>,
    /// Called with another threshold.
    pub on_threshold: Callback<f32>,
    /// The lesion that is corrected.
    pub chosen: Option<usize>,
    /// Called when another is to be corrected; `None` while nothing is.
    pub on_choose: Option<Callback<usize>>,
}

fn describe(lesion: &Lesion) -> AttrValue {
    let area = match lesion.area_mm2 {
        Some(area) => format!("{area:.0} mm²"),
        None => format!("{} px", lesion.area_px),
    };
    match lesion.origin {
        Origin::Model => text!("lesions.item", score = decimal(lesion.score, 2), area = area),
        Origin::Edited => text!("lesions.edited", score = decimal(lesion.score, 2), area = area),
        Origin::Reader => text!("lesions.drawn", area = area),
    }
}

/// The name of a kind of lesion.
pub fn kind(kind: LesionKind) -> AttrValue {
    match kind {
        LesionKind::GroundGlass => text!("lesions.ground_glass"),
        LesionKind::Consolidation => text!("lesions.consolidation"),
        LesionKind::Lesion => text!("lesions.lesion"),
    }
}

/// The list.
#[component]
pub fn LesionList(props: &Props) -> Html {
    let point = |lesion: Option<usize>| {
        let on_highlight = props.on_highlight.clone();
        move || on_highlight.emit(lesion)
    };
    let on_threshold = props.on_threshold.reform(|event: InputEvent| {
        let input = event.target_dyn_into::<HtmlInputElement>();
        input.map(|input| input.value_as_number() as f32).unwrap_or_default()
    });
    html! {
        <section class="lesions">
            <h2 id="lesions-title">{text!("lesions.title")}</h2>
            <label class="slider">
                {text!("lesions.threshold")}
                <input
                    type="range"
                    min={LOWEST_SCORE.to_string()}
                    max="0.95"
                    step="0.05"
                    value={format!("{:.2}", props.threshold)}
                    oninput={on_threshold}
                />
                <output>{decimal(props.threshold, 2)}</output>
            </label>
            if !props.report.segmented {
                <p>{text!("lesions.not_looked")}</p>
            } else if props.report.lesions.is_empty() {
                <p>{text!("lesions.none", threshold = decimal(props.threshold, 2))}</p>
            }
            <ul aria-labelledby="lesions-title">
                for (index, lesion) in props.report.lesions.iter().enumerate() {
                    <li key={index}>
                        <button
                            type="button"
                            class={classes!((props.highlighted == Some(index)).then_some("highlighted"))}
                            aria-pressed={props.on_choose.is_some().then(|| {
                                AttrValue::from((props.chosen == Some(index)).to_string())
                            })}
                            onclick={props.on_choose.as_ref().map(|on_choose| {
                                on_choose.reform(move |_: MouseEvent| index)
                            })}
                            onmouseenter={let point = point(Some(index)); move |_| point()}
                            onmouseleave={let point = point(None); move |_| point()}
                            onfocus={let point = point(Some(index)); move |_| point()}
                            onblur={let point = point(None); move |_| point()}
                        >
                            <span class="number">{index + 1}</span>
                            <span>{kind(lesion.label)}</span>
                            <span class="detail">{describe(lesion)}</span>
                        </button>
                    </li>
                }
            </ul>
        </section>
    }
}
