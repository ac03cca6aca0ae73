//! [`crate::kernels`] in burn's graph: operations with hand-written gradients for training on the CPU.
//!
//! burn's flex backend differentiates everything, but a training step of this network spends nearly
//! all its time in a handful of operations that gain several times over from layouts and algorithms
//! of their own: channels-last activations, Winograd's convolution in all three directions,
//! normalisation fused with residual and ReLU. They enter burn's graph as one operation,
//! [`op::CpuOp`]. On other devices the network runs burn's own operations.

pub mod batch_norm;
pub mod conv;
pub mod conv_transpose;
pub mod max_pool;
pub mod op;
pub mod roi_align;

use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// Whether tensors on `device` lie in the memory of the flex backend, context or not.
pub fn is_cpu_device(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}
