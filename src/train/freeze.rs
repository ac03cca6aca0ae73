//! Parameters that a run leaves as they are.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

use crate::network::parameters::checkpoint_key;

/// Records gradients for the parameters whose name `trains` accepts, and for no others. Running statistics
/// never have any.
pub fn train_only<M: Module>(module: M, trains: impl Fn(&str) -> bool) -> M {
    module.map(&mut Freezer { trains, path: Vec::new() })
}

struct Freezer<F> {
    trains: F,
    path: Vec<String>,
}

impl<F: Fn(&str) -> bool> ModuleMapper for Freezer<F> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = checkpoint_key(&self.path);
        let buffer = name.ends_with("running_mean") || name.ends_with("running_var");
        param.set_require_grad(!buffer && (self.trains)(&name))
    }
}
