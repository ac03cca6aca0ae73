//! Adam with L2 weight decay (specification 4, 13).
//!
//! burn's own takes a dozen passes over every parameter and keys its state by numbers that change
//! with every program; this one takes one pass on the CPU, and keys its state by the parameters'
//! names, so that a checkpoint says what it holds.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;

use crate::network::host_ops::serves;
use crate::network::host_values::host_values;
use crate::network::parameters::author_name;
use crate::network::weights::{Parameter, StateDict};

const BETA: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;
/// Values updated at a time by one thread.
const CHUNK: usize = 1 << 14;

/// The optimizer with its state.
#[derive(Debug)]
pub struct Adam {
    weight_decay: f64,
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
    weight_decay: f64,
}

impl Adam {
    /// A fresh optimizer.
    pub fn new(weight_decay: f64) -> Self {
        Self { weight_decay, steps: 0, moments: BTreeMap::new() }
    }

    /// Moves every parameter that has a gradient.
    pub fn step<M: Module>(&mut self, rate: f64, module: M, gradients: GradientsParams) -> M {
        self.steps += 1;
        let correction = BETA.map(|beta| 1.0 - beta.powf(self.steps as f64));
        let step = Step { rate, correction, weight_decay: self.weight_decay };
        module.map(&mut Updater { adam: self, gradients, step, path: Vec::new() })
    }

    /// The state, with `first/` and `second/` before the parameters' names.
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::default();
        for (name, moments) in &self.moments {
            let values = match moments {
                Moments::Host(values) => values.clone(),
                Moments::Device(values) => (**values).clone().map(host_values),
            };
            for (prefix, values) in ["first", "second"].into_iter().zip(values) {
                let parameter = Parameter { shape: vec![values.len()], values };
                state.tensors.insert(format!("{prefix}/{name}"), parameter);
            }
        }
        state
    }

    /// An optimizer that goes on from [`Adam::state`] after `steps` steps.
    pub fn resume(weight_decay: f64, steps: u64, state: &StateDict) -> Self {
        let mut adam = Self { steps, ..Self::new(weight_decay) };
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

struct Updater<'a> {
    adam: &'a mut Adam,
    gradients: GradientsParams,
    step: Step,
    path: Vec<String>,
}

impl ModuleMapper for Updater<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.remove::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let (device, dims) = (tensor.device(), tensor.dims());
        let length = dims.iter().product();
        let name = author_name(&self.path);
        let updated = if serves(&device) {
            let moments = self.adam.moments.remove(&name);
            let mut moments = match moments {
                Some(Moments::Host(moments)) => moments,
                _ => [vec![0.0; length], vec![0.0; length]],
            };
            let mut values = host_values(tensor.inner());
            update_host(&mut values, &host_values(gradient), &mut moments, self.step);
            self.adam.moments.insert(name, Moments::Host(moments));
            Tensor::from_data(TensorData::new(values, dims), &device)
        } else {
            let tensor = tensor.detach();
            let on_device = |values: Vec<f32>| {
                Tensor::<1>::from_data(TensorData::new(values, [length]), &device)
            };
            let moments = match self.adam.moments.remove(&name) {
                Some(Moments::Device(moments)) => *moments,
                Some(Moments::Host(moments)) => moments.map(on_device),
                None => [(); 2].map(|()| Tensor::zeros([length], &device)),
            };
            let gradient = Tensor::from_inner(gradient);
            let (values, moments) = update_device(
                tensor.reshape([length]),
                gradient.reshape([length]),
                moments,
                self.step,
            );
            self.adam.moments.insert(name, Moments::Device(Box::new(moments)));
            values.detach().reshape(dims)
        };
        Param::from_mapped_value(id, updated.require_grad(), mapper)
    }
}

fn update_host(values: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>; 2], step: Step) {
    let [first, second] = moments;
    let decay = step.weight_decay as f32;
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
                let slope = gradient[i] + decay * values[i];
                first[i] = keep_first * first[i] + add_first * slope;
                second[i] = keep_second * second[i] + add_second * slope * slope;
                values[i] -= rate * first[i] / (second[i].sqrt() * scale + epsilon);
            }
        });
}

fn update_device(
    values: Tensor<1>,
    gradient: Tensor<1>,
    [first, second]: [Tensor<1>; 2],
    step: Step,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let slope = gradient + values.clone() * step.weight_decay;
    let first = first * BETA[0] + slope.clone() * (1.0 - BETA[0]);
    let second = second * BETA[1] + slope.clone() * slope * (1.0 - BETA[1]);
    let deviation = second.clone().sqrt() / step.correction[1].sqrt() + EPSILON;
    let moved = first.clone() / deviation * (step.rate / step.correction[0]);
    (values - moved, [first, second])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::optim::AdamConfig;
    use burn::optim::decay::WeightDecayConfig;
    use burn::tensor::Device;

    use crate::network::linear::LinearConfig;

    /// Both forms, and burn's own optimizer, agree over some steps.
    #[test]
    fn it_moves_as_burns_adam_does() {
        let device = Device::flex().autodiff();
        let start: crate::network::linear::Linear = LinearConfig::new(5, 3).init(&device);
        let values = host_values(start.weight.val().inner());
        let loss = |linear: &crate::network::linear::Linear| {
            let input = Tensor::<2>::ones([4, 5], &device) * 0.7;
            (linear.forward(input) - 1.0).powf_scalar(2.0).sum()
        };
        let mut ours = start.clone();
        let mut theirs = start;
        let mut adam = Adam::new(0.1);
        let mut burn = AdamConfig::new()
            .with_epsilon(1e-8)
            .with_weight_decay(Some(WeightDecayConfig::new(0.1)))
            .init();
        for _ in 0..20 {
            let gradients = GradientsParams::from_grads(loss(&ours).backward(), &ours);
            ours = adam.step(0.01, ours, gradients);
            let gradients = GradientsParams::from_grads(loss(&theirs).backward(), &theirs);
            theirs = burn.step(0.01, theirs, gradients);
        }
        let (a, b) =
            (host_values(ours.weight.val().inner()), host_values(theirs.weight.val().inner()));
        for ((a, b), start) in a.iter().zip(b).zip(values) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
            assert!((a - start).abs() > 1e-3, "it did not move");
        }
    }

    #[test]
    fn the_host_form_moves_as_the_device_form() {
        let device = Device::flex();
        let mut values = vec![0.5f32, -1.0, 2.0];
        let mut moments = [vec![0.1f32, 0.0, -0.2], vec![0.01f32, 0.0, 0.3]];
        let gradient = [0.3f32, -0.1, 0.0];
        let step = Step { rate: 0.01, correction: [0.19, 0.002], weight_decay: 1e-3 };
        let row = |v: &[f32]| Tensor::<1>::from_data(TensorData::new(v.to_vec(), [3]), &device);
        let (expected, _) =
            update_device(row(&values), row(&gradient), moments.clone().map(|m| row(&m)), step);
        update_host(&mut values, &gradient, &mut moments, step);
        for (a, e) in values.iter().zip(host_values(expected)) {
            assert!((a - e).abs() < 1e-6);
        }
    }
}
