//! ResNet without its classifier, cut after the last layer that is needed (docs/method.md, 1.1).

use crate::image::NetworkInput;
use crate::inference::load::{BlockWeights, Loader};
use crate::kernels::FeatureMap;
use crate::kernels::conv::CpuConv2d;
use crate::kernels::max_pool::max_pool;
use crate::network::Variant;
use crate::network::weights::WeightsError;

/// Residual block: two convolutions, or three in a bottleneck.
#[derive(Clone, Debug)]
struct Block {
    convs: Vec<CpuConv2d>,
    downsample: Option<CpuConv2d>,
}

/// The residual network.
#[derive(Clone, Debug)]
pub struct CpuResNet {
    stem: CpuConv2d,
    layers: Vec<Vec<Block>>,
}

impl CpuResNet {
    /// The network whose parameters' names begin with `prefix`.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(loader: &Loader<'_>, prefix: &str, variant: Variant) -> Result<Self, WeightsError> {
        Ok(Self {
            stem: loader.grey_stem(&format!("{prefix}conv1"), &format!("{prefix}bn1"))?.into(),
            layers: loader.residual_layers(prefix, variant, Block::new)?,
        })
    }

    /// Pictures of one size to `[pictures, height / 4, width / 4, 64]`.
    pub fn stem(&self, pictures: &[NetworkInput]) -> FeatureMap {
        max_pool(&self.stem.forward(&grey_and_inside(pictures), None, true))
    }

    /// Number of layers after the stem.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Layer `index` (from 0) alone, so that a caller can report progress between layers.
    pub fn layer(&self, index: usize, input: &FeatureMap) -> FeatureMap {
        let mut blocks = self.layers[index].iter();
        let first = blocks.next().map_or_else(|| input.clone(), |block| block.forward(input));
        blocks.fold(first, |hidden, block| block.forward(&hidden))
    }
}

/// `[pictures, height, width, 2]`: intensity, and one inside the picture. Both are zero in the padding, as the three
/// normalised channels are: they are sums of multiples of these two.
fn grey_and_inside(pictures: &[NetworkInput]) -> FeatureMap {
    let (height, width) = pictures.first().map_or((0, 0), |first| (first.height, first.width));
    let mut values = vec![0.0; 2 * pictures.len() * height * width];
    for (picture, values) in pictures.iter().zip(values.chunks_exact_mut(2 * height * width)) {
        let rows = values.chunks_exact_mut(2 * width).zip(picture.grey.chunks_exact(width));
        for (row, grey) in rows.take(picture.image_height) {
            let inside = row.chunks_exact_mut(2).zip(grey).take(picture.image_width);
            inside.for_each(|(pair, grey)| pair.copy_from_slice(&[*grey, 1.0]));
        }
    }
    FeatureMap { values, dims: [pictures.len(), height, width, 2] }
}

impl Block {
    fn new(BlockWeights { convs, downsample }: BlockWeights<'_>) -> Self {
        Self {
            convs: convs.into_iter().map(CpuConv2d::from).collect(),
            downsample: downsample.map(CpuConv2d::from),
        }
    }

    fn forward(&self, input: &FeatureMap) -> FeatureMap {
        let projected = self.downsample.as_ref().map(|conv| conv.forward(input, None, false));
        let identity = projected.as_ref().unwrap_or(input);
        let last = self.convs.len() - 1;
        let mut hidden = self.convs[0].forward(input, None, true);
        for (index, conv) in self.convs.iter().enumerate().skip(1) {
            hidden = conv.forward(&hidden, (index == last).then_some(identity), true);
        }
        hidden
    }
}

#[cfg(test)]
pub(super) mod tests {
    use crate::image::CtSlice;

    /// A picture of noise.
    pub fn noise((width, height): (usize, usize), seed: usize) -> CtSlice {
        CtSlice::new(
            "noise",
            (width, height),
            (0..width * height).map(|i| ((i + seed) * 7919 % 1009 / 4) as u8).collect(),
        )
    }
}
