//! How many workers share the slices of a series: as many as pay off on this machine.
//!
//! Every worker brings its own memory and weights, and cores that are not real, or a memory bus that is
//! full, make one more worker worth little. So workers are added one by one, and the last goes again if
//! the slices did not come clearly faster with it.

use std::collections::BTreeMap;

use crate::web::scheduler::CLEARLY_FASTER;

/// Slices measured per worker before its number is judged.
const SAMPLES: usize = 2;
/// Slices that must wait per worker for one more to be worth its start.
const WAITING: usize = 2;

/// What was measured, and the bounds.
#[derive(Clone, Debug)]
pub struct WorkerPool {
    most: usize,
    is_fixed: bool,
    /// Milliseconds of the slices computed while so many worked.
    times: BTreeMap<usize, Vec<f64>>,
    settled: Option<usize>,
}

impl WorkerPool {
    /// At most `most` workers, fewer if more do not pay off.
    pub fn growing_to(most: usize) -> Self {
        Self { most: most.max(1), is_fixed: false, times: BTreeMap::new(), settled: None }
    }

    /// Exactly `count` workers as soon as there is work for them.
    pub fn of(count: usize) -> Self {
        Self { is_fixed: true, ..Self::growing_to(count) }
    }

    /// A slice took so long while `workers` were busy.
    pub fn record(&mut self, workers: usize, milliseconds: f64) {
        self.times.entry(workers).or_default().push(milliseconds);
    }

    /// Starting a worker failed: no more than `count` from now on.
    pub fn limit(&mut self, count: usize) {
        self.most = count.max(1);
        self.settled = self.settled.map(|settled| settled.min(self.most));
    }

    /// Slices a millisecond with so many workers, once enough were measured.
    fn speed(&self, workers: usize) -> Option<f64> {
        let times = self.times.get(&workers).filter(|times| times.len() >= SAMPLES * workers)?;
        let recent = &times[times.len() - SAMPLES * workers..];
        Some((workers * recent.len()) as f64 / recent.iter().sum::<f64>())
    }

    /// How many workers there should be, with `present` of them now and `waiting` slices to come.
    pub fn wanted(&mut self, present: usize, waiting: usize) -> usize {
        let has_work = waiting >= WAITING * (present + 1);
        if self.is_fixed {
            return if waiting > 0 { self.most } else { present.max(1) };
        }
        if let Some(settled) = self.settled {
            return if has_work { settled } else { settled.min(present).max(1) };
        }
        if present > 1
            && let (Some(now), Some(before)) = (self.speed(present), self.speed(present - 1))
            && now < CLEARLY_FASTER * before
        {
            self.settled = Some(present - 1);
            return present - 1;
        }
        let is_judged = self.speed(present).is_some();
        if is_judged && has_work && present < self.most {
            return present + 1;
        }
        present.clamp(1, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `slices` slices on a machine where `n` workers take `milliseconds(n)` a slice each.
    fn run(pool: &mut WorkerPool, slices: usize, milliseconds: impl Fn(usize) -> f64) -> usize {
        let mut workers = 1;
        for done in 0..slices {
            pool.record(workers, milliseconds(workers));
            workers = pool.wanted(workers, slices - done - 1);
        }
        workers
    }

    #[test]
    fn workers_are_added_while_each_makes_the_series_faster() {
        // Four real cores: four workers do not disturb each other, more only share.
        let cores = |workers: usize| 500.0 * (workers as f64 / 4.0).max(1.0);
        assert_eq!(run(&mut WorkerPool::growing_to(8), 300, cores), 4);
        assert_eq!(run(&mut WorkerPool::growing_to(3), 300, cores), 3);
        // One core, or memory that is the limit: a second worker gains nothing.
        assert_eq!(run(&mut WorkerPool::growing_to(8), 300, |workers| 500.0 * workers as f64), 1);
    }

    #[test]
    fn a_few_slices_are_not_worth_another_worker() {
        assert_eq!(run(&mut WorkerPool::growing_to(8), 4, |_| 500.0), 1);
    }

    #[test]
    fn a_fixed_pool_has_the_size_asked_for_and_a_limit_holds() {
        assert_eq!(WorkerPool::of(3).wanted(1, 5), 3);
        assert_eq!(WorkerPool::of(3).wanted(1, 0), 1);
        let mut pool = WorkerPool::growing_to(8);
        pool.limit(2);
        assert_eq!(run(&mut pool, 300, |_| 500.0), 2);
    }
}
