//! Which device the page computes on, while two are compared and after.

use crate::web::options::Device;
use crate::web::scheduler::device_trial::{DeviceTrial, Outcome};
use crate::web::scheduler::{Command, Job, ModelSource, Scheduler, Worker};
use crate::web::state::{Action, ModelState, Phase};
use crate::web::texts::text;

impl Scheduler {
    /// The device is chosen: its worker starts, in the place of those that there are. A GPU that nobody asked for has
    /// to prove faster than the CPU.
    pub fn choose(&mut self, device: Device, is_asked_for: bool) {
        self.has_chosen = true;
        let device = match self.model {
            ModelSource::File(_) => {
                self.device_of_site = Some((device, is_asked_for));
                if device == Device::Gpu {
                    self.dispatch(Action::Notice(text!("session.own_model_on_cpu").to_string()));
                }
                Device::Cpu
            }
            ModelSource::Site(_) => device,
        };
        // In the order in which they were begun.
        for job in self.stop_workers().into_iter().rev() {
            self.queue.push_front(job.slice);
        }
        if device == Device::Gpu && !is_asked_for {
            self.trial = DeviceTrial::begin();
        }
        self.start_worker(device);
    }

    /// Another model computes: what was found with the one before is forgotten, and `slice` computed anew.
    pub fn choose_model(&mut self, model: ModelSource, slice: Option<usize>) {
        let device = self.workers.first().map_or(Device::Cpu, |worker| worker.device);
        // What computed was chosen already, unless it was chosen meanwhile.
        let (device, is_asked_for) = self.device_of_site.take().unwrap_or((device, true));
        self.forget_queue();
        self.stop_workers();
        self.models = None;
        let (name, device, is_asked_for) = match &model {
            ModelSource::Site(name) => (name.clone().unwrap_or_default(), device, is_asked_for),
            ModelSource::File(name) => {
                self.device_of_site = Some((device, is_asked_for));
                (name.clone(), Device::Cpu, true)
            }
        };
        if device == Device::Gpu && !is_asked_for {
            self.trial = DeviceTrial::begin();
        }
        self.model = model;
        self.dispatch(Action::ModelChosen(name));
        // Before that the page starts one itself.
        if self.has_chosen {
            self.start_worker(device);
        }
        self.run(slice);
    }

    /// Ends all workers; what they did is given back.
    fn stop_workers(&mut self) -> Vec<Job> {
        let numbers: Vec<u32> = self.workers.iter().map(|worker| worker.number).collect();
        let stopped: Vec<Worker> =
            numbers.into_iter().filter_map(|number| self.remove(number)).collect();
        self.trial.end();
        self.challenger = None;
        self.failures = 0;
        let mut jobs: Vec<Job> = stopped.into_iter().filter_map(|worker| worker.job).collect();
        jobs.sort_by_key(|job| job.id);
        jobs
    }

    /// The page's device, from now on.
    pub(super) fn use_device(&mut self, device: Device, model: Box<ModelState>) {
        if matches!(self.model, ModelSource::Site(_)) {
            self.commands.push(Command::ModelIsReady { device, model: model.name.clone() });
        }
        self.dispatch(Action::Ready(model));
    }

    /// Tells the trial how long a slice took, and does what follows.
    pub(super) fn compare(&mut self, device: Device, milliseconds: f64) {
        match self.trial.record(device, milliseconds) {
            None => {}
            Some(Outcome::StartCpu) => self.start_worker(Device::Cpu),
            // What was faster is gone meanwhile.
            Some(Outcome::Settled(faster, _))
                if self.workers.iter().all(|worker| worker.device != faster) =>
            {
                self.challenger = None;
            }
            Some(Outcome::Settled(faster, [gpu, cpu])) => {
                let slower = self.workers.iter().filter(|worker| worker.device != faster);
                for number in slower.map(|worker| worker.number).collect::<Vec<_>>() {
                    if let Some(Worker { job: Some(job), .. }) = self.remove(number) {
                        self.queue.push_front(job.slice);
                    }
                }
                let challenger = self.challenger.take();
                let [gpu, cpu] = [gpu, cpu].map(|milliseconds| format!("{milliseconds:.0}"));
                let notice = match faster {
                    Device::Cpu => text!("session.cpu_is_faster", cpu = cpu, gpu = gpu),
                    Device::Gpu => text!("session.gpu_is_faster", cpu = cpu, gpu = gpu),
                };
                if let Some(model) = challenger.filter(|_| faster == Device::Cpu) {
                    self.use_device(Device::Cpu, model);
                }
                self.dispatch(Action::Notice(notice.to_string()));
            }
        }
    }

    /// One of the two devices of the trial is gone: what is left continues.
    pub(super) fn end_trial(&mut self) {
        self.trial.end();
        let challenger = self.challenger.take();
        let only = self.workers.first().filter(|worker| worker.device == Device::Cpu);
        let Some(is_ready) = only.map(|worker| worker.is_ready) else { return };
        match challenger.filter(|_| is_ready) {
            Some(model) => self.use_device(Device::Cpu, model),
            None => self.dispatch(Action::Phase(Phase::Starting)),
        }
    }
}
