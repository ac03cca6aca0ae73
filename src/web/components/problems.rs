//! Everything that could not be read or computed, by name and with the reason, to copy.

use std::rc::Rc;

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::web::browser;
use crate::web::texts::{counted, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// One line each.
    pub problems: Rc<Vec<String>>,
}

/// The list, folded up.
#[component]
pub fn Problems(props: &Props) -> Html {
    let copied = use_state(|| false);
    let on_copy = {
        let (problems, copied) = (props.problems.clone(), copied.clone());
        Callback::from(move |_: MouseEvent| {
            let (text, copied) = (problems.join("\n"), copied.clone());
            spawn_local(async move { copied.set(browser::copy(&text).await.is_ok()) });
        })
    };
    html! {
        <details class="problems">
            <summary>{counted!("problems.title", props.problems.len())}</summary>
            <ul>
                for problem in props.problems.iter() {
                    <li>{problem}</li>
                }
            </ul>
            <button type="button" onclick={on_copy}>
                {if *copied { text!("problems.copied") } else { text!("problems.copy") }}
            </button>
        </details>
    }
}
