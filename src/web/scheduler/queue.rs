//! The queue of slices, shared by as many workers as pay off.

use std::collections::VecDeque;

use crate::image::CtSlice;
use crate::inference::Settings;
use crate::web::messages::worker::Request;
use crate::web::options::{Device, LOWEST_SCORE};
use crate::web::scheduler::{Command, Job, Scheduler, Timer, Worker};
use crate::web::state::{Action, Phase};
use crate::web::texts::text;

/// A worker that has not confirmed a cancellation after this long is replaced.
const CANCEL_TIMEOUT_MS: u32 = 1500;
/// The same for a graphics card, which is asked for most of a slice at once; another worker would build its shaders anew.
const CANCEL_TIMEOUT_ON_GPU_MS: u32 = 5000;

impl Scheduler {
    /// Slices that no worker has yet.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.preparing.len() + self.prepared.len()
    }

    pub(super) fn forget_queue(&mut self) {
        self.queue.clear();
        self.preparing.clear();
        self.prepared.clear();
    }

    /// Predicts slices; what waited before is forgotten, what runs continues.
    pub fn run(&mut self, slices: impl IntoIterator<Item = usize>) {
        self.forget_queue();
        self.failures_of.clear();
        let running: Vec<usize> =
            self.workers.iter().filter_map(|worker| Some(worker.job?.slice)).collect();
        let queue: VecDeque<usize> =
            slices.into_iter().filter(|slice| !running.contains(slice)).collect();
        self.queue = queue;
        self.dispatch(Action::Queued);
        self.start_worker_if_there_is_none();
        self.schedule();
    }

    /// Predicts a slice before those that wait.
    pub(super) fn put_first(&mut self, slice: usize) {
        self.queue.push_front(slice);
        self.start_worker_if_there_is_none();
        self.schedule();
    }

    /// Gives idle workers what is prepared, has more prepared, and lets the pool grow or shrink.
    pub(super) fn schedule(&mut self) {
        if !self.has_opened() {
            return;
        }
        while let Some(place) = self.idle_worker() {
            let Some((slice, prepared, pixels)) = self.prepared.pop_front() else { break };
            let id = self.number();
            let force = self.forced.contains(&slice);
            let settings = Settings { score_threshold: LOWEST_SCORE, force, ..Settings::default() };
            let request = Box::new(Request::Predict { id, slice: Box::new(prepared), settings });
            let worker = &mut self.workers[place];
            worker.job = Some(Job { id, slice, stage: None });
            let number = worker.number;
            self.wait_for_worker(number);
            self.commands.push(Command::SendWorker(number, request, pixels));
        }
        self.resize_pool();
        self.prepare_more();
        self.publish_status();
    }

    /// Place of an idle worker: while two devices are compared, rather the CPU's, whose time is wanted.
    fn idle_worker(&self) -> Option<usize> {
        let is_wanted = |worker: &Worker| {
            worker.is_idle() && worker.device == Device::Cpu && self.trial.is_under_way()
        };
        let cpu = self.workers.iter().position(is_wanted);
        cpu.or_else(|| self.workers.iter().position(Worker::is_idle))
    }

    /// One slice more than there are idle workers is prepared ahead, so that none waits for the reader.
    fn prepare_more(&mut self) {
        if !self.workers.iter().any(|worker| worker.is_ready) {
            return;
        }
        let ahead = self.workers.iter().filter(|worker| worker.is_idle()).count() + 1;
        while self.preparing.len() + self.prepared.len() < ahead {
            let Some(slice) = self.queue.pop_front() else { return };
            if self.is_unreadable(slice) {
                let message = format!("{}: {}", self.slice_name(slice), text!("session.breaks"));
                self.dispatch(Action::Refused(message));
                continue;
            }
            self.preparing.push(slice);
            self.ask_for_slice(slice);
        }
    }

    fn resize_pool(&mut self) {
        let is_cpu = self.workers.iter().all(|worker| worker.device == Device::Cpu);
        if !is_cpu || self.workers.is_empty() || !self.workers.iter().all(|worker| worker.is_ready)
        {
            return;
        }
        let present = self.workers.len();
        let idle = self.workers.iter().rev().find(|worker| worker.is_idle()).map(|w| w.number);
        let waiting = self.waiting();
        let wanted = self.pool.wanted(present, waiting);
        if wanted > present {
            self.start_worker(Device::Cpu);
        } else if wanted < present
            && let Some(number) = idle
        {
            self.remove(number);
        }
    }

    /// Says what runs.
    pub(super) fn publish_status(&mut self) {
        let jobs: Vec<Job> = self.workers.iter().filter_map(|worker| worker.job).collect();
        let waiting = self.waiting();
        if let Some(job) = jobs.iter().min_by_key(|job| job.id) {
            let (slice, stage, at_once) = (job.slice, job.stage, jobs.len());
            self.dispatch(Action::Phase(Phase::Running { slice, stage, waiting, at_once }));
        } else if waiting > 0 && self.workers.iter().any(|worker| worker.is_ready) {
            let running =
                Phase::Running { slice: 0, stage: None, waiting: waiting - 1, at_once: 1 };
            self.dispatch(Action::Phase(running));
        }
    }

    /// A slice came from the reader.
    pub(super) fn take_prepared(&mut self, slice: usize, prepared: CtSlice, pixels: Vec<u8>) {
        let Some(place) = self.preparing.iter().position(|wanted| *wanted == slice) else { return };
        self.preparing.remove(place);
        self.prepared.push_back((slice, prepared, pixels));
        self.schedule();
    }

    /// A slice cannot be predicted; the others continue.
    pub(super) fn skip(&mut self, slice: usize, message: String) {
        self.preparing.retain(|wanted| *wanted != slice);
        self.dispatch(Action::Refused(message));
        self.schedule();
    }

    /// What a reader that broke was asked for waits again, unless `refusal` says why not.
    pub(super) fn take_back_unprepared(
        &mut self,
        refusal: impl Fn(&Self, usize) -> Option<String>,
    ) {
        let asked = std::mem::take(&mut self.preparing);
        for slice in asked.into_iter().rev() {
            match refusal(self, slice) {
                Some(message) => self.dispatch(Action::Refused(message)),
                None => self.queue.push_front(slice),
            }
        }
    }

    /// Lets what runs finish and begins nothing more.
    pub fn pause(&mut self) {
        self.forget_queue();
        self.dispatch(Action::Paused);
        self.publish_status();
    }

    /// Cancels what runs and what waits. A worker deep in a computation that does not answer is
    /// replaced.
    pub fn cancel(&mut self) {
        let had_work = self.waiting() > 0;
        let is_preparing = !self.preparing.is_empty();
        self.forget_queue();
        let mut had_job = false;
        for worker in &mut self.workers {
            let Some(job) = worker.job.take() else { continue };
            had_job = true;
            worker.is_cancelling = true;
            let number = worker.number;
            let timeout = match worker.device {
                Device::Cpu => CANCEL_TIMEOUT_MS,
                Device::Gpu => CANCEL_TIMEOUT_ON_GPU_MS,
            };
            self.commands.extend([
                Command::ClearTimer(Timer::Worker(number)),
                Command::SendWorker(number, Box::new(Request::Cancel { id: job.id }), Vec::new()),
                Command::SetTimer(Timer::Cancellation(number), timeout),
            ]);
        }
        let had_reader = self.cancel_reading(is_preparing);
        self.dispatch(match had_work || had_job || had_reader {
            true => Action::Cancelled,
            false => Action::Settled,
        });
    }
}
