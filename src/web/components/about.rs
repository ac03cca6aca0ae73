//! Keys, model card, diagnostics: what the page can be asked about.

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use crate::web::gestures::help;
use crate::web::state::State;
use crate::web::texts::text;
use crate::web::{browser, diagnostics};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
}

/// Three sheets to unfold.
#[component]
pub fn About(props: &Props) -> Html {
    let state = &props.state;
    let copied = use_state(|| None::<Result<(), String>>);
    let on_copy = {
        let (state, copied) = (state.clone(), copied.clone());
        Callback::from(move |_: MouseEvent| {
            let (text, copied) = (diagnostics::text(&state), copied.clone());
            spawn_local(async move { copied.set(Some(browser::copy(&text).await)) });
        })
    };
    html! {
        <section class="about" aria-label={text!("about.label")}>
            <details>
                <summary>{text!("about.keys")}</summary>
                <p class="hint">{text!("about.keys.hint")}</p>
                <table>
                    <tbody>
                        for (keys, meaning) in help() {
                            <tr><th scope="row">{keys}</th><td>{meaning}</td></tr>
                        }
                    </tbody>
                </table>
            </details>
            if let Some(model) = &state.model {
                <details>
                    <summary>{text!("about.card", model = model.name)}</summary>
                    <pre tabindex="0" aria-label={text!("about.card.label")}>{match &state.card {
                        Some(card) => card.to_string(),
                        None => text!("about.card.missing").to_string(),
                    }}</pre>
                </details>
                <details>
                    <summary>{text!("about.diagnostics")}</summary>
                    <p class="hint">{text!("about.diagnostics.hint")}</p>
                    <pre tabindex="0" aria-label={text!("about.diagnostics")}>{diagnostics::text(state)}</pre>
                    <button type="button" onclick={on_copy}>{text!("about.diagnostics.copy")}</button>
                    <span role="status">{match &*copied {
                        None => String::new(),
                        Some(Ok(())) => text!("about.diagnostics.copied").to_string(),
                        Some(Err(error)) => text!("about.diagnostics.not_copied", error = error).to_string(),
                    }}</span>
                </details>
            }
        </section>
    }
}
