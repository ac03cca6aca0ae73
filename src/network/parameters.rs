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

/// Something done with each parameter, which it is told by the author's name for it.
pub(crate) trait MapParameter {
    /// The parameter in the place of the one called `name`.
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>>;
}

/// `module` with each parameter in its place as `each` has it.
pub(crate) fn map_parameters<M: Module>(module: M, each: &mut impl MapParameter) -> M {
    module.map(&mut Named { each, path: Vec::new() })
}

/// Something that looks at each parameter, which it is told by the author's name for it.
trait VisitParameter {
    fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>);
}

/// Shows each parameter of `module` to `each`.
fn visit_parameters<M: Module>(module: &M, each: &mut impl VisitParameter) {
    module.visit(&mut Named { each, path: Vec::new() });
}

/// A walk through a module that knows where it is.
struct Named<'a, T> {
    each: &'a mut T,
    path: Vec<String>,
}

impl<T: MapParameter> ModuleMapper for Named<'_, T> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.each.map(&checkpoint_key(&self.path), param)
    }
}

impl<T: VisitParameter> ModuleVisitor for Named<'_, T> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.each.visit(checkpoint_key(&self.path), param);
    }
}

/// Loads `state` into `module`, by name; extra entries of `state` are left alone.
///
/// # Errors
/// At the first parameter that is missing, has another shape, or holds NaN or infinity.
pub fn load<M: Module>(module: M, state: &StateDict) -> Result<M, WeightsError> {
    let mut loader = Loader { state, error: None };
    let module = map_parameters(module, &mut loader);
    loader.error.map_or(Ok(module), Err)
}

struct Loader<'a> {
    state: &'a StateDict,
    error: Option<WeightsError>,
}

impl MapParameter for Loader<'_> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let device = param.lazy_device();
        let shape = param.lazy_shape();
        let expected: Vec<usize> = shape.iter().copied().collect();
        match self.state.parameter(name, &expected) {
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
    let mut state = StateDict::default();
    visit_parameters(module, &mut state);
    state
}

impl VisitParameter for StateDict {
    fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = tensor.dims().to_vec();
        let parameter = Parameter { shape, values: to_cpu_vec(tensor) };
        self.tensors.insert(name, parameter);
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
    let mut count = ParameterCount::default();
    visit_parameters(module, &mut count);
    count
}

impl VisitParameter for ParameterCount {
    fn visit<const D: usize>(&mut self, name: String, param: &Param<Tensor<D>>) {
        let elements: usize = param.lazy_shape().iter().product();
        self.state_dict_entries += elements;
        if name.ends_with("running_mean") {
            return;
        }
        if name.ends_with("running_var") {
            // The counter `num_batches_tracked` of the same layer.
            self.state_dict_entries += 1;
            return;
        }
        self.parameters += elements;
        if name.contains("bn") || name.contains("new") {
            self.trainable_stage_two += elements;
        }
    }
}
