//! What the session asks of the workers: a queue of slices, shared by as many workers as pay off.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use gloo::timers::callback::Timeout;

use super::Session;
use super::program::Program;
use crate::crew::Crew;
use crate::predict::{Settings, Stage};
use crate::web::environment;
use crate::web::options::{Device, LOWEST_SCORE, Reader};
use crate::web::protocol::Beside;
use crate::web::protocol::reader::PreparedSlice;
use crate::web::protocol::worker::{Event, Request};
use crate::web::state::{Action, ModelState, Phase};
use crate::web::texts::text;

/// A worker that has not confirmed a cancellation after this long is replaced.
const CANCEL_PATIENCE_MS: u32 = 1500;
/// A worker that says nothing for so long in the middle of a slice is taken for dead. Between two of its
/// words lies a layer of the network; a graphics card may have to build its shaders first.
const SILENCE_ON_CPU_MS: u32 = 45_000;
/// The same for a graphics card.
const SILENCE_ON_GPU_MS: u32 = 300_000;
/// Workers that break in a row before nothing more is computed.
const MOST_FAILURES: u32 = 3;
/// Workers that a slice may break before it is given up.
const MOST_FAILURES_OF_A_SLICE: u32 = 2;

/// A slice that a worker predicts.
#[derive(Clone, Copy, Debug)]
struct Job {
    id: u32,
    slice: usize,
    stage: Option<Stage>,
}

struct Worker {
    number: u32,
    device: Device,
    program: Program,
    is_ready: bool,
    job: Option<Job>,
    /// Runs out if a cancellation is not confirmed; no new job until then.
    cancelling: Option<Timeout>,
    /// Runs out if nothing is heard in the middle of a slice.
    silence: Option<Timeout>,
}

impl Worker {
    fn is_idle(&self) -> bool {
        self.is_ready && self.job.is_none() && self.cancelling.is_none()
    }
}

/// Workers and what they are to do.
pub struct Work {
    workers: RefCell<Vec<Worker>>,
    crew: RefCell<Crew>,
    /// Slices that wait.
    queue: RefCell<VecDeque<usize>>,
    /// Slices that the reader was asked for.
    preparing: RefCell<Vec<usize>>,
    /// Slices that came from the reader.
    prepared: RefCell<VecDeque<(usize, PreparedSlice, Vec<u8>)>>,
    /// Workers that broke since the last slice was done.
    failures: Cell<u32>,
    /// Workers that each slice broke.
    failures_of: RefCell<BTreeMap<usize, u32>>,
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

    fn waiting(&self) -> usize {
        self.queue.borrow().len() + self.preparing.borrow().len() + self.prepared.borrow().len()
    }

    /// Calls `change` with a worker that still exists.
    fn with<T>(&self, number: u32, change: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        let mut workers = self.workers.borrow_mut();
        workers.iter_mut().find(|worker| worker.number == number).map(change)
    }

    fn remove(&self, number: u32) -> Option<Worker> {
        let mut workers = self.workers.borrow_mut();
        let place = workers.iter().position(|worker| worker.number == number)?;
        Some(workers.remove(place))
    }

    fn forget_queue(&self) {
        self.queue.borrow_mut().clear();
        self.preparing.borrow_mut().clear();
        self.prepared.borrow_mut().clear();
    }
}

impl Session {
    pub(super) fn start_worker(&self, device: Device) {
        let work = &self.inner.work;
        if work.workers.borrow().is_empty() {
            self.dispatch(Action::Phase(Phase::Starting));
        }
        let number = self.number();
        let (heard, failed) = (self.clone(), self.clone());
        let hear = move |event, bytes| heard.hear_worker(number, event, bytes);
        let failed = move |reason: &str| failed.worker_failed(number, reason);
        match Program::start(device.files()[0], hear, failed) {
            Ok(program) => work.workers.borrow_mut().push(Worker {
                number,
                device,
                program,
                is_ready: false,
                job: None,
                cancelling: None,
                silence: None,
            }),
            Err(reason) if work.workers.borrow().is_empty() => {
                self.dispatch(Action::Broken(
                    text!("session.worker_not_started", reason = reason).to_string(),
                ));
            }
            Err(_) => self.no_more_workers(),
        }
    }

