//! Loops over disjoint chunks: on all cores natively, one after the other in the browser.
//!
//! Threads in wasm need response headers that static hosts cannot set.

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use rayon::prelude::*;

    /// Calls `work(index, chunk)` for every chunk of `length` values.
    pub fn for_each_chunk<T: Send>(
        values: &mut [T],
        length: usize,
        work: impl Fn(usize, &mut [T]) + Sync + Send,
    ) {
        values.par_chunks_mut(length).enumerate().for_each(|(index, chunk)| work(index, chunk));
    }
}

#[cfg(target_arch = "wasm32")]
mod browser {
    /// Calls `work(index, chunk)` for every chunk of `length` values.
    pub fn for_each_chunk<T>(values: &mut [T], length: usize, work: impl Fn(usize, &mut [T])) {
        values.chunks_mut(length).enumerate().for_each(|(index, chunk)| work(index, chunk));
    }
}

#[cfg(target_arch = "wasm32")]
pub use browser::*;
#[cfg(not(target_arch = "wasm32"))]
pub use native::*;
