//! A word that names none of a few known things.

use thiserror::Error;

/// Why a word was not understood.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("unknown {what} `{name}`; expected {known}")]
pub struct UnknownName {
    /// What it should have named.
    pub what: &'static str,
    /// The word.
    pub name: String,
    /// Words that would have been understood.
    pub known: &'static str,
}
