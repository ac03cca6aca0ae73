//! Values of tensors that lie on the CPU; elsewhere reading them waits for the device.

use burn::tensor::Tensor;

/// The values of an NCHW tensor, channels last. Free where the memory already is so.
///
/// The tensor lies on the CPU and holds f32, so reading it neither waits nor fails.
pub fn channels_last(tensor: Tensor<4>) -> Vec<f32> {
    to_cpu_vec(tensor.permute([0, 2, 3, 1]))
}

/// The values of a CPU tensor, row-major.
pub fn to_cpu_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data();
    data.try_into_vec_as::<f32>().unwrap_or_default()
}
