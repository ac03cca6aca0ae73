//! The life of each worker: how it starts, what it says, what happens when it breaks.

use std::rc::Rc;

use crate::web::messages::worker::Event;
use crate::web::options::Device;
use crate::web::scheduler::{Command, Scheduler, Timer, Worker};
use crate::web::state::{Action, ModelState, Phase};
use crate::web::texts::text;

/// A worker that says nothing for so long in the middle of a slice is considered unresponsive. Between two of its
/// words lies a layer of the network, on a graphics card all layers, and the shaders before the first slice.
const SILENCE_ON_CPU_MS: u32 = 45_000;
/// The same for a graphics card.
const SILENCE_ON_GPU_MS: u32 = 300_000;
/// The same while weights arrive, over a line that may be slow.
const LOADING_MS: u32 = 180_000;
/// Workers that break in a row before nothing more is computed.
const MOST_FAILURES: u32 = 3;
/// Workers that a slice may break before it is skipped.
const MOST_FAILURES_OF_A_SLICE: u32 = 2;

impl Scheduler {
    pub(super) fn start_worker(&mut self, device: Device) {
        if self.workers.is_empty() {
            self.dispatch(Action::Phase(Phase::Starting));
        }
        let number = self.number();
        let (is_ready, job, is_cancelling) = (false, None, false);
        self.workers.push(Worker { number, device, is_ready, job, is_cancelling });
        self.commands.push(Command::StartWorker { number, device });
    }

    /// Another try after all had failed: whatever it was, the network or a slice, it may be over.
    pub(super) fn start_worker_if_there_is_none(&mut self) {
        if self.has_chosen && self.workers.is_empty() {
            self.failures = 0;
            self.start_worker(Device::Cpu);
        }
    }

    /// The program of a worker could not be started.
    pub fn worker_not_started(&mut self, number: u32, reason: &str) {
        if self.remove(number).is_none() {
            return;
        }
        if self.workers.is_empty() {
            let message = text!("session.worker_not_started", reason = reason).to_string();
            self.dispatch(Action::Broken(message));
        } else {
            self.no_more_workers();
        }
    }

