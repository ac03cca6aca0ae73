//! The page's texts: every language says the same things, and everything that is said is used.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Endings that the plural rules of languages choose from.
const FORMS: [&str; 6] = [".zero", ".one", ".two", ".few", ".many", ".other"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The languages' texts, English first.
fn languages() -> Vec<(String, BTreeMap<String, String>)> {
    let folder = repository().join("www/texts");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the texts")
        .map(|entry| entry.expect("a file").path())
        .collect();
    paths.sort_by_key(|path| (!path.ends_with("en.json"), path.clone()));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a text");
        let texts = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        (path.file_stem().expect("a name").to_string_lossy().into_owned(), texts)
    };
    paths.into_iter().map(read).collect()
}

/// A key without the ending of a plural form.
fn stem(key: &str) -> &str {
    FORMS.iter().find_map(|form| key.strip_suffix(form)).unwrap_or(key)
}

/// Names in braces.
fn names(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
}

/// All of the page's code.
fn code() -> String {
    fn collect(folder: &Path, code: &mut String) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => collect(&path, code),
                false => *code += &std::fs::read_to_string(path).expect("code"),
            }
        }
    }
    let mut code = String::new();
    collect(&repository().join("src/web"), &mut code);
    code
}

/// Keys that the code names in calls of `text!` and `counted!`.
fn used(code: &str, call: &str) -> BTreeSet<String> {
    let calls = code.split(call).skip(1);
    let first = calls.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split('"').next());
    first.map(str::to_owned).collect()
}

#[test]
fn every_language_says_the_same_with_the_same_values() {
    let languages = languages();
    let (_, english) = &languages[0];
    for (language, texts) in &languages {
        let stems = |texts: &BTreeMap<String, String>| -> BTreeSet<String> {
            texts.keys().map(|key| stem(key).to_owned()).collect()
        };
        assert_eq!(stems(texts), stems(english), "{language}");
        for (key, text) in texts {
            let model = english.get(key).or_else(|| english.get(&format!("{}.other", stem(key))));
            let model = model.unwrap_or_else(|| panic!("{language}: {key}"));
            // A singular may leave its number out.
            let (names, wanted) = (names(text), names(model));
            assert!(names.is_subset(&wanted), "{language}: {key} has {names:?}, not {wanted:?}");
            if !FORMS.iter().any(|form| key.ends_with(form)) || key.ends_with(".other") {
                assert_eq!(names, wanted, "{language}: {key}");
            }
        }
    }
    assert!(languages.len() > 1, "one more language proves that it works");
}

#[test]
fn what_is_said_has_a_text_and_every_text_is_said() {
    let code = code();
    let (plain, counted) = (used(&code, "text!("), used(&code, "counted!("));
    let (_, english) = languages().swap_remove(0);
    for key in &plain {
        assert!(english.contains_key(key), "there is no text for {key}");
    }
    for key in &counted {
        assert!(english.contains_key(&format!("{key}.other")), "there is no {key}.other");
    }
    for key in english.keys() {
        assert!(plain.contains(key) || counted.contains(stem(key)), "{key} is said nowhere");
    }
}

#[test]
fn the_page_lists_every_language() {
    for (language, _) in languages() {
        assert!(code().contains(&format!("(\"{language}\", \"")), "{language} cannot be chosen");
    }
}

#[test]
fn what_the_page_says_has_a_key_and_is_no_english_in_the_code() {
    let code = code();
    let attributes = ["aria-label=", "title=", "alt=", "placeholder="];
    let literal = |rest: &str| {
        let text = rest.strip_prefix('"').map(|rest| rest.split('"').next().unwrap_or_default());
        text.is_some_and(|text| text.chars().filter(|c| c.is_alphabetic()).count() > 2)
    };
    for attribute in attributes {
        let found = code.split(attribute).skip(1).find(|rest| literal(rest));
        assert!(found.is_none(), "{attribute}{}", &found.unwrap_or_default()[..40]);
    }
    // Text between tags; the name of the program is the same in every language.
    let shown = code.split(">{").skip(1).filter(|rest| literal(rest));
    let other: Vec<&str> = shown.filter(|rest| !rest.starts_with("\"groundglass\"")).collect();
    assert!(other.is_empty(), "{}", &other.first().copied().unwrap_or_default()[..40]);
}