    fn no_more_workers(&self) {
        let count = self.inner.work.workers.borrow().len();
        self.inner.work.crew.borrow_mut().limit(count);
    }

    /// Predicts slices; what waited before is forgotten, what runs goes on.
    pub fn run(&self, slices: impl IntoIterator<Item = usize>) {
        let work = &self.inner.work;
        work.forget_queue();
        work.failures_of.borrow_mut().clear();
        let running: Vec<usize> =
            work.workers.borrow().iter().filter_map(|w| Some(w.job?.slice)).collect();
        let queue: VecDeque<usize> =
            slices.into_iter().filter(|slice| !running.contains(slice)).collect();
        *work.queue.borrow_mut() = queue;
        self.dispatch(Action::Queued);
        self.go_on();
    }

    /// Gives idle workers what is prepared, has more prepared, and lets the crew grow or shrink.
    pub(super) fn go_on(&self) {
        if !self.has_opened() {
            return;
        }
        let work = &self.inner.work;
        let idle = |work: &super::Work| {
            work.workers.borrow().iter().find(|worker| worker.is_idle()).map(|w| w.number)
        };
        while let Some(number) = idle(work) {
            let Some((slice, prepared, pixels)) = work.prepared.borrow_mut().pop_front() else {
                break;
            };
            let id = self.number();
            let settings = Settings { score_threshold: LOWEST_SCORE, ..Settings::default() };
            let request = Request::Predict { id, slice: prepared, settings };
            work.with(number, |worker| {
                worker.job = Some(Job { id, slice, stage: None });
                worker.silence = Some(self.when_silent(worker));
                worker.program.send(&request, Beside::Bytes(&pixels));
            });
        }
        self.resize_crew();
        self.prepare_more();
        self.tell();
    }

    /// What happens if nothing is heard of a worker for long.
    fn when_silent(&self, worker: &Worker) -> Timeout {
        let (session, number) = (self.clone(), worker.number);
        let patience = match worker.device {
            Device::Cpu => SILENCE_ON_CPU_MS,
            Device::Gpu => SILENCE_ON_GPU_MS,
        };
        Timeout::new(patience, move || {
            session.worker_failed(number, &text!("session.silent"));
        })
    }

    /// One slice more than there are idle workers is prepared ahead, so that none waits for the reader.
    fn prepare_more(&self) {
        let work = &self.inner.work;
        let workers = work.workers.borrow();
        if !workers.iter().any(|worker| worker.is_ready) {
            return;
        }
        let ahead = workers.iter().filter(|worker| worker.is_idle()).count() + 1;
        drop(workers);
        while work.preparing.borrow().len() + work.prepared.borrow().len() < ahead {
            let Some(slice) = work.queue.borrow_mut().pop_front() else { return };
            work.preparing.borrow_mut().push(slice);
            self.ask_for_slice(slice);
        }
    }

    fn resize_crew(&self) {
        let work = &self.inner.work;
        let workers = work.workers.borrow();
        let is_cpu = workers.first().is_some_and(|worker| worker.device == Device::Cpu);
        if !is_cpu || !workers.iter().all(|worker| worker.is_ready) {
            return;
        }
        let present = workers.len();
        let idle = workers.iter().rev().find(|worker| worker.is_idle()).map(|w| w.number);
        drop(workers);
        let wanted = work.crew.borrow_mut().wanted(present, work.waiting());
        if wanted > present {
            self.start_worker(Device::Cpu);
        } else if wanted < present
            && let Some(number) = idle
        {
            work.remove(number);
        }
    }

