//! Strangers' files, crafted or broken at random: every reader refuses them or reads them, none panics, and none
//! takes more memory or time than it may.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod attack;
#[path = "../common/mod.rs"]
mod common;
mod crafted;
mod decoded;
mod mutated;
mod samples;
