//! Keys, model card, diagnostics: what the page can be asked about.

use wasm_bindgen_futures::spawn_local;
use yew::prelude::*;

use super::gestures::HELP;
use crate::web::state::State;
use crate::web::{diagnostics, environment};

/// What to show.
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
            spawn_local(async move { copied.set(Some(environment::copy(&text).await)) });
        })
    };
    html! {
        <section class="about" aria-label="About">
            <details>
                <summary>{"Keys and pointer"}</summary>
                <p class="hint">{"The keys act while the slice has the focus."}</p>
                <table>
                    <tbody>
                        for (keys, meaning) in HELP {
                            <tr><th scope="row">{keys}</th><td>{meaning}</td></tr>
                        }
                    </tbody>
                </table>
            </details>
            if let Some(model) = &state.model {
                <details>
                    <summary>{format!("Model card: {}", model.name)}</summary>
                    <pre tabindex="0" aria-label="Model card">{match &state.card {
                        Some(card) => card.to_string(),
                        None => "The card is not there.".to_owned(),
                    }}</pre>
                </details>
                <details>
                    <summary>{"Diagnostics"}</summary>
                    <p class="hint">{"For reports of faults. No picture and no file name is in it."}</p>
                    <pre tabindex="0" aria-label="Diagnostics">{diagnostics::text(state)}</pre>
                    <button type="button" onclick={on_copy}>{"Copy diagnostics"}</button>
                    <span role="status">{match &*copied {
                        None => String::new(),
                        Some(Ok(())) => " Copied.".into(),
                        Some(Err(error)) => format!(" Not copied: {error}. Select the text above."),
                    }}</span>
                </details>
            }
        </section>
    }
}
