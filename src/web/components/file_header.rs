//! The header of the shown file, searchable; what may identify somebody is hidden until it is asked for.

use web_sys::HtmlInputElement;
use yew::prelude::*;

use crate::image::decode::HeaderElement;
use crate::web::components::Details;
use crate::web::session::Session;
use crate::web::state;
use crate::web::texts::text;

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The shown file's elements, once read.
    pub header: Option<state::FileHeader>,
    /// The series of the shown file.
    pub series: Option<usize>,
    /// What reads the file.
    pub session: Session,
}

/// Whether an element's tag, keyword or shown value has these letters in it.
fn has(element: &HeaderElement, letters: &str, shows_all: bool) -> bool {
    let value = (shows_all || !element.may_identify).then_some(&element.value);
    let words = [Some(&element.tag), element.keyword.as_ref(), value];
    words.into_iter().flatten().any(|word| word.to_ascii_lowercase().contains(letters))
}

/// The header, folded until it is asked for.
#[component]
pub fn FileHeader(props: &Props) -> Html {
    let letters = use_state(String::new);
    let shows_all = use_state(|| false);
    let on_toggle = {
        let session = props.session.clone();
        Callback::from(move |is_open| session.show_header(is_open))
    };
    let on_search = {
        let letters = letters.clone();
        Callback::from(move |event: InputEvent| {
            if let Some(input) = event.target_dyn_into::<HtmlInputElement>() {
                letters.set(input.value().to_ascii_lowercase());
            }
        })
    };
    let on_show_all = {
        let shows_all = shows_all.clone();
        Callback::from(move |_: Event| shows_all.set(!*shows_all))
    };
    {
        // Another series may be another patient's.
        let shows_all = shows_all.clone();
        use_effect_with(props.series, move |_| shows_all.set(false));
    }
    {
        let session = props.session.clone();
        use_effect_with((), move |()| move || session.show_header(false));
    }
    let content = match &props.header {
        None => html! { <p>{text!("export.identity.asked")}</p> },
        Some(Err(reason)) => html! { <p>{reason.to_string()}</p> },
        Some(Ok(None)) => html! { <p>{text!("header.no_dicom")}</p> },
        Some(Ok(Some(elements))) => {
            let found: Vec<_> =
                elements.iter().filter(|element| has(element, &letters, *shows_all)).collect();
            html! {
                <>
                    <label>
                        {text!("header.search")}
                        <input type="search" value={(*letters).clone()} oninput={on_search} />
                    </label>
                    <label>
                        <input type="checkbox" checked={*shows_all} onchange={on_show_all} />
                        {text!("header.names")}
                    </label>
                    <p role="status">{text!("header.found", found = found.len(), all = elements.len())}</p>
                    <div class="scrolled" tabindex="0" role="region" aria-label={text!("header.title")}>
                        <table>
                            <tbody>
                                for element in found {
                                    { row(element, *shows_all) }
                                }
                            </tbody>
                        </table>
                    </div>
                </>
            }
        }
    };
    html! {
        <Details class="header" summary={text!("header.title")} on_toggle={on_toggle}>
            {content}
        </Details>
    }
}

fn row(element: &HeaderElement, shows_all: bool) -> Html {
    let is_hidden = element.may_identify && !shows_all;
    html! {
        <tr class={classes!(element.may_identify.then_some("hidden"))}>
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