    /// Says what runs.
    fn tell(&self) {
        let work = &self.inner.work;
        let workers = work.workers.borrow();
        let jobs: Vec<Job> = workers.iter().filter_map(|worker| worker.job).collect();
        let waiting = work.waiting();
        if let Some(job) = jobs.iter().min_by_key(|job| job.id) {
            let (slice, stage, at_once) = (job.slice, job.stage, jobs.len());
            self.dispatch(Action::Phase(Phase::Running { slice, stage, waiting, at_once }));
        } else if waiting > 0 && workers.iter().any(|worker| worker.is_ready) {
            let running =
                Phase::Running { slice: 0, stage: None, waiting: waiting - 1, at_once: 1 };
            self.dispatch(Action::Phase(running));
        }
    }

    /// A slice came from the reader.
    pub(super) fn take_prepared(&self, slice: usize, prepared: PreparedSlice, pixels: Vec<u8>) {
        let work = &self.inner.work;
        let mut preparing = work.preparing.borrow_mut();
        let Some(place) = preparing.iter().position(|wanted| *wanted == slice) else { return };
        preparing.remove(place);
        drop(preparing);
        work.prepared.borrow_mut().push_back((slice, prepared, pixels));
        self.go_on();
    }

    /// A slice cannot be predicted; the others go on.
    pub(super) fn give_up(&self, slice: usize, message: String) {
        self.inner.work.preparing.borrow_mut().retain(|wanted| *wanted != slice);
        self.dispatch(Action::Refused(message));
        self.go_on();
    }

    /// The slice that the reader is at.
    pub(super) fn first_unprepared(&self) -> Option<usize> {
        self.inner.work.preparing.borrow().first().copied()
    }

    /// What a reader that broke was asked for waits again, unless `refusal` says why not.
    pub(super) fn take_back_unprepared(&self, refusal: impl Fn(usize) -> Option<String>) {
        let work = &self.inner.work;
        let asked = std::mem::take(&mut *work.preparing.borrow_mut());
        for slice in asked.into_iter().rev() {
            match refusal(slice) {
                Some(message) => self.dispatch(Action::Refused(message)),
                None => work.queue.borrow_mut().push_front(slice),
            }
        }
    }

    /// Lets what runs finish and begins nothing more.
    pub fn pause(&self) {
        self.inner.work.forget_queue();
        self.dispatch(Action::Paused);
        self.tell();
    }

    /// Cancels what runs and what waits. A worker deep in a computation that does not answer is
    /// replaced.
    pub fn cancel(&self) {
        let work = &self.inner.work;
        let had_work = work.waiting() > 0;
        work.forget_queue();
        let mut had_job = false;
        for worker in work.workers.borrow_mut().iter_mut() {
            let Some(job) = worker.job.take() else { continue };
            had_job = true;
            worker.silence = None;
            worker.program.send(&Request::Cancel { id: job.id }, Beside::Nothing);
            let (session, number) = (self.clone(), worker.number);
            worker.cancelling = Some(Timeout::new(CANCEL_PATIENCE_MS, move || {
                let device = session.inner.work.remove(number).map(|worker| worker.device);
                if let Some(device) = device {
                    session.start_worker(device);
                }
            }));
        }
        if had_work || had_job {
            self.dispatch(Action::Cancelled);
        }
    }

