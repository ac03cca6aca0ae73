//! Layers of the kernels with the weights of a file.

use crate::inference::load::{ConvTransposeWeights, ConvWeights, LinearWeights};
use crate::kernels::conv::CpuConv2d;
use crate::kernels::conv_transpose::CpuConvTranspose2d;
use crate::kernels::linear::CpuLinear;

impl From<ConvWeights<'_>> for CpuConv2d {
    fn from(ConvWeights { kernels, bias, shape }: ConvWeights<'_>) -> Self {
        Self::new(&kernels, bias, shape)
    }
}

impl From<ConvTransposeWeights<'_>> for CpuConvTranspose2d {
    fn from(ConvTransposeWeights { kernels, bias }: ConvTransposeWeights<'_>) -> Self {
        Self::new(kernels, bias.to_vec())
    }
}

impl From<LinearWeights<'_>> for CpuLinear {
    fn from(LinearWeights { matrix, bias }: LinearWeights<'_>) -> Self {
        Self::new(&matrix, bias.to_vec())
    }
}
