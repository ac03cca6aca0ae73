//! Loops over disjoint chunks: on all cores natively, one after the other in the browser.
//!
//! Threads in wasm need response headers that static hosts cannot set.

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::ops::Range;

    use rayon::prelude::*;

    /// Calls `work(index, chunk)` for every chunk of `length` values.
    pub fn for_each_chunk<T: Send>(
        values: &mut [T],
        length: usize,
        work: impl Fn(usize, &mut [T]) + Sync + Send,
    ) {
        values.par_chunks_mut(length).enumerate().for_each(|(index, chunk)| work(index, chunk));
    }

    /// Threads that share the work.
    pub fn threads() -> usize {
        rayon::current_num_threads()
    }

    /// Cuts `0..length` into one range per thread and collects what `work` makes of each.
    ///
    /// The cut depends on the number of threads alone, so sums repeat to the bit.
    pub fn map_parts<T: Send>(length: usize, work: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
        let part = length.div_ceil(threads()).max(1);
        (0..length.div_ceil(part))
            .into_par_iter()
            .map(|index| work(index * part..((index + 1) * part).min(length)))
            .collect()
    }

    /// The sum of what `work` adds to `size` zeros for each part of `0..length`.
    pub fn sum_over_parts(
        length: usize,
        size: usize,
        work: impl Fn(Range<usize>, &mut [f32]) + Sync,
    ) -> Vec<f32> {
        let parts = map_parts(length, |range| {
            let mut sums = vec![0.0; size];
            work(range, &mut sums);
            sums
        });
        let mut parts = parts.into_iter();
        let mut total = parts.next().unwrap_or_else(|| vec![0.0; size]);
        for part in parts {
            for (total, value) in total.iter_mut().zip(part) {
                *total += value;
            }
        }
        total
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
