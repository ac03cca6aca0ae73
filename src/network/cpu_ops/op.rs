//! The bridge to burn: functions of host values that bring their own gradient.

use std::fmt::Debug;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, backend_extension};
use burn::tensor::{Device, Tensor, TensorData};

/// A tensor of the flex backend.
pub type CpuTensor = FloatTensor<Flex>;

/// What a forward pass leaves for the backward pass, beside inputs and output.
#[derive(Clone, Debug, Default)]
pub struct SavedForBackward {
    /// Small indices.
    pub indices: Arc<Vec<u8>>,
}

/// Everything that a backward pass may look at.
#[derive(Clone, Debug)]
pub struct OpContext {
    /// Inputs of the forward pass.
    pub inputs: Vec<CpuTensor>,
    /// Its output.
    pub output: CpuTensor,
    /// What it saved.
    pub saved: SavedForBackward,
}

/// A function of tensors on the host with its own gradient.
pub trait CpuOp: Debug + Send + Sync + 'static {
    /// Output and what the backward pass needs.
    fn forward(&self, inputs: &[CpuTensor]) -> (CpuTensor, SavedForBackward);

    /// Gradients of the inputs that are `wanted`, from the gradient of the output.
    fn backward(
        &self,
        context: &OpContext,
        gradient: CpuTensor,
        wanted: &[bool],
    ) -> Vec<Option<CpuTensor>>;
}

/// The operation that carries every [`CpuOp`].
#[backend_extension(Flex, Autodiff)]
pub trait CpuOps: Backend {
    /// Applies `function` to the first `count` inputs; the others are there because the macro
    /// takes no lists.
    fn cpu_op(
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
        fourth: FloatTensor<Self>,
        count: usize,
        function: Arc<dyn CpuOp>,
    ) -> FloatTensor<Self>;
}

impl CpuOps for Flex {
    fn cpu_op(
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
        fourth: FloatTensor<Self>,
        count: usize,
        function: Arc<dyn CpuOp>,
    ) -> FloatTensor<Self> {
        let mut inputs = vec![first, second, third, fourth];
        inputs.truncate(count);
        function.forward(&inputs).0
    }
}

impl<C: CheckpointStrategy> CpuOps for Autodiff<Flex, C> {
    fn cpu_op(
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
        fourth: FloatTensor<Self>,
        count: usize,
        function: Arc<dyn CpuOp>,
    ) -> FloatTensor<Self> {
        let mut inputs = vec![first, second, third, fourth];
        inputs.truncate(count);
        match inputs.len() {
            1 => record::<1, C>(inputs, function),
            2 => record::<2, C>(inputs, function),
            3 => record::<3, C>(inputs, function),
            _ => record::<4, C>(inputs, function),
        }
    }
}

#[derive(Debug)]
struct CpuBackward(Arc<dyn CpuOp>);

impl<const N: usize> Backward<Flex, N> for CpuBackward {
    type State = OpContext;

