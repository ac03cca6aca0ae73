//! Moves weights between a [`StateDict`] and a network, and counts them.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};

use crate::network::cpu_values::to_cpu_vec;
use crate::network::weights::{Parameter, StateDict, WeightsError};

/// The author's name for a parameter of ours.
///
/// They differ where PyTorch numbers the parts of a sequence, and burn has other words for a layer norm (docs/method.md, 7).
pub(crate) fn checkpoint_key(path: &[String]) -> String {
    let mut name = path.join(".");
    for (ours, theirs) in [("downsample.conv", "downsample.0"), ("downsample.bn", "downsample.1")] {
        name = name.replace(ours, theirs);
    }
    for (ours, theirs) in [("norm.gamma", "norm.weight"), ("norm.beta", "norm.bias")] {
        name = name.replace(ours, theirs);
    }
    if let Some((head, tail)) = name.split_once("mask_fcn.")
        && let Some((index, rest)) = tail.split_once('.')
        && let Ok(index) = index.parse::<usize>()
    {
        name = format!("{head}mask_fcn{}.{rest}", index + 1);
    }
    name
}

/// Loads `state` into `module`, by name; extra entries of `state` are left alone.
///
/// # Errors
/// At the first parameter that is missing, has another shape, or holds NaN or infinity.
pub fn load<M: Module>(module: M, state: &StateDict) -> Result<M, WeightsError> {
    let mut loader = Loader { state, path: Vec::new(), error: None };
    let module = module.map(&mut loader);
    loader.error.map_or(Ok(module), Err)
}

struct Loader<'a> {
    state: &'a StateDict,
    path: Vec<String>,
    error: Option<WeightsError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let device = param.lazy_device();
        let shape = param.lazy_shape();
        let expected: Vec<usize> = shape.iter().copied().collect();
        match self.state.parameter(&checkpoint_key(&self.path), &expected) {
            Ok(parameter) => {
                let data = TensorData::new(parameter.values.clone(), shape);
                let tensor = Tensor::from_data(data, (&device, DType::F32));
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

/// The weights of `module` by the author's names. Reads them from the device; not for browsers.
pub fn state_of<M: Module>(module: &M) -> StateDict {
    let mut saver = Saver::default();
    module.visit(&mut saver);
    saver.state
}

#[derive(Default)]
struct Saver {
    path: Vec<String>,
    state: StateDict,
}

impl ModuleVisitor for Saver {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        let parameter = Parameter { shape, values: to_cpu_vec(tensor) };
        self.state.tensors.insert(checkpoint_key(&self.path), parameter);
    }
}

/// How large a network is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParameterCount {
    /// Weights and biases.
    pub parameters: usize,
    /// All values of the state dict, as the paper's author counts: with the running statistics
    /// and the batch counter of every batch norm.
    pub state_dict_entries: usize,
    /// What stage II trains: module S and the affine parameters of `bn1` and `bn2` (and, in
    /// bottlenecks, `bn3`), not those of the projections (docs/method.md, 2.3).
    pub trainable_stage_two: usize,
}

/// Counts the parameters of `module` without drawing any.
pub fn count<M: Module>(module: &M) -> ParameterCount {
    let mut counter = Counter::default();
    module.visit(&mut counter);
    counter.count
}

#[derive(Default)]
struct Counter {
    path: Vec<String>,
    count: ParameterCount,
}

impl ModuleVisitor for Counter {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let elements: usize = param.lazy_shape().iter().product();
        let name = checkpoint_key(&self.path);
        self.count.state_dict_entries += elements;
        if name.ends_with("running_mean") {
            return;
        }
        if name.ends_with("running_var") {
            // The counter `num_batches_tracked` of the same layer.
            self.count.state_dict_entries += 1;
            return;
        }
        self.count.parameters += elements;
        if name.contains("bn") || name.contains("new") {
            self.count.trainable_stage_two += elements;
        }
    }
}
