//! ResNet without its classifier, cut after the last layer that the detector uses
//! (docs/method.md, 1.1).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::network::architecture::Variant;
use crate::network::batch_norm::{BatchNorm, Statistics};
use crate::network::conv::{Conv2d, Conv2dConfig};
use crate::network::ops;

/// Projection of the identity where a block changes size or channels.
#[derive(Module, Debug)]
pub struct Downsample {
    conv: Conv2d,
    bn: Option<BatchNorm>,
}

/// Basic block (two 3x3 convolutions) or, with `conv3`, bottleneck (1x1, 3x3, 1x1).
#[derive(Module, Debug)]
pub struct Block {
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    conv2: Conv2d,
    bn2: Option<BatchNorm>,
    conv3: Option<Conv2d>,
    bn3: Option<BatchNorm>,
    downsample: Option<Downsample>,
}

impl Block {
    fn init(inputs: usize, width: usize, stride: usize, bottleneck: bool, device: &Device) -> Self {
        let conv = |channels, kernel, stride| {
            Conv2dConfig::before_norm(channels, kernel, stride).init(device)
        };
        let norm = |channels| Some(BatchNorm::init(channels, device));
        let outputs = if bottleneck { width * 4 } else { width };
        let (conv1, conv2, conv3) = if bottleneck {
            (
                conv([inputs, width], 1, 1),
                conv([width, width], 3, stride),
                Some(conv([width, outputs], 1, 1)),
            )
        } else {
            (conv([inputs, width], 3, stride), conv([width, width], 3, 1), None)
        };
        Self {
            conv1,
            bn1: norm(width),
            conv2,
            bn2: norm(width),
            bn3: conv3.as_ref().and_then(|_| norm(outputs)),
            conv3,
            downsample: (stride != 1 || inputs != outputs).then(|| Downsample {
                conv: conv([inputs, outputs], 1, stride),
                bn: norm(outputs),
            }),
        }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        let identity = match &self.downsample {
            Some(downsample) => {
                normalised(&downsample.conv, &downsample.bn, input.clone(), None, false)
            }
            None => input.clone(),
        };
        let hidden = normalised(&self.conv1, &self.bn1, input, None, true);
        match &self.conv3 {
            None => normalised(&self.conv2, &self.bn2, hidden, Some(identity), true),
            Some(conv3) => {
                let hidden = normalised(&self.conv2, &self.bn2, hidden, None, true);
                normalised(conv3, &self.bn3, hidden, Some(identity), true)
            }
        }
    }

    fn map_units(
        self,
        unit: &mut impl FnMut(Conv2d, Option<BatchNorm>) -> (Conv2d, Option<BatchNorm>),
    ) -> Self {
        let (conv1, bn1) = unit(self.conv1, self.bn1);
        let (conv2, bn2) = unit(self.conv2, self.bn2);
        let (conv3, bn3) = match self.conv3 {
            Some(conv3) => {
                let (conv3, bn3) = unit(conv3, self.bn3);
                (Some(conv3), bn3)
            }
            None => (None, None),
        };
        let downsample = self.downsample.map(|downsample| {
            let (conv, bn) = unit(downsample.conv, downsample.bn);
            Downsample { conv, bn }
        });
        Self { conv1, bn1, conv2, bn2, conv3, bn3, downsample }
    }
}

/// Convolution, batch norm unless folded, residual, ReLU.
fn normalised(
    conv: &Conv2d,
    norm: &Option<BatchNorm>,
    input: Tensor<4>,
    residual: Option<Tensor<4>>,
    activate: bool,
) -> Tensor<4> {
    let Some(norm) = norm else {
        return conv.forward_fused(input, residual, activate);
    };
    norm.forward_fused(conv.forward(input), residual, activate)
}

/// The truncated residual network.
#[derive(Module, Debug)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: Option<BatchNorm>,
    layer1: Vec<Block>,
    layer2: Vec<Block>,
    layer3: Vec<Block>,
    layer4: Vec<Block>,
}

impl ResNet {
    /// A fresh network.
    pub fn init(variant: Variant, device: &Device) -> Self {
        let blocks = variant.blocks();
        let bottleneck = variant.is_bottleneck();
        let expansion = if bottleneck { 4 } else { 1 };
        let layer = |index: usize| -> Vec<Block> {
            let Some(&count) = blocks.get(index) else { return Vec::new() };
            let width = 64 << index;
            let outputs = width * expansion;
            let inputs = if index == 0 { 64 } else { outputs / 2 };
            let stride = if index == 0 { 1 } else { 2 };
            (0..count)
                .map(|block| match block {
                    0 => Block::init(inputs, width, stride, bottleneck, device),
                    _ => Block::init(outputs, width, 1, bottleneck, device),
                })
                .collect()
        };
        Self {
            conv1: Conv2dConfig::before_norm([3, 64], 7, 2).init(device),
            bn1: Some(BatchNorm::init(64, device)),
            layer1: layer(0),
            layer2: layer(1),
            layer3: layer(2),
            layer4: layer(3),
        }
    }

    /// Stem: `[batch, 3, height, width]` to `[batch, 64, height / 4, width / 4]`.
    pub fn stem(&self, image: Tensor<4>) -> Tensor<4> {
        let hidden = normalised(&self.conv1, &self.bn1, image, None, true);
        ops::max_pool(hidden)
    }

    /// Number of layers after the stem.
    pub fn layers(&self) -> usize {
        self.each_layer().filter(|layer| !layer.is_empty()).count()
    }

    /// Layer `index` (from 0) alone, so that a caller can report progress between layers.
    pub fn layer(&self, index: usize, input: Tensor<4>) -> Tensor<4> {
        self.each_layer()
            .nth(index)
            .into_iter()
            .flatten()
            .fold(input, |hidden, block| block.forward(hidden))
    }

    fn each_layer(&self) -> impl Iterator<Item = &Vec<Block>> {
        [&self.layer1, &self.layer2, &self.layer3, &self.layer4].into_iter()
    }

    fn map_units(
        self,
        unit: &mut impl FnMut(Conv2d, Option<BatchNorm>) -> (Conv2d, Option<BatchNorm>),
    ) -> Self {
        let (conv1, bn1) = unit(self.conv1, self.bn1);
        let mut layer =
            |blocks: Vec<Block>| blocks.into_iter().map(|block| block.map_units(unit)).collect();
        Self {
            conv1,
            bn1,
            layer1: layer(self.layer1),
            layer2: layer(self.layer2),
            layer3: layer(self.layer3),
            layer4: layer(self.layer4),
        }
    }

    /// Folds every batch norm into its convolution. For inference only.
    pub fn fold_batch_norm(self) -> Self {
        self.map_units(&mut |conv, norm| match norm {
            Some(norm) => (norm.fold_into(conv), None),
            None => (conv, None),
        })
    }

    /// Sets which statistics every batch norm uses.
    pub fn with_statistics(self, statistics: Statistics) -> Self {
        self.map_units(&mut |conv, norm| (conv, norm.map(|norm| BatchNorm { statistics, ..norm })))
    }

    /// Sets the weight of a batch in the running statistics of every batch norm.
    pub fn with_momentum(self, momentum: f64) -> Self {
        self.map_units(&mut |conv, norm| (conv, norm.map(|norm| BatchNorm { momentum, ..norm })))
    }
}
