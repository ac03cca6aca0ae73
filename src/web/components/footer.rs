//! What computes, to choose from; and the page's colours and language.

use wasm_bindgen_futures::spawn_local;
use web_sys::HtmlSelectElement;
use yew::prelude::*;

use crate::web::browser;
use crate::web::options::{Device, Theme};
use crate::web::session::Session;
use crate::web::state::{ModelState, State};
use crate::web::texts::{self, LANGUAGES, text};

/// Properties of the component.
#[derive(Properties, PartialEq)]
pub struct Props {
    /// The page's state.
    pub state: UseReducerHandle<State>,
    /// Carries out what is chosen.
    pub session: Session,
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
            let Some((language, _)) = chosen(&event).and_then(|index| LANGUAGES.get(index)) else {
                return;
            };
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
            let chosen = chosen(&event).and_then(|index| themes().get(index)?.0);
            browser::set_theme(chosen);
            theme.set(chosen);
        })
    };
    let state = &props.state;
    let on_model = {
        let (session, state) = (props.session.clone(), state.clone());
        Callback::from(move |event: Event| {
            let known = &state.models_of_site;
            let other = match chosen(&event) {
                // A model of the user's was there before the site's were known.
                Some(0) if known.is_empty() => None,
                Some(index) if index < known.len() => Some(known[index].clone()),
                _ => return,
            };
            if other.is_some() && other == state.chosen_model {
                return;
            }
            if browser::may_discard(&state.edits) {
                session.choose_model(&state, other);
            } else if let Some(select) = event.target_dyn_into::<HtmlSelectElement>() {
                let own = known.iter().position(|name| state.chosen_model.as_ref() == Some(name));
                // What is not of the site is the last of the list.
                select.set_selected_index(own.unwrap_or(known.len().max(1)) as i32);
            }
        })
    };
    let on_device = {
        let session = props.session.clone();
        Callback::from(move |event: Event| {
            if let Some((device, _)) =
                chosen(&event).and_then(|index| devices().into_iter().nth(index))
            {
                session.choose_device(device);
            }
        })
    };
    let is_own = |name: &&String| !name.is_empty() && !state.models_of_site.contains(name);
    let own_model = state.chosen_model.as_ref().filter(is_own);
    html! {
        <footer>
            { state.model.as_ref().map(model).unwrap_or_default() }
            if state.models_of_site.len() > 1 || own_model.is_some() {
                <label>
                    {text!("app.choose_model")}
                    <select onchange={on_model}>
                        for name in state.models_of_site.iter() {
                            <option selected={state.chosen_model.as_ref() == Some(name)}>{name}</option>
                        }
                        if state.models_of_site.is_empty() {
                            <option>{text!("app.default_model")}</option>
                        }
                        if let Some(own) = own_model {
                            <option selected=true>{own}</option>
                        }
                    </select>
                </label>
            }
            <p class="hint">{text!("app.own_model")}</p>
            <label>
                {text!("app.choose_device")}
                <select onchange={on_device}>
                    for (device, name) in devices() {
                        <option selected={device == state.chosen_device}>{name}</option>
                    }
                </select>
            </label>
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
                        <option lang={code} selected={code == state.language}>{name}</option>
                    }
                </select>
            </label>
        </footer>
    }
}

/// Place of what was chosen in a list.
fn chosen(event: &Event) -> Option<usize> {
    let select = event.target_dyn_into::<HtmlSelectElement>()?;
    usize::try_from(select.selected_index()).ok()
}

/// The devices to choose from.
fn devices() -> [(Option<Device>, AttrValue); 3] {
    [
        (None, text!("app.device.faster")),
        (Some(Device::Gpu), text!("app.device.gpu")),
        (Some(Device::Cpu), text!("app.device.cpu")),
    ]
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
            if !model.licence.is_empty() {
                <p>{text!("app.weights", licence = model.licence)}</p>
            }
        </>
    }
}
