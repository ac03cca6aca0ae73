//! Adam with weight decay: coupled, as an L2 term of the gradient (docs/method.md, 4), or decoupled, as
//! AdamW (Loshchilov & Hutter 2019).
//!
//! burn's own takes a dozen passes over every parameter and keys its state by numbers that change
//! with every program; this one takes one pass on the CPU, and keys its state by the parameters'
//! names, so that a checkpoint says what it holds.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::network::cpu_ops::is_cpu_device;
use crate::network::cpu_values::to_cpu_vec;
use crate::network::parameters::{MapParameter, map_parameters};
use crate::network::weights::{Parameter, StateDict};

const BETA: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;
/// Values updated at a time by one thread.
const CHUNK: usize = 1 << 14;

/// Configuration of [`Adam`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AdamConfig {
    /// Weight decay. Default: 0
    pub weight_decay: f64,
    /// Takes the decay from the weights and not through the gradient, and spares vectors (biases and batch
    /// norm). Default: no
    pub decoupled: bool,
    /// Largest norm of all gradients together; larger ones are scaled down. Default: any
    pub clip: Option<f64>,
    /// Factors of the learning rate by the beginning of parameters' names; the first that fits counts.
    pub rates: Vec<(String, f64)>,
}

impl AdamConfig {
    /// With this coupled decay, and nothing else.
    pub fn with_decay(weight_decay: f64) -> Self {
        Self { weight_decay, ..Self::default() }
    }

    /// Factor of the learning rate of a parameter.
    fn factor(&self, name: &str) -> f64 {
        let found = self.rates.iter().find(|(start, _)| name.starts_with(start));
        found.map_or(1.0, |(_, factor)| *factor)
    }
}

/// The optimizer with its state.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    steps: u64,
    moments: BTreeMap<String, Moments>,
}

/// Means of gradient and squared gradient.
#[derive(Debug)]
enum Moments {
    Host([Vec<f32>; 2]),
    Device(Box<[Tensor<1>; 2]>),
}

/// The numbers of one step.
#[derive(Clone, Copy)]
struct Step {
    rate: f64,
    /// `1 - beta^t` of both means.
    correction: [f64; 2],
    /// Added to the gradient, as a share of the weight.
    coupled: f64,
    /// Taken from the weight, as a share of it and of the rate.
    decoupled: f64,
    /// Factor of the gradient.
    scale: f64,
}

impl Adam {
    /// A fresh optimizer.
    pub fn new(config: AdamConfig) -> Self {
        Self { config, steps: 0, moments: BTreeMap::new() }
    }

    /// Moves every parameter that has a gradient.
    pub fn step<M: Module>(&mut self, rate: f64, module: M, gradients: GradientsParams) -> M {
        self.steps += 1;
        let correction = BETA.map(|beta| 1.0 - beta.powf(self.steps as f64));
        let AdamConfig { weight_decay, decoupled, .. } = self.config;
        let (coupled, decoupled) =
            if decoupled { (0.0, weight_decay) } else { (weight_decay, 0.0) };
        let mut scale = 1.0;
        if let Some(limit) = self.config.clip {
            let mut norm = SquaredNorm { gradients: &gradients, sum: 0.0 };
            module.visit(&mut norm);
            if !norm.sum.is_finite() {
                log::warn!("step {}: a gradient is no number; the step is left out", self.steps);
                return module;
            }
            scale = (limit / norm.sum.sqrt().max(1e-12)).min(1.0);
        }
        let step = Step { rate, correction, coupled, decoupled, scale };
        map_parameters(module, &mut Updater { adam: self, gradients, step })
    }

    /// The state, with `first/` and `second/` before the parameters' names.
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::default();
        for (name, moments) in &self.moments {
            let values = match moments {
                Moments::Host(values) => values.clone(),
                Moments::Device(values) => (**values).clone().map(to_cpu_vec),
            };
            for (prefix, values) in ["first", "second"].into_iter().zip(values) {
                let parameter = Parameter { shape: vec![values.len()], values };
                state.tensors.insert(format!("{prefix}/{name}"), parameter);
            }
        }
        state
    }

    /// An optimizer that continues from [`Adam::state`] after `steps` steps.
    pub fn resume(config: AdamConfig, steps: u64, state: &StateDict) -> Self {
        let mut adam = Self { steps, ..Self::new(config) };
        for (key, first) in &state.tensors {
            let Some(name) = key.strip_prefix("first/") else { continue };
            if let Some(second) = state.tensors.get(&format!("second/{name}")) {
                let moments = Moments::Host([first.values.clone(), second.values.clone()]);
                adam.moments.insert(name.to_owned(), moments);
            }
        }
        adam
    }
}

