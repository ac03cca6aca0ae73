//! The header of the shown file: every element, searchable; what names somebody is hidden until it is asked for.

use std::rc::Rc;

use js_sys::Reflect;
use wasm_bindgen::JsValue;
use web_sys::HtmlInputElement;
use yew::prelude::*;

use crate::image::decode::HeaderElement;
use crate::web::session::Session;
use crate::web::texts::text;

/// What to show.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The shown file's elements, once read. Within it: `None` if it is no DICOM file.
    pub header: Option<Option<Rc<Vec<HeaderElement>>>>,
    /// What reads the file.
    pub session: Session,
}

/// Whether an element's tag, keyword or shown value has these letters in it.
fn has(element: &HeaderElement, letters: &str, shows_names: bool) -> bool {
    let value = (shows_names || !element.names_somebody).then_some(&element.value);
    let words = [Some(&element.tag), element.keyword.as_ref(), value];
    words.into_iter().flatten().any(|word| word.to_lowercase().contains(letters))
}

/// The header, folded until it is asked for.
#[component]
pub fn FileHeader(props: &Props) -> Html {
    let letters = use_state(String::new);
    let shows_names = use_state(|| false);
    let on_toggle = {
        let session = props.session.clone();
        Callback::from(move |event: Event| {
            let details = event.target().map(JsValue::from).unwrap_or_default();
            let is_open = Reflect::get(&details, &"open".into());
            session.show_header(is_open.is_ok_and(|open| open.is_truthy()));
        })
    };
    let on_search = {
        let letters = letters.clone();
        Callback::from(move |event: InputEvent| {
            if let Some(input) = event.target_dyn_into::<HtmlInputElement>() {
                letters.set(input.value().to_lowercase());
            }
        })
    };
    let on_names = {
        let shows_names = shows_names.clone();
        Callback::from(move |_: Event| shows_names.set(!*shows_names))
    };
    let content = match &props.header {
        None => html! { <p>{text!("export.identity.asked")}</p> },
        Some(None) => html! { <p>{text!("header.no_dicom")}</p> },
        Some(Some(elements)) => {
            let found: Vec<_> =
                elements.iter().filter(|element| has(element, &letters, *shows_names)).collect();
            html! {
                <>
                    <label>
                        {text!("header.search")}
                        <input type="search" value={(*letters).clone()} oninput={on_search} />
                    </label>
                    <label>
                        <input type="checkbox" checked={*shows_names} onchange={on_names} />
                        {text!("header.names")}
                    </label>
                    <p role="status">{text!("header.found", found = found.len(), all = elements.len())}</p>
                    <div class="scrolled" tabindex="0" role="region" aria-label={text!("header.title")}>
                        <table>
                            <tbody>
                                for element in found {
                                    { row(element, *shows_names) }
                                }
                            </tbody>
                        </table>
                    </div>
                </>
            }
        }
    };
    html! {
        <details class="header" ontoggle={on_toggle}>
            <summary>{text!("header.title")}</summary>
            {content}
        </details>
    }
}

fn row(element: &HeaderElement, shows_names: bool) -> Html {
    let is_hidden = element.names_somebody && !shows_names;
    html! {
        <tr class={classes!(element.names_somebody.then_some("names"))}>
            <td class="tag">{&element.tag}</td>
            <th scope="row">{element.keyword.clone().unwrap_or_else(|| text!("header.unknown").to_string())}</th>
            <td>
                if is_hidden {
                    <em>{text!("header.hidden")}</em>
                } else {
                    {&element.value}
                }
            </td>
        </tr>
    }
}
