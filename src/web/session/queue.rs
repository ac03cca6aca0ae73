//! The queue of slices, shared by as many workers as pay off.

use std::collections::VecDeque;

use crate::inference::Settings;
use crate::web::options::{Device, LOWEST_SCORE};
use crate::web::protocol::Beside;
use crate::web::protocol::reader::PreparedSlice;
use crate::web::protocol::worker::Request;
use crate::web::session::Session;
use crate::web::session::silence::Silence;
use crate::web::session::work::{Job, Work};
use crate::web::state::{Action, Phase};
use crate::web::texts::text;

/// A worker that has not confirmed a cancellation after this long is replaced.
const CANCEL_PATIENCE_MS: u32 = 1500;

impl Session {
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
        self.start_worker_if_there_is_none();
        self.go_on();
    }

    /// Another try after all had failed: whatever it was, the network or a slice, it may be over.
    pub(super) fn start_worker_if_there_is_none(&self) {
        let work = &self.inner.work;
        if self.inner.has_chosen.get() && work.workers.borrow().is_empty() {
            work.failures.set(0);
            self.start_worker(Device::Cpu);
        }
    }

    /// Gives idle workers what is prepared, has more prepared, and lets the crew grow or shrink.
    pub(super) fn go_on(&self) {
        if !self.has_opened() {
            return;
        }
        let work = &self.inner.work;
        let idle = |work: &Work| {
            work.workers.borrow().iter().find(|worker| worker.is_idle()).map(|w| w.number)
        };
        while let Some(number) = idle(work) {
            let Some((slice, prepared, pixels)) = work.prepared.borrow_mut().pop_front() else {
                break;
            };
            let id = self.number();
            let force = work.forced.borrow().contains(&slice);
            let settings = Settings { score_threshold: LOWEST_SCORE, force, ..Settings::default() };
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
            if self.is_unreadable(slice) {
                let message = format!("{}: {}", self.slice_name(slice), text!("session.breaks"));
                self.dispatch(Action::Refused(message));
                continue;
            }
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
    pub(super) fn tell(&self) {
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
        let is_preparing = self.first_unprepared().is_some();
        work.forget_queue();
        let mut had_job = false;
        for worker in work.workers.borrow_mut().iter_mut() {
            let Some(job) = worker.job.take() else { continue };
            had_job = true;
            worker.silence = None;
            worker.program.send(&Request::Cancel { id: job.id }, Beside::Nothing);
            let (session, number) = (self.clone(), worker.number);
            worker.cancelling = Some(Silence::new(CANCEL_PATIENCE_MS, move || {
                let device = session.inner.work.remove(number).map(|worker| worker.device);
                if let Some(device) = device {
                    session.start_worker(device);
                }
            }));
        }
        let had_reader = self.cancel_reading(is_preparing);
        self.dispatch(match had_work || had_job || had_reader {
            true => Action::Cancelled,
            false => Action::Settled,
        });
    }
}
