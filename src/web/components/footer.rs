//! What computes, and the page's colours and language.

use wasm_bindgen_futures::spawn_local;
use web_sys::HtmlSelectElement;
use yew::prelude::*;

use crate::web::browser;
use crate::web::options::Theme;
use crate::web::state::ModelState;
use crate::web::texts::{self, LANGUAGES, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The model, once loaded.
    pub model: Option<ModelState>,
    /// The language that is spoken.
    pub language: &'static str,
    /// The colours. Kept by the page: another language makes this component anew.
    pub theme: UseStateHandle<Option<Theme>>,
    /// Called once another language is spoken.
    pub on_language: Callback<&'static str>,
}

/// The end of the page.
#[component]
pub fn Footer(props: &Props) -> Html {
    let on_language = {
        let on_language = props.on_language.clone();
        Callback::from(move |event: Event| {
            let chosen = event.target_dyn_into::<HtmlSelectElement>();
            let index = chosen.and_then(|select| usize::try_from(select.selected_index()).ok());
            let Some((language, _)) = index.and_then(|index| LANGUAGES.get(index)) else { return };
            let on_language = on_language.clone();
            spawn_local(async move {
                texts::set_language(language).await;
                on_language.emit(texts::language());
            });
        })
    };
    let on_theme = {
        let theme = props.theme.clone();
        Callback::from(move |event: Event| {
            let select = event.target_dyn_into::<HtmlSelectElement>();
            let index = select.and_then(|select| usize::try_from(select.selected_index()).ok());
            let chosen = index.and_then(|index| themes().get(index)?.0);
            browser::set_theme(chosen);
            theme.set(chosen);
        })
    };
    html! {
        <footer>
            { props.model.as_ref().map(model).unwrap_or_default() }
            <label>
                {text!("app.theme")}
                <select onchange={on_theme}>
                    for (choice, name) in themes() {
                        <option selected={choice == *props.theme}>{name}</option>
                    }
                </select>
            </label>
            <label>
                {text!("app.language")}
                <select onchange={on_language}>
                    for (code, name) in LANGUAGES {
                        <option lang={code} selected={code == props.language}>{name}</option>
                    }
                </select>
            </label>
        </footer>
    }
}

/// The colours to choose from.
fn themes() -> [(Option<Theme>, AttrValue); 3] {
    [
        (None, text!("app.theme.system")),
        (Some(Theme::Dark), text!("app.theme.dark")),
        (Some(Theme::Light), text!("app.theme.light")),
    ]
}

/// What computes, with which weights.
fn model(model: &ModelState) -> Html {
    let hash = model.models.segmentation.as_ref().or(model.models.classifier.as_ref());
    html! {
        <>
            <p>
                {text!("app.computing")}<span class="device">{&model.device}</span>
                {text!("app.model", model = model.name)}
                if let Some(info) = hash {
                    {format!(" (SHA-256 {}…)", &info.sha256[..12])}
                }
            </p>
            <p>{text!("app.weights", licence = model.licence)}</p>
        </>
    }
}
