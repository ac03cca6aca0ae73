//! Timers that run out when a program has said nothing for too long.

use std::cell::RefCell;
use std::rc::Rc;

use gloo::timers::callback::Timeout;
use web_time::Instant;

/// A timer that fires later than this starts again.
const LATE_MS: u128 = 3000;

type Slot = Rc<RefCell<Option<Timeout>>>;

/// Runs out after its time; dropping it stops it.
///
/// A suspended page receives no messages, and its timers may fire before the messages that
/// waited: a timer that fires late begins again.
pub struct Watchdog {
    _slot: Slot,
}

impl Watchdog {
    /// Calls `when_over` after so long.
    pub fn new(milliseconds: u32, when_over: impl FnOnce() + 'static) -> Self {
        let slot = Slot::default();
        start(&slot, milliseconds, Box::new(when_over));
        Self { _slot: slot }
    }
}

fn start(slot: &Slot, milliseconds: u32, when_over: Box<dyn FnOnce()>) {
    let (started, weak) = (Instant::now(), Rc::downgrade(slot));
    let timeout = Timeout::new(milliseconds, move || {
        let Some(slot) = weak.upgrade() else { return };
        if started.elapsed().as_millis() > u128::from(milliseconds) + LATE_MS {
            start(&slot, milliseconds, when_over);
        } else {
            when_over();
        }
    });
    *slot.borrow_mut() = Some(timeout);
}
