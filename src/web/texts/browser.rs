//! Texts with the browser's means: its JSON, its plural rules, its languages.

use std::cell::Cell;
use std::collections::BTreeMap;

use js_sys::{Array, JSON, Object};
use wasm_bindgen::JsValue;

use crate::web::texts::{LOCALE, Texts, known};
use crate::web::{browser, fetch};

/// A text, cheap to clone.
pub type Text = yew::AttrValue;

thread_local! {
    /// Number of the latest choice of a language.
    static CHOICE: Cell<u32> = const { Cell::new(0) };
}

/// The texts of a file. The browser's reading: serde's own would be some kilobytes of the page.
pub fn parse(json: &str) -> Option<Texts> {
    let texts: BTreeMap<String, String> =
        serde_wasm_bindgen::from_value(JSON::parse(json).ok()?).ok()?;
    Some(texts.into_iter().map(|(key, text)| (key, Text::from(text))).collect())
}

/// Which form of a text a number asks for.
pub fn plural_form(language: &str, count: usize) -> String {
    let locales = Array::of1(&JsValue::from_str(language));
    let rules = js_sys::Intl::PluralRules::new(&locales, &Object::new());
    rules.select(count as f64).as_string().unwrap_or_else(|| "other".into())
}

/// The language asked for in the address or, without that, the first of the browser's that there is.
pub fn preferred(asked: Option<&str>) -> &'static str {
    let requested = asked.map(str::to_owned).into_iter().chain(browser::languages());
    requested.filter_map(|requested| known(&requested)).next().unwrap_or("en")
}

/// Sets the UI language. If its texts cannot be fetched, it is English.
pub async fn set_language(language: &'static str) {
    let own_choice = CHOICE.replace(CHOICE.get() + 1) + 1;
    let mut own = Texts::new();
    if language != "en" {
        let address = browser::program(&format!("texts/{language}.json"));
        match fetch::bytes(&address).await {
            Ok(bytes) => own = parse(&String::from_utf8_lossy(&bytes)).unwrap_or_default(),
            Err(error) => log::warn!("the language was not loaded: {error}"),
        }
    }
    // What was chosen later stands, even if its texts came first.
    if CHOICE.get() != own_choice {
        return;
    }
    let language = if own.is_empty() { "en" } else { language };
    LOCALE.with_borrow_mut(|locale| (locale.language, locale.own) = (language, own));
    browser::declare_language(language);
}
