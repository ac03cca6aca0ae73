//! Texts without a browser, for tests: English.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::web::texts::Texts;

/// A text, cheap to clone.
pub type Text = Rc<str>;

/// The texts of a file.
pub fn parse(json: &str) -> Option<Texts> {
    let texts: BTreeMap<String, String> = serde_json::from_str(json).ok()?;
    Some(texts.into_iter().map(|(key, text)| (key, Text::from(text))).collect())
}

/// Which form of a text a number asks for.
pub fn plural_form(_language: &str, count: usize) -> &'static str {
    if count == 1 { "one" } else { "other" }
}
