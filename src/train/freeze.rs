//! Parameters that a run leaves as they are.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::network::parameters::{MapParameter, map_parameters};

/// Records gradients for the parameters whose name `trains` accepts, and for no others. Running statistics
/// never have any.
pub fn train_only<M: Module>(module: M, trains: impl Fn(&str) -> bool) -> M {
    map_parameters(module, &mut Freezer { trains })
}

struct Freezer<F> {
    trains: F,
}

impl<F: Fn(&str) -> bool> MapParameter for Freezer<F> {
    fn map<const D: usize>(&mut self, name: &str, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let buffer = name.ends_with("running_mean") || name.ends_with("running_var");
        param.set_require_grad(!buffer && (self.trains)(name))
    }
}