/// Sum of the squares of all gradients.
struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let values = to_cpu_vec(gradient);
            let chunks = values.par_chunks(CHUNK);
            // Chunk by chunk, so that the sum is the same on any number of threads.
            let sums: Vec<f64> =
                chunks.map(|c| c.iter().map(|v| f64::from(*v) * f64::from(*v)).sum()).collect();
            self.sum += sums.iter().sum::<f64>();
        }
    }
}

struct Updater<'a> {
    adam: &'a mut Adam,
    gradients: GradientsParams,
    step: Step,
}

impl MapParameter for Updater<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let (device, dims) = (tensor.device(), tensor.dims());
        let length = dims.iter().product();
        let mut step = self.step;
        step.rate *= self.adam.config.factor(name);
        if D == 1 {
            step.decoupled = 0.0;
        }
        let updated = if is_cpu_device(&device) {
            let moments = self.adam.moments.remove(name);
            let mut moments = match moments {
                Some(Moments::Host(moments)) => moments,
                _ => [vec![0.0; length], vec![0.0; length]],
            };
            let mut values = to_cpu_vec(tensor.inner());
            update_host(&mut values, &to_cpu_vec(gradient), &mut moments, step);
            self.adam.moments.insert(name.into(), Moments::Host(moments));
            Tensor::from_data(TensorData::new(values, dims), &device)
        } else {
            let tensor = tensor.detach();
            let on_device = |values: Vec<f32>| {
                Tensor::<1>::from_data(TensorData::new(values, [length]), &device)
            };
            let moments = match self.adam.moments.remove(name) {
                Some(Moments::Device(moments)) => *moments,
                Some(Moments::Host(moments)) => moments.map(on_device),
                None => [(); 2].map(|()| Tensor::zeros([length], &device)),
            };
            let gradient = Tensor::from_inner(gradient);
            let (values, moments) =
                update_device(tensor.reshape([length]), gradient.reshape([length]), moments, step);
            self.adam.moments.insert(name.into(), Moments::Device(Box::new(moments)));
            values.detach().reshape(dims)
        };
        Param::from_mapped_value(id, updated.require_grad(), mapper)
    }
}

fn update_host(values: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>; 2], step: Step) {
    let [first, second] = moments;
    let (decay, scale_gradient) = (step.coupled as f32, step.scale as f32);
    let keep = (1.0 - step.rate * step.decoupled) as f32;
    let [keep_first, keep_second] = BETA.map(|beta| beta as f32);
    let [add_first, add_second] = BETA.map(|beta| (1.0 - beta) as f32);
    let rate = (step.rate / step.correction[0]) as f32;
    let scale = (1.0 / step.correction[1].sqrt()) as f32;
    let epsilon = EPSILON as f32;
    values
        .par_chunks_mut(CHUNK)
        .zip(gradient.par_chunks(CHUNK))
        .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
        .for_each(|((values, gradient), (first, second))| {
            for i in 0..values.len() {
                let slope = gradient[i] * scale_gradient + decay * values[i];
                first[i] = keep_first * first[i] + add_first * slope;
                second[i] = keep_second * second[i] + add_second * slope * slope;
                let moved = rate * first[i] / (second[i].sqrt() * scale + epsilon);
                values[i] = values[i] * keep - moved;
            }
        });
}

