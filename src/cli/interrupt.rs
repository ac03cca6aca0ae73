//! Ctrl-C asks a command to stop where nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::cli::outputs::say;

/// Turns true at Ctrl-C (or a polite kill), and says `what` happens then; a second one ends the program at once.
pub fn stop_on_interrupt(what: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say(&format!("{what}; once more to stop at once"));
    })
    .context("Ctrl-C cannot be caught")?;
    Ok(stop)
}
