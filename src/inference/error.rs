//! Why a slice has no report.

use thiserror::Error;

use crate::inference::progress::Cancelled;

/// Why a slice has no report.
#[derive(Debug, Error)]
pub enum PredictError {
    /// The device failed: lost, out of memory, a kernel that does not run.
    #[error("the device failed: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
    /// The model has no network for what was asked.
    #[error("the model has no {what}")]
    NotLoaded {
        /// Which network.
        what: &'static str,
    },
    /// The network gave NaN or infinity.
    #[error("the network's {what} are not finite; the device or the weights are at fault")]
    NotFinite {
        /// Which output.
        what: &'static str,
    },
    /// The device does not compute what it should.
    #[error("the device computes wrong values ({difference})")]
    SelfTest {
        /// First difference from the stored values.
        difference: String,
    },
    /// The user stopped it.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
