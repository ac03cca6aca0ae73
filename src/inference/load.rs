//! Weights of layers by the names of a file, batch norm folded: what every backend lays out as it likes.

use std::borrow::Cow;

use crate::image::preprocess::{DEVIATION, MEAN};
use crate::kernels::conv::ConvShape;
use crate::network::Variant;
use crate::network::architecture::BATCH_NORM_EPSILON as EPSILON;
use crate::network::weights::{StateDict, WeightsError};

/// Of a convolution.
pub struct ConvWeights<'a> {
    /// `[outputs, inputs, kernel, kernel]`.
    pub kernels: Cow<'a, [f32]>,
    /// `[outputs]`.
    pub bias: Vec<f32>,
    /// What it computes.
    pub shape: ConvShape,
}

/// Of a transposed convolution 2x2 with stride 2.
pub struct ConvTransposeWeights<'a> {
    /// `[inputs, outputs, 2, 2]`.
    pub kernels: &'a [f32],
    /// `[outputs]`.
    pub bias: &'a [f32],
}

/// Of a fully connected layer.
pub struct LinearWeights<'a> {
    /// `[outputs, inputs]`.
    pub matrix: Cow<'a, [f32]>,
    /// `[outputs]`.
    pub bias: &'a [f32],
}

/// Of a residual block.
pub struct BlockWeights<'a> {
    /// Two convolutions, or three in a bottleneck.
    pub convs: Vec<ConvWeights<'a>>,
    /// What the input goes through before it is added, where its size changes.
    pub downsample: Option<ConvWeights<'a>>,
}

/// Finds weights by the author's names (docs/method.md, 7).
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
    ) -> Result<ConvWeights<'a>, WeightsError> {
        let weight = self.values(format!("{name}.weight"), &[outputs, inputs, kernel, kernel])?;
        let bias = self.values(format!("{name}.bias"), &[outputs])?;
        let shape = ConvShape { inputs, outputs, kernel, stride: 1, padding: kernel / 2 };
        Ok(ConvWeights { kernels: weight.into(), bias: bias.to_vec(), shape })
    }

    /// A convolution with the batch norm after it.
    pub fn normalised(
        &self,
        (conv, norm): (&str, &str),
        shape: ConvShape,
    ) -> Result<ConvWeights<'a>, WeightsError> {
        let (kernels, bias) = self.folded((conv, norm), shape)?;
        Ok(ConvWeights { kernels: kernels.into(), bias, shape })
    }

    /// The blocks of every layer of a ResNet behind its stem, each made of its weights by `make`.
    pub fn residual_layers<B>(
        &self,
        prefix: &str,
        variant: Variant,
        make: impl Fn(BlockWeights<'a>) -> B,
    ) -> Result<Vec<Vec<B>>, WeightsError> {
        let expansion = if variant.is_bottleneck() { 4 } else { 1 };
        let mut inputs = 64;
        let mut layers = Vec::new();
        for (layer, count) in variant.blocks().into_iter().enumerate() {
            let width = 64 << layer;
            let mut blocks = Vec::with_capacity(count);
            for index in 0..count {
                let name = format!("{prefix}layer{}.{index}", layer + 1);
                let stride = if layer > 0 && index == 0 { 2 } else { 1 };
                blocks.push(make(self.block(&name, [inputs, width, width * expansion], stride)?));
                inputs = width * expansion;
            }
            layers.push(blocks);
        }
        Ok(layers)
    }

    fn block(
        &self,
        name: &str,
        [inputs, width, outputs]: [usize; 3],
        stride: usize,
    ) -> Result<BlockWeights<'a>, WeightsError> {
        let conv = |number: usize, [inputs, outputs]: [usize; 2], kernel: usize, stride: usize| {
            let names = (format!("{name}.conv{number}"), format!("{name}.bn{number}"));
            let shape = ConvShape { inputs, outputs, kernel, stride, padding: kernel / 2 };
            self.normalised((&names.0, &names.1), shape)
        };
        // The stride is in the first convolution of a basic block and in the 3x3 one of a bottleneck.
        let convs = if width == outputs {
            vec![conv(1, [inputs, width], 3, stride)?, conv(2, [width, width], 3, 1)?]
        } else {
            vec![
                conv(1, [inputs, width], 1, 1)?,
                conv(2, [width, width], 3, stride)?,
                conv(3, [width, outputs], 1, 1)?,
            ]
        };
        let downsample = if stride != 1 || inputs != outputs {
            let names = (format!("{name}.downsample.0"), format!("{name}.downsample.1"));
            let shape = ConvShape { inputs, outputs, kernel: 1, stride, padding: 0 };
            Some(self.normalised((&names.0, &names.1), shape)?)
        } else {
            None
        };
        Ok(BlockWeights { convs, downsample })
    }

    /// The first convolution with its batch norm, of grey pictures.
    ///
    /// A normalised channel is `(grey - mean) / deviation` inside the picture and zero in the padding: a multiple of the
    /// intensity plus a multiple of "inside". So two channels, with the sums of the kernels' multiples, say all that
    /// three do.
    pub fn grey_stem(&self, conv: &str, norm: &str) -> Result<ConvWeights<'a>, WeightsError> {
        let rgb = ConvShape { inputs: 3, outputs: 64, kernel: 7, stride: 2, padding: 3 };
        let (kernels, bias) = self.folded((conv, norm), rgb)?;
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
        let shape = ConvShape { inputs: 2, ..rgb };
        Ok(ConvWeights { kernels: grey_kernels.into(), bias, shape })
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
    pub fn linear(&self, name: &str, sizes: [usize; 2]) -> Result<LinearWeights<'a>, WeightsError> {
        let (matrix, bias) = self.linear_values(name, sizes)?;
        Ok(LinearWeights { matrix: matrix.into(), bias })
    }

    /// A fully connected layer over a flattened region of `area` cells: the file has its weights for
    /// `[channels, area]`, the layer takes `[area, channels]`.
    pub fn linear_over_region(
        &self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        area: usize,
    ) -> Result<LinearWeights<'a>, WeightsError> {
        let (weight, bias) = self.linear_values(name, [inputs, outputs])?;
        let rows = weight.chunks_exact(inputs);
        let turned: Vec<f32> = rows.flat_map(|row| crate::kernels::transpose(row, area)).collect();
        Ok(LinearWeights { matrix: turned.into(), bias })
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
    ) -> Result<ConvTransposeWeights<'a>, WeightsError> {
        let kernels = self.values(format!("{name}.weight"), &[inputs, outputs, 2, 2])?;
        Ok(ConvTransposeWeights { kernels, bias: self.values(format!("{name}.bias"), &[outputs])? })
    }
}
