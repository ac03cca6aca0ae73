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
    pub troubles: Rc<Vec<String>>,
}

/// The list, folded up.
#[component]
pub fn Troubles(props: &Props) -> Html {
    let copied = use_state(|| false);
    let on_copy = {
        let (troubles, copied) = (props.troubles.clone(), copied.clone());
        Callback::from(move |_: MouseEvent| {
            let (text, copied) = (troubles.join("\n"), copied.clone());
            spawn_local(async move { copied.set(browser::copy(&text).await.is_ok()) });
        })
    };
    html! {
        <details class="troubles">
            <summary>{counted!("troubles.title", props.troubles.len())}</summary>
            <ul>
                for trouble in props.troubles.iter() {
                    <li>{trouble}</li>
                }
            </ul>
            <button type="button" onclick={on_copy}>
                {if *copied { text!("troubles.copied") } else { text!("troubles.copy") }}
            </button>
        </details>
    }
}
