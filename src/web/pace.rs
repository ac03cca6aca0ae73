//! Work in turns with the event loop, so that cancellations are heard and a page stays alive.

use gloo::timers::future::TimeoutFuture;
use web_time::{Duration, Instant};

/// Work for this long before returning to the event loop.
const WORK: Duration = Duration::from_millis(30);

/// Since when there was no rest.
#[derive(Debug)]
pub struct Pace(Instant);

impl Default for Pace {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Pace {
    /// Returns to the event loop, if it was long ago.
    pub async fn rest(&mut self) {
        if self.0.elapsed() > WORK {
            TimeoutFuture::new(0).await;
            self.0 = Instant::now();
        }
    }
}
