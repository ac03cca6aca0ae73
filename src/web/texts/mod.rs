//! The page's texts, in the user's language.
//!
//! All of them lie in `www/texts`, one file a language: a key and a text, with `{names}` where values go, and
//! `.one` and `.other` (or what else the language's plural rules know) where a number decides. English is
//! part of the program and stands in for what another language lacks.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

#[cfg(target_arch = "wasm32")]
pub use browser::Text;
#[cfg(target_arch = "wasm32")]
use browser::{parse, plural_form};
#[cfg(target_arch = "wasm32")]
pub use browser::{preferred, set_language};
#[cfg(not(target_arch = "wasm32"))]
pub use native::Text;
#[cfg(not(target_arch = "wasm32"))]
use native::{parse, plural_form};

/// Languages with their own names for themselves.
pub const LANGUAGES: [(&str, &str); 3] = [("en", "English"), ("de", "Deutsch"), ("es", "Español")];

const ENGLISH: &str = include_str!("../../../www/texts/en.json");

/// Texts by key.
type Texts = BTreeMap<String, Text>;

struct Locale {
    language: &'static str,
    own: Texts,
    english: Texts,
}

thread_local! {
    static LOCALE: RefCell<Locale> = RefCell::new(Locale {
        language: "en",
        own: Texts::new(),
        english: parse(ENGLISH).unwrap_or_default(),
    });
}

/// The language of `requested` that there is, such as `de` for `de-AT`.
pub fn known(requested: &str) -> Option<&'static str> {
    let plain = requested.split('-').next().unwrap_or_default();
    LANGUAGES.iter().map(|(code, _)| *code).find(|code| code.eq_ignore_ascii_case(plain))
}

/// The UI language.
pub fn language() -> &'static str {
    LOCALE.with_borrow(|locale| locale.language)
}

/// The text of a key.
pub fn plain(key: &str) -> Text {
    LOCALE.with_borrow(|locale| {
        let text = locale.own.get(key).or_else(|| locale.english.get(key));
        text.cloned().unwrap_or_else(|| Text::from(key.to_owned()))
    })
}

/// The text of a key with values in the place of their names.
pub fn filled(key: &str, values: &[(&str, &dyn Display)]) -> Text {
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
pub fn counted_by(key: &str, count: usize, values: &[(&str, &dyn Display)]) -> Text {
    let exact = format!("{key}.{}", plural_form(language(), count));
    let is_known = LOCALE.with_borrow(|locale| {
        locale.own.contains_key(&exact) || locale.english.contains_key(&exact)
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

/// A number with so many digits behind the language's decimal mark.
pub fn decimal(value: impl Into<f64>, digits: usize) -> String {
    let plain = format!("{:.digits$}", value.into());
    plain.replace('.', &text!("number.mark"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_languages_mark() {
        assert_eq!((decimal(1234.56, 1), decimal(0.5f32, 0)), ("1234.6".into(), "0".into()));
    }

    #[test]
    fn values_stand_in_the_place_of_their_names() {
        let text = text!("session.no_model", reason = "no network");
        assert!(text.contains("no network") && !text.contains('{'), "{text}");
        assert_eq!(&*plain("no such key"), "no such key");
    }

    #[test]
    fn a_number_decides_the_form() {
        let [one, many] = [1, 7].map(|count| counted!("session.more_refused", count, first = "a"));
        assert_ne!(one, many);
        assert!(many.contains('7'), "{many}");
    }

    #[test]
    fn a_language_is_known_with_and_without_its_country() {
        assert_eq!(known("de-AT"), Some("de"));
        assert_eq!(known("EN"), Some("en"));
        assert_eq!(known("fr"), None);
    }
}