    /// Another worker in the place of one that does not answer.
    pub(super) fn replace_worker(&mut self, number: u32) {
        if let Some(worker) = self.remove(number) {
            if worker.device == Device::Cpu {
                self.challenger = None;
            }
            self.start_worker(worker.device);
        }
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Worker> {
        let place = self.workers.iter().position(|worker| worker.number == number)?;
        self.commands.push(Command::StopWorker(number));
        Some(self.workers.remove(place))
    }

    fn worker(&mut self, number: u32) -> Option<&mut Worker> {
        self.workers.iter_mut().find(|worker| worker.number == number)
    }

    /// Starting an additional worker failed: no more are started. One that was to be compared says nothing of how
    /// many CPU workers there can be.
    fn no_more_workers(&mut self) {
        if self.trial.is_under_way() {
            return self.end_trial();
        }
        self.pool.limit(self.workers.len());
    }

    /// Considers a worker unresponsive if nothing is heard of it for long: while the device is checked, or in the middle of a
    /// slice.
    pub(super) fn wait_for_worker(&mut self, number: u32) {
        let Some(device) = self.worker(number).map(|worker| worker.device) else { return };
        let timeout = match device {
            Device::Cpu => SILENCE_ON_CPU_MS,
            Device::Gpu => SILENCE_ON_GPU_MS,
        };
        self.commands.push(Command::SetTimer(Timer::Worker(number), timeout));
    }

    fn wait_for_weights(&mut self, number: u32) {
        if self.worker(number).is_some() {
            self.commands.push(Command::SetTimer(Timer::Worker(number), LOADING_MS));
        }
    }

    fn wait_for_nothing(&mut self, timer: Timer) {
        self.commands.push(Command::ClearTimer(timer));
    }

    /// A worker says something, with bytes beside it.
    pub fn worker_event(&mut self, number: u32, event: Event, bytes: Vec<u8>) {
        // The last words of one that was stopped concern nobody.
        if self.worker(number).is_none() {
            return;
        }
        let is_only = self.workers.iter().all(|worker| worker.number == number);
        match event {
            Event::Started => {
                self.wait_for_weights(number);
                self.commands.push(Command::LoadModel { number, model: self.model.clone() });
            }
            Event::Loading { received, total } => {
                self.wait_for_weights(number);
                if is_only {
                    self.dispatch(Action::Phase(Phase::Loading { received, total }));
                }
            }
            Event::WarmingUp => {
                self.wait_for_worker(number);
                if is_only {
                    self.dispatch(Action::Phase(Phase::WarmingUp));
                }
            }
            Event::Ready { models, .. }
                if self.models.get_or_insert_with(|| (*models).clone()) != &*models =>
            {
                // The site has changed meanwhile: what two models find does not stand under one name.
                self.remove(number);
                if is_only {
                    self.forget_queue();
                    self.dispatch(Action::Broken(text!("session.other_model").to_string()));
                } else {
                    self.no_more_workers();
                }
            }
            Event::Ready {
                device: name_of_device,
                details,
                model,
                models,
                licence,
                regions,
                downloads,
                models_of_site,
            } => {
                let mut own = None;
                if let Some(worker) = self.worker(number) {
                    worker.is_ready = true;
                    own = Some(worker.device);
                    self.wait_for_nothing(Timer::Worker(number));
                }
                let model = Box::new(ModelState {
                    device: name_of_device,
                    details,
                    name: model,
                    models: *models,
                    licence,
                    regions: regions.map(Rc::from),
                    downloads,
                    models_of_site,
                });
                match own {
                    Some(device) if is_only => {
                        self.use_device(device, model);
                        self.resume_waiting();
                    }
                    Some(Device::Cpu) if self.trial.is_under_way() => self.challenger = Some(model),
                    _ => {}
                }
                self.schedule();
            }
            Event::Stage { id, stage } => {
                if let Some(worker) = self.worker(number) {
                    if let Some(job) = worker.job.as_mut().filter(|job| job.id == id) {
                        job.stage = Some(stage);
                    }
                    match worker.job {
                        Some(_) => self.wait_for_worker(number),
                        None => self.wait_for_nothing(Timer::Worker(number)),
                    }
                }
                self.publish_status();
            }
            Event::Done { id, report } => {
                let (mut done, mut device) = (None, None);
                if let Some(worker) = self.worker(number) {
                    worker.is_cancelling = false;
                    device = Some(worker.device);
                    done = worker.job.take_if(|job| job.id == id);
                    self.wait_for_nothing(Timer::Worker(number));
                    self.wait_for_nothing(Timer::Cancellation(number));
                }
                if let Some(job) = done {
                    self.failures = 0;
                    // A refusal costs no time: no network has run.
                    let total = report.milliseconds.get("total").copied();
                    let total = total.filter(|_| report.refusal.is_none());
                    self.measure(total);
                    let (slice, report, scores) = (job.slice, Rc::from(report), Rc::new(bytes));
                    self.dispatch(Action::Done { slice, report, scores });
                    if let Some((device, milliseconds)) = device.zip(total) {
                        self.compare(device, milliseconds);
                    }
                }
                self.schedule();
            }
            // The page has said so when it was asked for.
            Event::Cancelled { .. } => {
                if let Some(worker) = self.worker(number) {
                    worker.is_cancelling = false;
                    self.wait_for_nothing(Timer::Cancellation(number));
                }
                self.schedule();
            }
            Event::LoadFailed { message } => {
                self.remove(number);
                if is_only {
                    let message = text!("session.no_model", reason = message).to_string();
                    self.dispatch(Action::Broken(message));
                } else {
                    self.no_more_workers();
                }
            }
            Event::Failed { message } => self.worker_failed(number, &message),
        }
    }

    /// Tells the pool how long a slice took, if all workers were busy with it.
    fn measure(&mut self, milliseconds: Option<f64>) {
        if self.trial.is_under_way() {
            return;
        }
        // The worker that is done has no job any more.
        let busy = self.workers.iter().filter(|worker| worker.job.is_some()).count() + 1;
        if let Some(milliseconds) = milliseconds.filter(|_| busy == self.workers.len()) {
            self.pool.record(busy, milliseconds);
        }
    }

    /// A worker broke. The CPU takes over from a GPU that failed; a CPU worker is restarted, or done without if there
    /// are others. The job at hand is computed again.
    pub fn worker_failed(&mut self, number: u32, reason: &str) {
        let Some(failed) = self.remove(number) else { return };
        let was_compared = self.trial.is_under_way();
        if was_compared {
            self.end_trial();
        }
        let reason = reason.trim_end_matches('.');
        if let Some(job) = failed.job {
            let failures = self.failures_of.entry(job.slice).or_default();
            // A graphics card that fails says nothing of the slice.
            *failures += u32::from(failed.device == Device::Cpu);
            if *failures >= MOST_FAILURES_OF_A_SLICE && failed.device == Device::Cpu {
                let name = self.slice_name(job.slice);
                // The slice is to blame, not what computes.
                self.failures = 0;
                let message = text!("session.slice_failed", name = name, reason = reason);
                self.dispatch(Action::Refused(message.to_string()));
            } else {
                self.queue.push_front(job.slice);
            }
        }
        if failed.device == Device::Gpu {
            self.dispatch(Action::Notice(text!("session.gpu_failed", reason = reason).to_string()));
            // A CPU worker may be there to compare.
            if self.workers.is_empty() {
                self.start_worker(Device::Cpu);
            }
            return self.schedule();
        }
        self.failures += 1;
        if !self.workers.is_empty() {
            log::warn!("a worker stopped: {reason}");
            if !was_compared {
                self.no_more_workers();
            }
            return self.schedule();
        }
        if self.failures < MOST_FAILURES {
            let message = text!("session.worker_restarted", reason = reason).to_string();
            self.dispatch(Action::Notice(message));
            self.start_worker(Device::Cpu);
        } else {
            self.forget_queue();
            let message = text!("session.nothing_computes", reason = reason).to_string();
            self.dispatch(Action::Broken(message));
        }
    }
}
