//! What there is to do, and who does it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use crate::inference::Stage;
use crate::report::ModelsInfo;
use crate::web::environment;
use crate::web::options::Device;
use crate::web::protocol::reader::PreparedSlice;
use crate::web::session::program::Program;
use crate::web::session::silence::Silence;
use crate::worker_pool::WorkerPool;

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
    pub cancelling: Option<Silence>,
    /// Runs out if nothing is heard in the middle of a slice.
    pub silence: Option<Silence>,
}

impl Worker {
    pub fn is_idle(&self) -> bool {
        self.is_ready && self.job.is_none() && self.cancelling.is_none()
    }
}

/// Workers and what they are to do.
pub struct Work {
    pub workers: RefCell<Vec<Worker>>,
    pub crew: RefCell<WorkerPool>,
    /// Slices to be looked at whatever they show.
    pub forced: RefCell<Vec<usize>>,
    /// Slices that wait.
    pub queue: RefCell<VecDeque<usize>>,
    /// Slices that the reader was asked for.
    pub preparing: RefCell<Vec<usize>>,
    /// Slices that came from the reader.
    pub prepared: RefCell<VecDeque<(usize, PreparedSlice, Vec<u8>)>>,
    /// Workers that broke since the last slice was done.
    pub failures: Cell<u32>,
    /// What the first worker computes with.
    models: RefCell<Option<ModelsInfo>>,
    /// Workers that each slice broke.
    pub failures_of: RefCell<BTreeMap<usize, u32>>,
}

impl Work {
    /// Nothing to do yet. `workers` fixes how many share a series.
    pub fn new(workers: Option<usize>) -> Self {
        let crew = match workers {
            Some(count) => WorkerPool::of(count),
            None => WorkerPool::growing_to(environment::workers_at_most()),
        };
        Self {
            workers: RefCell::default(),
            crew: RefCell::new(crew),
            forced: RefCell::default(),
            queue: RefCell::default(),
            preparing: RefCell::default(),
            prepared: RefCell::default(),
            failures: Cell::new(0),
            models: RefCell::default(),
            failures_of: RefCell::default(),
        }
    }

    /// Whether these are other models than the first worker's.
    pub fn is_other_model(&self, models: &ModelsInfo) -> bool {
        let mut known = self.models.borrow_mut();
        known.get_or_insert_with(|| models.clone()) != models
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