    fn backward(self, ops: Ops<OpContext, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.backward(&ops.state, gradient, &wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let Some((parent, gradient)) = parent.zip(gradient) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

fn record<const N: usize, C: CheckpointStrategy>(
    inputs: Vec<FloatTensor<Autodiff<Flex, C>>>,
    function: Arc<dyn CpuOp>,
) -> FloatTensor<Autodiff<Flex, C>> {
    let (inputs, guards): (Vec<_>, Vec<_>) =
        inputs.into_iter().map(|input| input.into_parts()).unzip();
    let Ok(guards) = guards.try_into() else {
        unreachable!("the caller counted the inputs");
    };
    let backward = CpuBackward(function.clone());
    match Backward::<Flex, N>::prepare::<C>(backward, guards).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = function.forward(&inputs);
            prepared.finish(OpContext { inputs, output: output.clone(), saved }, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(function.forward(&inputs).0),
    }
}

/// An input of [`apply`]: a tensor of any rank.
pub struct Input(DispatchTensor);

impl<const D: usize> From<Tensor<D>> for Input {
    fn from(tensor: Tensor<D>) -> Self {
        Self(tensor.into_dispatch())
    }
}

/// Applies `function` to one to four tensors on a device that [`crate::network::cpu_ops::is_cpu_device`] accepts.
///
/// # Panics
/// If there are none or more than four inputs, or the function gives another rank than `D`.
pub fn apply<const D: usize>(inputs: Vec<Input>, function: impl CpuOp) -> Tensor<D> {
    let count = inputs.len();
    assert!((1..=4).contains(&count));
    let mut inputs: Vec<DispatchTensor> = inputs.into_iter().map(|input| input.0).collect();
    inputs.resize_with(4, || Tensor::<1>::zeros([1], &Device::flex()).into_dispatch());
    let Ok([first, second, third, fourth]) = <[DispatchTensor; 4]>::try_from(inputs) else {
        unreachable!("there are four");
    };
    let function = Arc::new(function);
    Tensor::from_dispatch(Dispatch::cpu_op(first, second, third, fourth, count, function))
}

/// The values of an NCHW tensor, channels last; copied only if they do not lie so already.
#[derive(Debug)]
pub struct ChannelsLast {
    tensor: CpuTensor,
    /// Batch, height, width, channels.
    pub dims: [usize; 4],
}

impl ChannelsLast {
    /// Of an NCHW tensor.
    pub fn of(tensor: &CpuTensor) -> Self {
        let tensor = contiguous(&tensor.permute(&[0, 2, 3, 1]));
        let shape = tensor.layout().shape();
        let dims = [shape[0], shape[1], shape[2], shape[3]];
        Self { tensor, dims }
    }

    /// The values.
    pub fn values(&self) -> &[f32] {
        self.tensor.storage()
    }
}

/// The tensor itself where its storage holds nothing but its values in order, else a copy.
pub fn contiguous(tensor: &CpuTensor) -> CpuTensor {
    tensor.to_contiguous()
}

/// An NCHW tensor from values that lie channels last.
pub fn from_channels_last(values: Vec<f32>, dims: [usize; 4]) -> CpuTensor {
    CpuTensor::from_data(TensorData::new(values, dims)).permute(&[0, 3, 1, 2])
}

/// A tensor from values in order.
pub fn from_values<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> CpuTensor {
    CpuTensor::from_data(TensorData::new(values, dims))
}

#[cfg(test)]
pub mod check {
    //! Gradients against central differences.

    use super::*;

    /// Deterministic values in -1..1 without ties.
    pub fn noise(length: usize, seed: u64) -> Vec<f32> {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..length).map(|_| rng.random_range(-1.0f32..1.0)).collect()
    }

    /// `+size, -size, +size, ...`: moves channels away from the corner of a ReLU.
    pub fn alternating(length: usize, size: f32) -> Tensor<1> {
        let values: Vec<f32> =
            (0..length).map(|index| if index % 2 == 0 { size } else { -size }).collect();
        Tensor::from_data(TensorData::new(values, [length]), &Device::flex())
    }

    /// Compares the gradient of `sum(function(inputs) * weights)` with central differences at some
    /// entries of every input, for inputs of the given shapes.
    pub fn gradients_are_differences(
        shapes: &[Vec<usize>],
        tolerance: f64,
        function: impl Fn(&[Tensor<4>]) -> Tensor<4>,
    ) {
        let values: Vec<Vec<f32>> = shapes
            .iter()
            .enumerate()
            .map(|(index, shape)| noise(shape.iter().product(), index as u64 + 1))
            .collect();
        let tensors = |values: &[Vec<f32>], device: &Device| -> Vec<Tensor<4>> {
            values
                .iter()
                .zip(shapes)
                .map(|(values, shape)| {
                    let mut dims = [1; 4];
                    dims[..shape.len()].copy_from_slice(shape);
                    Tensor::from_data(TensorData::new(values.clone(), dims), device)
                })
                .collect()
        };
        let recording = Device::flex().autodiff();
        let inputs: Vec<_> =
            tensors(&values, &recording).into_iter().map(Tensor::require_grad).collect();
        let output = function(&inputs);
        let dims = output.dims();
        let weights = noise(dims.iter().product(), 99);
        let weigh = |device: &Device| {
            Tensor::<4>::from_data(TensorData::new(weights.clone(), dims), device)
        };
        let gradients = (output * weigh(&recording)).sum().backward();

        let plain = Device::flex();
        let loss = |values: &[Vec<f32>]| -> f64 {
            let output = function(&tensors(values, &plain)).into_data();
            output
                .iter::<f32>()
                .zip(&weights)
                .map(|(value, weight)| f64::from(value) * f64::from(*weight))
                .sum()
        };
        for (index, input) in inputs.iter().enumerate() {
            let gradient = input.grad(&gradients).expect("every input has a gradient").into_data();
            let gradient: Vec<f32> = gradient.iter::<f32>().collect();
            let stride = (gradient.len() / 17).max(1);
            for at in (0..gradient.len()).step_by(stride) {
                let moved = |by: f32| {
                    let mut values = values.clone();
                    values[index][at] += by;
                    loss(&values)
                };
                let step = 5e-3f32;
                let expected = (moved(step) - moved(-step)) / f64::from(2.0 * step);
                let actual = f64::from(gradient[at]);
                assert!(
                    (actual - expected).abs() < tolerance * expected.abs().max(1.0),
                    "input {index} at {at}: {actual} is not {expected}"
                );
            }
        }
    }
}
