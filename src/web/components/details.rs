//! A part of the page that is folded until it is asked for.

use js_sys::Reflect;
use wasm_bindgen::JsValue;
use yew::prelude::*;

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// Class for the style sheet.
    pub class: Classes,
    /// What stands there when it is folded, too.
    pub summary: AttrValue,
    /// Called with whether it is open now.
    pub on_toggle: Callback<bool>,
    /// What is folded away.
    pub children: Html,
}

/// A `details` element.
#[component]
pub fn Details(props: &Props) -> Html {
    let on_toggle = props.on_toggle.reform(|event: Event| {
        // web-sys' HtmlDetailsElement would be one more type for this one flag.
        let details = event.target().map(JsValue::from).unwrap_or_default();
        Reflect::get(&details, &"open".into()).is_ok_and(|open| open.is_truthy())
    });
    html! {
        <details class={props.class.clone()} ontoggle={on_toggle}>
            <summary>{&props.summary}</summary>
            {props.children.clone()}
        </details>
    }
}
