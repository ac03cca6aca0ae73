//! Yields to the event loop, so that cancellations arrive and a page stays responsive.

use gloo::timers::future::TimeoutFuture;
use web_time::{Duration, Instant};

/// Work for this long before returning to the event loop.
const WORK: Duration = Duration::from_millis(30);

/// Time of the last yield.
#[derive(Debug)]
pub struct Yielder(Instant);

impl Default for Yielder {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Yielder {
    /// Yields if the last one is too long ago.
    pub async fn yield_if_due(&mut self) {
        if self.0.elapsed() > WORK {
            TimeoutFuture::new(0).await;
            self.0 = Instant::now();
        }
    }
}
