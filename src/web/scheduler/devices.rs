//! Which device the page computes on, while two are compared and after.

use crate::web::options::Device;
use crate::web::scheduler::device_trial::Outcome;
use crate::web::scheduler::{Command, Scheduler, Worker};
use crate::web::state::{Action, ModelState, Phase};
use crate::web::texts::text;

impl Scheduler {
    /// The page's device, from now on.
    pub(super) fn goes_on(&mut self, device: Device, model: Box<ModelState>) {
        self.commands.push(Command::ModelIsReady { device, model: model.name.clone() });
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
                    self.goes_on(Device::Cpu, model);
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
            Some(model) => self.goes_on(Device::Cpu, model),
            None => self.dispatch(Action::Phase(Phase::Starting)),
        }
    }
}
