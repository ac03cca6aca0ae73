//! Region proposal network (docs/method.md, 1.4). [`crate::detection::anchors`] and [`crate::detection::proposals`]
//! make proposals of what it says.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::network::conv::{Conv2d, Conv2dConfig, ConvInit};
use crate::network::fpn;

/// What the head says about one pyramid level.
#[derive(Clone, Debug)]
pub struct RpnLevel {
    /// Logits, `[batch, anchors, height, width]`.
    pub objectness: Tensor<4>,
    /// Box deltas, `[batch, anchors * 4, height, width]`, anchor-major.
    pub deltas: Tensor<4>,
}

/// The convolutions, shared by all levels.
#[derive(Module, Debug)]
pub struct RpnHead {
    conv: Conv2d,
    cls_logits: Conv2d,
    bbox_pred: Conv2d,
}

/// Region proposal network.
#[derive(Module, Debug)]
pub struct Rpn {
    head: RpnHead,
}

impl Rpn {
    /// A fresh network with `anchors` per location.
    pub fn init(anchors: usize, device: &Device) -> Self {
        let conv = |outputs, kernel| {
            Conv2dConfig::new([fpn::CHANNELS, outputs], kernel)
                .with_init(ConvInit::SmallNormal)
                .init(device)
        };
        Self {
            head: RpnHead {
                conv: conv(fpn::CHANNELS, 3),
                cls_logits: conv(anchors, 1),
                bbox_pred: conv(anchors * 4, 1),
            },
        }
    }

    /// Objectness and deltas of every level `[batch, 256, h, w]`.
    pub fn forward(&self, levels: &[Tensor<4>]) -> Vec<RpnLevel> {
        levels
            .iter()
            .map(|level| {
                let hidden = self.head.conv.forward_fused(level.clone(), None, true);
                RpnLevel {
                    objectness: self.head.cls_logits.forward(hidden.clone()),
                    deltas: self.head.bbox_pred.forward(hidden),
                }
            })
            .collect()
    }
}
