//! Whether GPU or CPU computes: the faster one, by the first slices.
//!
//! A graphics card is not always faster than the processor beside it: drivers, bandwidth and the size of the network
//! decide. Where neither was asked for, the GPU begins. If its slices are slow, a CPU worker is started beside it, and
//! what takes longer for a slice goes.

use crate::web::options::Device;
use crate::web::scheduler::CLEARLY_FASTER;

/// A GPU slice that takes no longer is not worth the download of a CPU worker.
const FAST_ENOUGH_MS: f64 = 400.0;
/// Slices of the GPU before it is judged: the first builds its shaders.
const GPU_SLICES: usize = 2;

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct DeviceTrial {
    stage: Stage,
    /// Shortest time of a slice on the GPU so far, and slices counted.
    gpu: Option<(f64, usize)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nothing to find out.
    #[default]
    Settled,
    /// The GPU alone computes.
    Gpu,
    /// A CPU worker computes beside it.
    Both,
}

/// What follows from a slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// A CPU worker is to be started beside the GPU's.
    StartCpu,
    /// One device continues; milliseconds of a slice on the GPU, and on the CPU.
    Settled(Device, [f64; 2]),
}

impl DeviceTrial {
    /// Begins with the GPU.
    pub fn begin() -> Self {
        Self { stage: Stage::Gpu, gpu: None }
    }

    /// Whether two devices compute.
    pub fn is_under_way(&self) -> bool {
        self.stage == Stage::Both
    }

    /// One of the devices is gone, for whatever reason.
    pub fn end(&mut self) {
        self.stage = Stage::Settled;
    }

    /// A slice took so long on a device.
    pub fn record(&mut self, device: Device, milliseconds: f64) -> Option<Outcome> {
        match (self.stage, device) {
            (Stage::Settled, _) | (Stage::Gpu, Device::Cpu) => None,
            (stage, Device::Gpu) => {
                let (best, count) = self.gpu.unwrap_or((milliseconds, 0));
                let (best, count) = (best.min(milliseconds), count + 1);
                self.gpu = Some((best, count));
                if best <= FAST_ENOUGH_MS {
                    // A CPU worker that has begun to load is measured all the same.
                    if stage == Stage::Gpu {
                        self.stage = Stage::Settled;
                    }
                    return None;
                }
                (stage == Stage::Gpu && count >= GPU_SLICES).then(|| {
                    self.stage = Stage::Both;
                    Outcome::StartCpu
                })
            }
            (Stage::Both, Device::Cpu) => {
                let (gpu, _) = self.gpu?;
                self.stage = Stage::Settled;
                let faster =
                    if milliseconds * CLEARLY_FASTER < gpu { Device::Cpu } else { Device::Gpu };
                Some(Outcome::Settled(faster, [gpu, milliseconds]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_gpu_is_never_compared() {
        let mut trial = DeviceTrial::begin();
        assert_eq!(trial.record(Device::Gpu, 3000.0), None, "its shaders were built");
        assert_eq!(trial.record(Device::Gpu, 90.0), None);
        assert_eq!(trial.record(Device::Gpu, 5000.0), None, "one slow slice later says nothing");
        assert!(!trial.is_under_way());
    }

    #[test]
    fn a_slow_gpu_is_compared_and_the_faster_stays() {
        for (cpu, expected) in [(500.0, Device::Cpu), (1400.0, Device::Gpu)] {
            let mut trial = DeviceTrial::begin();
            trial.record(Device::Gpu, 4000.0);
            assert_eq!(trial.record(Device::Gpu, 1500.0), Some(Outcome::StartCpu));
            assert!(trial.is_under_way());
            assert_eq!(trial.record(Device::Gpu, 1600.0), None);
            let outcome = trial.record(Device::Cpu, cpu);
            assert_eq!(outcome, Some(Outcome::Settled(expected, [1500.0, cpu])));
            assert_eq!(trial.record(Device::Gpu, 1.0), None);
        }
    }

    #[test]
    fn what_the_address_asks_for_is_not_questioned() {
        let mut trial = DeviceTrial::default();
        assert_eq!(trial.record(Device::Gpu, 9000.0), None);
        assert_eq!(trial.record(Device::Gpu, 9000.0), None);
    }
}
