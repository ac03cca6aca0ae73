//! A wall around each file: what panics while it is read costs that file alone.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`; a panic becomes an error that `panicked` makes of its text. Where panics abort, as in the
/// browser, the program dies as ever, and its page starts another.
///
/// # Errors
/// What `work` or `panicked` say.
pub fn wall<T, E>(
    work: impl FnOnce() -> Result<T, E>,
    panicked: impl FnOnce(String) -> E,
) -> Result<T, E> {
    let outer = INSIDE.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(outer);
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(panicked(text.unwrap_or("a panic without a message").to_owned()))
    })
}

/// Whether this thread works behind a wall, so that a panic is about to become an error.
pub fn is_inside() -> bool {
    INSIDE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::panic, reason = "that is what is tested")]
    fn a_panic_becomes_an_error_with_its_text() {
        let broken = wall::<(), String>(|| panic!("index {} of 3", 7), |text| text);
        assert_eq!(broken, Err("index 7 of 3".into()));
        assert!(!is_inside());
        assert_eq!(wall(|| Ok::<_, String>(is_inside()), |text| text), Ok(true));
    }
}
