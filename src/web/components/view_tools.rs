//! What stands under the slice: how it is shown, and what lies under the pointer.

use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use crate::image::Window;
use crate::web::gestures::Gesture;
use crate::web::read_out::{PixelValue, ReadOut};
use crate::web::state::{Display, RenderedSlice};
use crate::web::texts::{decimal, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The slice.
    pub picture: RenderedSlice,
    /// How it is shown.
    pub display: Display,
    /// Called to show it differently.
    pub on_display: Callback<Display>,
    /// The chosen window; `None` for the one that the network sees.
    pub window: Option<Window>,
    /// Called with another window.
    pub on_window: Callback<Option<Window>>,
    /// What lies under the pointer.
    pub read_out: Option<ReadOut>,
    /// Whether the mask scores are shown beside it.
    pub has_scores: bool,
    /// Called with what a button asks for.
    pub on_gesture: Callback<Gesture>,
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

/// What lies under the pointer.
fn read_out_text(found: &ReadOut) -> String {
    let mut words = match found.value {
        PixelValue::Hounsfield(value) => text!("slice.value.hounsfield", value = value).to_string(),
        PixelValue::Plain(value) => text!("slice.value.plain", value = value).to_string(),
        PixelValue::Grey(value) => text!("slice.value.grey", value = value).to_string(),
    };
    words += &text!("slice.value.place", column = found.column, row = found.row);
    if let Some([right, down]) = found.place_mm {
        let (right, down) = (decimal(right, 1), decimal(down, 1));
        words += &text!("slice.value.mm", right = right, down = down);
    }
    words
}

/// The tools.
#[component]
pub fn ViewTools(props: &Props) -> Html {
    let display = props.display;
    let press = |gesture: Gesture| props.on_gesture.reform(move |_: MouseEvent| gesture);
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
                <button
                    type="button"
                    aria-pressed={display.lungs.to_string()}
                    onclick={press(Gesture::Lungs)}
                >{text!("slice.lungs")}</button>
            </div>
            <span class="read-out">{props.read_out.as_ref().map(read_out_text).unwrap_or_default()}</span>
            if props.has_scores {
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
    }
}
