//! Parameters that a run leaves as they are.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::network::parameters::{MapParameter, map_parameters};
use crate::train::config::{Freeze, Norm};

/// Records gradients for the parameters whose name `trains` accepts, and for no others. Running statistics
/// never have any.
pub fn train_only<M: Module>(module: M, trains: impl Fn(&str) -> bool) -> M {
    map_parameters(module, &mut Freezer { trains })
}

/// Records gradients for all that `freeze` and `norm` do not hold in the body, whose names begin with `body`.
pub fn train_body<M: Module>(module: M, body: &str, freeze: Freeze, norm: Norm) -> M {
    train_only(module, |name| {
        let own = name.strip_prefix(body);
        !own.is_some_and(|name| freeze.holds(name) || norm.holds(name))
    })
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
