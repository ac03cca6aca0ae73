//! The life of each worker: how it starts, what it says, what happens when it breaks.

use std::rc::Rc;

use crate::web::environment;
use crate::web::options::{Device, Reader};
use crate::web::protocol::Beside;
use crate::web::protocol::worker::{Event, Request};
use crate::web::session::Session;
use crate::web::session::program::Program;
use crate::web::session::silence::Silence;
use crate::web::session::work::Worker;
use crate::web::state::{Action, ModelState, Phase};
use crate::web::texts::text;

/// A worker that says nothing for so long in the middle of a slice is taken for dead. Between two of its
/// words lies a layer of the network; a graphics card may have to build its shaders first.
const SILENCE_ON_CPU_MS: u32 = 45_000;
/// The same for a graphics card.
const SILENCE_ON_GPU_MS: u32 = 300_000;
/// The same while weights arrive, over a line that may be slow.
const LOADING_MS: u32 = 180_000;
/// Workers that break in a row before nothing more is computed.
const MOST_FAILURES: u32 = 3;
/// Workers that a slice may break before it is given up.
const MOST_FAILURES_OF_A_SLICE: u32 = 2;

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
        match Program::start(device.files(), hear, failed) {
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

    /// What happens if nothing is heard of a worker for long: while weights arrive, while the device is
    /// checked, or in the middle of a slice.
    pub(super) fn when_silent(&self, worker: &Worker) -> Silence {
        let (session, number) = (self.clone(), worker.number);
        let patience = match worker.device {
            Device::Cpu => SILENCE_ON_CPU_MS,
            Device::Gpu => SILENCE_ON_GPU_MS,
        };
        session.when_silent_for(number, patience)
    }

    fn when_silent_for(&self, number: u32, milliseconds: u32) -> Silence {
        let session = self.clone();
        Silence::new(milliseconds, move || {
            session.worker_failed(number, &text!("session.silent"));
        })
    }

    fn hear_worker(&self, number: u32, event: Event, bytes: Vec<u8>) {
        let work = &self.inner.work;
        let is_only = work.workers.borrow().iter().all(|worker| worker.number == number);
        match event {
            Event::Started => {
                let model = self.inner.options.model.clone();
                let models = environment::absolute("models").unwrap_or_default();
                work.with(number, |worker| {
                    worker.program.has_started();
                    worker.silence = Some(self.when_silent_for(number, LOADING_MS));
                    worker.program.send(&Request::Load { models, model }, Beside::Nothing);
                });
            }
            Event::Loading { received, total } => {
                work.with(number, |worker| {
                    worker.silence = Some(self.when_silent_for(number, LOADING_MS));
                });
                if is_only {
                    self.dispatch(Action::Phase(Phase::Loading { received, total }));
                }
            }
            Event::WarmingUp => {
                work.with(number, |worker| worker.silence = Some(self.when_silent(worker)));
                if is_only {
                    self.dispatch(Action::Phase(Phase::WarmingUp));
                }
            }
            Event::Ready { models, .. } if work.is_other_model(&models) => {
                // The site has changed meanwhile: what two models find does not stand under one name.
                work.remove(number);
                if is_only {
                    work.forget_queue();
                    self.dispatch(Action::Broken(text!("session.other_model").to_string()));
                } else {
                    self.no_more_workers();
                }
            }
            Event::Ready { device, details, model, models, licence, regions, downloads } => {
                let own = work.with(number, |worker| {
                    (worker.is_ready, worker.silence) = (true, None);
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
            // A graphics card that fails says nothing of the slice.
            *failures += u32::from(failed.device == Device::Cpu);
            if *failures >= MOST_FAILURES_OF_A_SLICE && failed.device == Device::Cpu {
                let name = self.slice_name(job.slice);
                // The slice is to blame, not what computes.
                work.failures.set(0);
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
