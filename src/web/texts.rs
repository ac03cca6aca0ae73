//! The page's words, in the visitor's language.
//!
//! All of them lie in `www/texts`, one file a language: a key and a text, with `{names}` where values go, and
//! `.one` and `.other` (or what else the language's plural rules know) where a number decides. English is
//! part of the program and stands in for what another language lacks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;

use js_sys::{Array, JSON, Object};
use wasm_bindgen::JsValue;
use yew::AttrValue;

use crate::web::environment;

/// Languages with their own names for themselves.
pub const LANGUAGES: [(&str, &str); 2] = [("en", "English"), ("de", "Deutsch")];

const ENGLISH: &str = include_str!("../../www/texts/en.json");

/// Texts by key.
type Texts = BTreeMap<String, AttrValue>;

struct Spoken {
    language: &'static str,
    own: Texts,
    english: Texts,
}

thread_local! {
    /// Number of the latest choice of a language.
    static CHOICE: Cell<u32> = const { Cell::new(0) };
    static SPOKEN: RefCell<Spoken> = RefCell::new(Spoken {
        language: "en",
        own: Texts::new(),
        english: parse(ENGLISH).unwrap_or_default(),
    });
}

fn parse(json: &str) -> Option<Texts> {
    let texts: BTreeMap<String, String> =
        serde_wasm_bindgen::from_value(JSON::parse(json).ok()?).ok()?;
    Some(texts.into_iter().map(|(key, text)| (key, AttrValue::from(text))).collect())
}

/// The language of `wished` that there is, such as `de` for `de-AT`.
fn known(wished: &str) -> Option<&'static str> {
    let plain = wished.split('-').next().unwrap_or_default();
    LANGUAGES.iter().map(|(code, _)| *code).find(|code| code.eq_ignore_ascii_case(plain))
}

/// The language that is spoken.
pub fn language() -> &'static str {
    SPOKEN.with_borrow(|spoken| spoken.language)
}

/// The language asked for in the address or, without that, the first of the browser's that there is.
pub fn preferred(asked: Option<&str>) -> &'static str {
    let wished = asked.map(str::to_owned).into_iter().chain(environment::languages());
    wished.filter_map(|wished| known(&wished)).next().unwrap_or("en")
}

/// Speaks a language from now on. If its texts cannot be fetched, English is spoken.
pub async fn speak(language: &'static str) {
    let own_choice = CHOICE.replace(CHOICE.get() + 1) + 1;
    let mut own = Texts::new();
    if language != "en" {
        let address = environment::program(&format!("texts/{language}.json"));
        match environment::fetch_bytes(&address).await {
            Ok(bytes) => own = parse(&String::from_utf8_lossy(&bytes)).unwrap_or_default(),
            Err(error) => log::warn!("the language was not loaded: {error}"),
        }
    }
    // What was chosen later stands, even if its texts came first.
    if CHOICE.get() != own_choice {
        return;
    }
    let language = if own.is_empty() { "en" } else { language };
    SPOKEN.with_borrow_mut(|spoken| (spoken.language, spoken.own) = (language, own));
    environment::declare_language(language);
}

/// The text of a key.
pub fn plain(key: &str) -> AttrValue {
    SPOKEN.with_borrow(|spoken| {
        let text = spoken.own.get(key).or_else(|| spoken.english.get(key));
        text.cloned().unwrap_or_else(|| AttrValue::from(key.to_owned()))
    })
}

/// The text of a key with values in the place of their names.
pub fn filled(key: &str, values: &[(&str, &dyn Display)]) -> AttrValue {
    let text = plain(key);
    let mut filled = String::with_capacity(text.len() + 16);
    let mut rest = &text[..];
    while let Some((before, after)) = rest.split_once('{') {
        filled += before;
        let Some((name, behind)) = after.split_once('}') else { break };
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            filled += &value.to_string();
        }
        rest = behind;
    }
    filled += rest;
    filled.into()
}

/// The text of a key for a number: `key.one` or `key.other`, as the language has it.
pub fn counted_by(key: &str, count: usize, values: &[(&str, &dyn Display)]) -> AttrValue {
    let locales = Array::of1(&JsValue::from_str(language()));
    let rules = js_sys::Intl::PluralRules::new(&locales, &Object::new());
    let form = rules.select(count as f64).as_string().unwrap_or_else(|| "other".into());
    let exact = format!("{key}.{form}");
    let is_known = SPOKEN.with_borrow(|spoken| {
        spoken.own.contains_key(&exact) || spoken.english.contains_key(&exact)
    });
    let values: Vec<(&str, &dyn Display)> =
        values.iter().copied().chain([("count", &count as &dyn Display)]).collect();
    filled(&if is_known { exact } else { format!("{key}.other") }, &values)
}

/// The text of a key, with values for its names.
macro_rules! text {
    ($key:literal) => {
        $crate::web::texts::plain($key)
    };
    ($key:literal, $($name:ident = $value:expr),+ $(,)?) => {
        $crate::web::texts::filled(
            $key,
            &[$((stringify!($name), &$value as &dyn std::fmt::Display)),+],
        )
    };
}

/// The text of a key for a number, with values for its other names.
macro_rules! counted {
    ($key:literal, $count:expr $(, $name:ident = $value:expr)* $(,)?) => {
        $crate::web::texts::counted_by(
            $key,
            $count,
            &[$((stringify!($name), &$value as &dyn std::fmt::Display)),*],
        )
    };
}

pub(crate) use {counted, text};
