//! What there is to do, and who does it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use gloo::timers::callback::Timeout;

use super::program::Program;
use crate::crew::Crew;
use crate::predict::Stage;
use crate::web::environment;
use crate::web::options::Device;
use crate::web::protocol::reader::PreparedSlice;

/// A slice that a worker predicts.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    pub id: u32,
    pub slice: usize,
    pub stage: Option<Stage>,
}

/// A worker, and what it does.
pub struct Worker {
    pub number: u32,
    pub device: Device,
    pub program: Program,
    pub is_ready: bool,
    pub job: Option<Job>,
    /// Runs out if a cancellation is not confirmed; no new job until then.
    pub cancelling: Option<Timeout>,
    /// Runs out if nothing is heard in the middle of a slice.
    pub silence: Option<Timeout>,
}

impl Worker {
    pub fn is_idle(&self) -> bool {
        self.is_ready && self.job.is_none() && self.cancelling.is_none()
    }
}

/// Workers and what they are to do.
pub struct Work {
    pub workers: RefCell<Vec<Worker>>,
    pub crew: RefCell<Crew>,
    /// Slices that wait.
    pub queue: RefCell<VecDeque<usize>>,
    /// Slices that the reader was asked for.
    pub preparing: RefCell<Vec<usize>>,
    /// Slices that came from the reader.
    pub prepared: RefCell<VecDeque<(usize, PreparedSlice, Vec<u8>)>>,
    /// Workers that broke since the last slice was done.
    pub failures: Cell<u32>,
    /// Workers that each slice broke.
    pub failures_of: RefCell<BTreeMap<usize, u32>>,
}

impl Work {
    /// Nothing to do yet. `workers` fixes how many share a series.
    pub fn new(workers: Option<usize>) -> Self {
        let crew = match workers {
            Some(count) => Crew::of(count),
            None => Crew::growing_to(environment::workers_at_most()),
        };
        Self {
            workers: RefCell::default(),
            crew: RefCell::new(crew),
            queue: RefCell::default(),
            preparing: RefCell::default(),
            prepared: RefCell::default(),
            failures: Cell::new(0),
            failures_of: RefCell::default(),
        }
    }

    pub fn waiting(&self) -> usize {
        self.queue.borrow().len() + self.preparing.borrow().len() + self.prepared.borrow().len()
    }

    /// Calls `change` with a worker that still exists.
    pub fn with<T>(&self, number: u32, change: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        let mut workers = self.workers.borrow_mut();
        workers.iter_mut().find(|worker| worker.number == number).map(change)
    }

    pub fn remove(&self, number: u32) -> Option<Worker> {
        let mut workers = self.workers.borrow_mut();
        let place = workers.iter().position(|worker| worker.number == number)?;
        Some(workers.remove(place))
    }

    pub fn forget_queue(&self) {
        self.queue.borrow_mut().clear();
        self.preparing.borrow_mut().clear();
        self.prepared.borrow_mut().clear();
    }
}