    fn hear_worker(&self, number: u32, event: Event, bytes: Vec<u8>) {
        let work = &self.inner.work;
        let is_only = work.workers.borrow().iter().all(|worker| worker.number == number);
        match event {
            Event::Started => {
                let model = self.inner.options.model.clone();
                work.with(number, |worker| {
                    worker.program.has_started();
                    worker.program.send(&Request::Load { model }, Beside::Nothing);
                });
            }
            Event::Loading { received, total } if is_only => {
                self.dispatch(Action::Phase(Phase::Loading { received, total }));
            }
            Event::WarmingUp if is_only => self.dispatch(Action::Phase(Phase::WarmingUp)),
            Event::Loading { .. } | Event::WarmingUp => {}
            Event::Ready { device, details, model, models, licence, regions, downloads } => {
                let own = work.with(number, |worker| {
                    worker.is_ready = true;
                    worker.device
                });
                if let Some(own) = own.filter(|_| is_only) {
                    let readers = [Reader::Pictures, Reader::AllFormats].map(Reader::files);
                    environment::keep_offline(
                        &[&own.files()[..], readers.as_flattened()].concat(),
                        &model,
                    );
                    self.fetch_card(&model);
                    let (name, regions) = (model, regions.map(Rc::from));
                    self.dispatch(Action::Ready(ModelState {
                        device,
                        details,
                        name,
                        models,
                        licence,
                        regions,
                        downloads,
                    }));
                }
                self.go_on();
            }
            Event::Stage { id, stage } => {
                work.with(number, |worker| {
                    worker.silence = worker.job.map(|_| self.when_silent(worker));
                    if let Some(job) = worker.job.as_mut().filter(|job| job.id == id) {
                        job.stage = Some(stage);
                    }
                });
                self.tell();
            }
            Event::Done { id, report } => {
                let done = work.with(number, |worker| {
                    (worker.cancelling, worker.silence) = (None, None);
                    worker.job.take_if(|job| job.id == id)
                });
                if let Some(job) = done.flatten() {
                    work.failures.set(0);
                    self.measure(report.milliseconds.get("total"));
                    let (slice, report, scores) = (job.slice, Rc::from(report), Rc::new(bytes));
                    self.dispatch(Action::Done { slice, report, scores });
                }
                self.go_on();
            }
            // The page has said so when it was asked for.
            Event::Cancelled { .. } => {
                work.with(number, |worker| worker.cancelling = None);
                self.go_on();
            }
            Event::LoadFailed { message } => {
                work.remove(number);
                if is_only {
                    self.dispatch(Action::Broken(
                        text!("session.no_model", reason = message).to_string(),
                    ));
                } else {
                    self.no_more_workers();
                }
            }
            Event::Failed { message } => self.worker_failed(number, &message),
        }
    }

    /// Tells the crew how long a slice took, if all workers were busy with it.
    fn measure(&self, milliseconds: Option<&f64>) {
        let workers = self.inner.work.workers.borrow();
        // The worker that is done has no job any more.
        let busy = workers.iter().filter(|worker| worker.job.is_some()).count() + 1;
        if let Some(milliseconds) = milliseconds.filter(|_| busy == workers.len()) {
            self.inner.work.crew.borrow_mut().record(busy, *milliseconds);
        }
    }

    /// The CPU takes over from a GPU that failed; a CPU worker is restarted, or done without if there are
    /// others. The job at hand is computed again.
    fn worker_failed(&self, number: u32, reason: &str) {
        let work = &self.inner.work;
        let Some(failed) = work.remove(number) else { return };
        let reason = reason.trim_end_matches('.');
        let mut refused = None;
        if let Some(job) = failed.job {
            let mut failures_of = work.failures_of.borrow_mut();
            let failures = failures_of.entry(job.slice).or_default();
            *failures += 1;
            if *failures >= MOST_FAILURES_OF_A_SLICE && failed.device == Device::Cpu {
                let name = self.slice_name(job.slice);
                refused =
                    Some(text!("session.slice_failed", name = name, reason = reason).to_string());
            } else {
                work.queue.borrow_mut().push_front(job.slice);
            }
        }
        if let Some(message) = refused {
            self.dispatch(Action::Refused(message));
        }
        if failed.device == Device::Gpu {
            self.dispatch(Action::Notice(text!("session.gpu_failed", reason = reason).to_string()));
            return self.start_worker(Device::Cpu);
        }
        work.failures.set(work.failures.get() + 1);
        if !work.workers.borrow().is_empty() {
            log::warn!("a worker stopped: {reason}");
            self.no_more_workers();
            return self.go_on();
        }
        if work.failures.get() < MOST_FAILURES {
            self.dispatch(Action::Notice(
                text!("session.worker_restarted", reason = reason).to_string(),
            ));
            self.start_worker(Device::Cpu);
        } else {
            work.forget_queue();
            self.dispatch(Action::Broken(
                text!("session.nothing_computes", reason = reason).to_string(),
            ));
        }
    }
}
