//! Catches panics: one while a file is read becomes that file's error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic becomes an error that `panicked` makes of its text. Where panics abort, as in the
/// browser, the program dies as ever, and its page starts another.
///
/// # Errors
/// What `work` or `panicked` say.
pub fn catch_panic<T, E>(
    work: impl FnOnce() -> Result<T, E>,
    panicked: impl FnOnce(String) -> E,
) -> Result<T, E> {
    let outer = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(panicked(text.unwrap_or("a panic without a message").to_owned()))
    })
}

/// Whether a panic of this thread is about to become an error.
pub fn is_guarded() -> bool {
    GUARDED.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic, reason = "that is what is tested")]
    fn a_panic_becomes_an_error_with_its_text() {
        let broken = catch_panic::<(), String>(|| panic!("index {} of 3", 7), |text| text);
        assert_eq!(broken, Err("index 7 of 3".into()));
        assert!(!is_guarded());
        assert_eq!(catch_panic(|| Ok::<_, String>(is_guarded()), |text| text), Ok(true));
    }
}
