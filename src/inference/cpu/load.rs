//! Layers from the weights of a file.

use crate::image::preprocess::{DEVIATION, MEAN};
use crate::kernels::conv::{ConvShape, CpuConv2d};
use crate::kernels::conv_transpose::CpuConvTranspose2d;
use crate::kernels::linear::CpuLinear;
use crate::network::architecture::BATCH_NORM_EPSILON as EPSILON;
use crate::network::weights::{StateDict, WeightsError};

/// Builds layers by the author's names (docs/method.md, 7).
pub struct Loader<'a> {
    state: &'a StateDict,
}

impl<'a> Loader<'a> {
    /// Of the weights in `state`.
    pub fn new(state: &'a StateDict) -> Self {
        Self { state }
    }

    fn values(&self, name: String, expected: &[usize]) -> Result<&'a [f32], WeightsError> {
        Ok(&self.state.parameter(&name, expected)?.values)
    }

    /// A convolution that keeps the size and has a bias.
    pub fn conv(
        &self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
    ) -> Result<CpuConv2d, WeightsError> {
        let weight = self.values(format!("{name}.weight"), &[outputs, inputs, kernel, kernel])?;
        let bias = self.values(format!("{name}.bias"), &[outputs])?;
        let shape = ConvShape { inputs, outputs, kernel, stride: 1, padding: kernel / 2 };
        Ok(CpuConv2d::new(weight, bias.to_vec(), shape))
    }

    /// A convolution with the batch norm after it.
    pub fn normalised(
        &self,
        (conv, norm): (&str, &str),
        shape: ConvShape,
    ) -> Result<CpuConv2d, WeightsError> {
        let (kernels, shift) = self.folded((conv, norm), shape)?;
        Ok(CpuConv2d::new(&kernels, shift, shape))
    }

    /// The first convolution with its batch norm, of grey pictures.
    ///
    /// A normalised channel is `(grey - mean) / deviation` inside the picture and zero in the padding: a multiple of the
    /// intensity plus a multiple of "inside". So two channels, with the sums of the kernels' multiples, say all that
    /// three do.
    pub fn grey_stem(&self, conv: &str, norm: &str) -> Result<CpuConv2d, WeightsError> {
        let rgb = ConvShape { inputs: 3, outputs: 64, kernel: 7, stride: 2, padding: 3 };
        let (kernels, shift) = self.folded((conv, norm), rgb)?;
        let area = rgb.kernel * rgb.kernel;
        let mut grey_kernels = Vec::with_capacity(2 * rgb.outputs * area);
        for kernels in kernels.chunks_exact(rgb.inputs * area) {
            let sum = |factors: [f32; 3]| {
                (0..area).map(move |tap| {
                    (0..3).map(|channel| kernels[channel * area + tap] * factors[channel]).sum()
                })
            };
            grey_kernels.extend::<Vec<f32>>(sum(DEVIATION.map(f32::recip)).collect());
            let offsets = std::array::from_fn(|channel| -MEAN[channel] / DEVIATION[channel]);
            grey_kernels.extend::<Vec<f32>>(sum(offsets).collect());
        }
        Ok(CpuConv2d::new(&grey_kernels, shift, ConvShape { inputs: 2, ..rgb }))
    }

    /// Weights and biases of a convolution with the batch norm after it.
    fn folded(
        &self,
        (conv, norm): (&str, &str),
        shape: ConvShape,
    ) -> Result<(Vec<f32>, Vec<f32>), WeightsError> {
        let ConvShape { inputs, outputs, kernel, .. } = shape;
        let vector = |part: &str| self.values(format!("{norm}.{part}"), &[outputs]);
        let (weight, bias) = (vector("weight")?, vector("bias")?);
        let (mean, variance) = (vector("running_mean")?, vector("running_var")?);
        let scale: Vec<f32> =
            weight.iter().zip(variance).map(|(w, v)| w / (v + EPSILON as f32).sqrt()).collect();
        let shift = (0..outputs).map(|output| bias[output] - mean[output] * scale[output]);
        let kernels = self.values(format!("{conv}.weight"), &[outputs, inputs, kernel, kernel])?;
        let folded: Vec<f32> = kernels
            .chunks_exact(inputs * kernel * kernel)
            .zip(&scale)
            .flat_map(|(values, scale)| values.iter().map(move |value| value * scale))
            .collect();
        Ok((folded, shift.collect()))
    }

    /// Scale and shift of a layer norm.
    pub fn layer_norm(
        &self,
        name: &str,
        length: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), WeightsError> {
        let vector = |part: &str| self.values(format!("{name}.{part}"), &[length]);
        Ok((vector("weight")?.to_vec(), vector("bias")?.to_vec()))
    }

    /// A fully connected layer.
    pub fn linear(&self, name: &str, sizes: [usize; 2]) -> Result<CpuLinear, WeightsError> {
        let (weight, bias) = self.linear_values(name, sizes)?;
        Ok(CpuLinear::new(weight, bias.to_vec()))
    }

    /// A fully connected layer over a flattened region of `area` cells: the file has its weights for
    /// `[channels, area]`, the layer takes `[area, channels]`.
    pub fn linear_over_region(
        &self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        area: usize,
    ) -> Result<CpuLinear, WeightsError> {
        let (weight, bias) = self.linear_values(name, [inputs, outputs])?;
        let rows = weight.chunks_exact(inputs);
        let turned: Vec<f32> = rows.flat_map(|row| crate::kernels::transpose(row, area)).collect();
        Ok(CpuLinear::new(&turned, bias.to_vec()))
    }

    fn linear_values(
        &self,
        name: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Result<(&'a [f32], &'a [f32]), WeightsError> {
        let weight = self.values(format!("{name}.weight"), &[outputs, inputs])?;
        Ok((weight, self.values(format!("{name}.bias"), &[outputs])?))
    }

    /// A transposed convolution, `[inputs, outputs]`.
    pub fn upscale(
        &self,
        name: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Result<CpuConvTranspose2d, WeightsError> {
        let weight = self.values(format!("{name}.weight"), &[inputs, outputs, 2, 2])?;
        let bias = self.values(format!("{name}.bias"), &[outputs])?;
        Ok(CpuConvTranspose2d::new(weight, bias.to_vec()))
    }
}
