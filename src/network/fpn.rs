//! Feature pyramid: one level for the lightweight variants, four for ResNet50 (docs/method.md, 1.2).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::network::conv::{Conv2d, Conv2dConfig};

/// Channels of every pyramid level.
pub const CHANNELS: usize = 256;

/// Lateral 1x1 and output 3x3 convolutions, coarse levels added to finer ones.
#[derive(Module, Debug)]
pub struct Fpn {
    inner_blocks: Vec<Conv2d>,
    layer_blocks: Vec<Conv2d>,
}

impl Fpn {
    /// A fresh pyramid over maps with these channels, finest first.
    pub fn init(channels: &[usize], device: &Device) -> Self {
        Self {
            inner_blocks: channels
                .iter()
                .map(|&inputs| Conv2dConfig::new([inputs, CHANNELS], 1).init(device))
                .collect(),
            layer_blocks: channels
                .iter()
                .map(|_| Conv2dConfig::new([CHANNELS, CHANNELS], 3).init(device))
                .collect(),
        }
    }

    /// Number of levels.
    pub fn levels(&self) -> usize {
        self.inner_blocks.len()
    }

    /// Maps `[batch, channels, h, w]`, finest first, to as many `[batch, 256, h, w]`.
    pub fn forward(&self, maps: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let mut coarser: Option<Tensor<4>> = None;
        let mut levels = Vec::with_capacity(maps.len());
        let laterals = self.inner_blocks.iter().zip(&self.layer_blocks).zip(maps);
        for ((inner, output), map) in laterals.rev() {
            let mut lateral = inner.forward(map);
            if let Some(coarser) = coarser {
                let [_, _, height, width] = lateral.dims();
                lateral = lateral + upsample_nearest(coarser, height, width);
            }
            levels.push(output.forward(lateral.clone()));
            coarser = Some(lateral);
        }
        levels.reverse();
        levels
    }
}

/// Repeats every cell twice along both axes, cut to `height` x `width`.
fn upsample_nearest(map: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [batch, channels, rows, columns] = map.dims();
    map.reshape([batch * channels, rows, 1, columns])
        .repeat_dim(2, 2)
        .reshape([batch, channels, rows * 2, columns, 1])
        .repeat_dim(4, 2)
        .reshape([batch, channels, rows * 2, columns * 2])
        .slice([0..batch, 0..channels, 0..height, 0..width])
}