fn update_device(
    values: Tensor<1>,
    gradient: Tensor<1>,
    [first, second]: [Tensor<1>; 2],
    step: Step,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let slope = gradient * step.scale + values.clone() * step.coupled;
    let first = first * BETA[0] + slope.clone() * (1.0 - BETA[0]);
    let second = second * BETA[1] + slope.clone() * slope * (1.0 - BETA[1]);
    let deviation = second.clone().sqrt() / step.correction[1].sqrt() + EPSILON;
    let moved = first.clone() / deviation * (step.rate / step.correction[0]);
    (values * (1.0 - step.rate * step.decoupled) - moved, [first, second])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::optim::AdamWConfig;
    use burn::optim::decay::WeightDecayConfig;
    use burn::tensor::Device;

    use crate::network::linear::LinearConfig;

    /// It agrees with burn's own optimizers over some steps, coupled and decoupled.
    #[test]
    fn it_moves_as_burns_adam_and_adamw_do() {
        let device = Device::flex().autodiff();
        let mut start: crate::network::linear::Linear = LinearConfig::new(5, 3).init(&device);
        // Drawn weights would differ from run to run, as other tests draw from the same generator.
        let dims = start.weight.dims();
        let values: Vec<f32> = (0..15).map(|i| (i as f32 * 1.7).sin() * 0.4).collect();
        start.weight = Param::from_data(TensorData::new(values, dims), &device);
        start.bias = Param::from_data(TensorData::zeros::<f32, _>([3]), &device);
        let loss = |linear: &crate::network::linear::Linear| {
            let input = Tensor::<2>::ones([4, 5], &device) * 0.7;
            (linear.forward(input) - 1.0).powf_scalar(2.0).sum()
        };
        let weights =
            |linear: &crate::network::linear::Linear| to_cpu_vec(linear.weight.val().inner());
        for decoupled in [false, true] {
            let (mut ours, mut theirs) = (start.clone(), start.clone());
            let mut adam = Adam::new(AdamConfig { decoupled, ..AdamConfig::with_decay(0.1) });
            let mut plain = burn::optim::AdamConfig::new()
                .with_epsilon(1e-8)
                .with_weight_decay(Some(WeightDecayConfig::new(0.1)))
                .init();
            let mut adamw = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.1).init();
            for _ in 0..20 {
                let gradients = GradientsParams::from_grads(loss(&ours).backward(), &ours);
                ours = adam.step(0.01, ours, gradients);
                let gradients = GradientsParams::from_grads(loss(&theirs).backward(), &theirs);
                theirs = match decoupled {
                    true => adamw.step(0.01, theirs, gradients),
                    false => plain.step(0.01, theirs, gradients),
                };
            }
            let mut furthest = 0.0f32;
            for ((a, b), start) in weights(&ours).iter().zip(weights(&theirs)).zip(weights(&start))
            {
                // The bias decays there and not here, which the weights feel a little.
                assert!((a - b).abs() < 1e-3, "{a} {b}");
                furthest = furthest.max((a - start).abs());
            }
            assert!(furthest > 0.05, "they hardly moved: {furthest}");
        }
    }

    #[test]
    fn large_gradients_are_cut_and_named_parameters_move_slower() {
        let device = Device::flex().autodiff();
        let start: crate::network::linear::Linear = LinearConfig::new(2, 2).init(&device);
        let moved = |config: AdamConfig, size: f64| {
            let input = Tensor::<2>::ones([1, 2], &device);
            let mut linear = start.clone();
            let mut adam = Adam::new(config);
            // A small step and a large one: without a limit the second moves on.
            for size in [1e-3, size] {
                let loss = linear.forward(input.clone()).sum() * size;
                let gradients = GradientsParams::from_grads(loss.backward(), &linear);
                linear = adam.step(0.1, linear, gradients);
            }
            let value = |l: &crate::network::linear::Linear| to_cpu_vec(l.weight.val().inner())[0];
            value(&start) - value(&linear)
        };
        let free = AdamConfig::default();
        let cut = AdamConfig { clip: Some(1e-3), ..free.clone() };
        let slow = AdamConfig { rates: vec![("weight".into(), 0.5)], ..free.clone() };
        assert!((moved(cut.clone(), 1.0) - moved(cut, 100.0)).abs() < 1e-6);
        assert!((moved(free.clone(), 1.0) - 2.0 * moved(slow, 1.0)).abs() < 1e-6);
    }

    #[test]
    fn the_host_form_moves_as_the_device_form() {
        let device = Device::flex();
        let mut values = vec![0.5f32, -1.0, 2.0];
        let mut moments = [vec![0.1f32, 0.0, -0.2], vec![0.01f32, 0.0, 0.3]];
        let gradient = [0.3f32, -0.1, 0.0];
        let correction = [0.19, 0.002];
        let step = Step { rate: 0.01, correction, coupled: 1e-3, decoupled: 0.02, scale: 0.7 };
        let row = |v: &[f32]| Tensor::<1>::from_data(TensorData::new(v.to_vec(), [3]), &device);
        let (expected, _) =
            update_device(row(&values), row(&gradient), moments.clone().map(|m| row(&m)), step);
        update_host(&mut values, &gradient, &mut moments, step);
        for (a, e) in values.iter().zip(to_cpu_vec(expected)) {
            assert!((a - e).abs() < 1e-6);
        }
    }
}
