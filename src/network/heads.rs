//! Box head, box predictor and mask branch (docs/method.md, 1.5, 1.6). [`crate::detection::postprocess`] and
//! [`crate::detection::mask`] make lesions of what they say.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use crate::network::architecture::Architecture;
use crate::network::conv::{Conv2d, Conv2dConfig, ConvInit};
use crate::network::linear::{Linear, LinearConfig};
use crate::network::{fpn, ops};

/// Side of the pooled region for the box head.
pub const BOX_POOL: usize = 7;
/// Side of the pooled region for the mask head.
pub const MASK_POOL: usize = 14;
/// Side of the mask head's output.
pub const MASK_SIDE: usize = crate::detection::mask::MASK_SIDE;
const _: () = assert!(MASK_SIDE == 2 * MASK_POOL);
/// Cells of a mask.
pub const MASK_CELLS: usize = MASK_SIDE * MASK_SIDE;
/// Features of the box head.
pub const BOX_HEAD_FEATURES: usize = 128;

/// Two fully connected layers over a pooled region.
#[derive(Module, Debug)]
pub struct BoxHead {
    fc6: Linear,
    fc7: Linear,
}

/// Class logits and box deltas per class.
#[derive(Module, Debug)]
pub struct BoxPredictor {
    cls_score: Linear,
    bbox_pred: Linear,
}

/// Convolutions over a pooled region: one in the lightweight variants, four in ResNet50.
#[derive(Module, Debug)]
pub struct MaskHead {
    mask_fcn: Vec<Conv2d>,
}

/// Transposed convolution, kernel 2, stride 2, then ReLU.
#[derive(Module, Debug)]
pub struct ConvTranspose2d {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

/// Doubles the map and gives one logit map per class.
#[derive(Module, Debug)]
pub struct MaskPredictor {
    conv5_mask: ConvTranspose2d,
    mask_fcn_logits: Conv2d,
}

/// Everything that looks at single regions.
#[derive(Module, Debug)]
pub struct RoiHeads {
    box_head: BoxHead,
    box_predictor: BoxPredictor,
    mask_head: Option<MaskHead>,
    mask_predictor: Option<MaskPredictor>,
}

impl RoiHeads {
    /// Fresh heads.
    pub fn init(architecture: &Architecture, device: &Device) -> Self {
        let classes = architecture.masks.num_classes();
        let linear = |inputs, outputs| LinearConfig::new(inputs, outputs).init(device);
        let conv = |inputs, outputs, kernel| {
            Conv2dConfig::new([inputs, outputs], kernel)
                .with_init(ConvInit::KaimingFanOut)
                .init(device)
        };
        let (depth, width) = architecture.variant.mask_head();
        Self {
            box_head: BoxHead {
                fc6: linear(fpn::CHANNELS * BOX_POOL * BOX_POOL, BOX_HEAD_FEATURES),
                fc7: linear(BOX_HEAD_FEATURES, BOX_HEAD_FEATURES),
            },
            box_predictor: BoxPredictor {
                cls_score: linear(BOX_HEAD_FEATURES, classes),
                bbox_pred: linear(BOX_HEAD_FEATURES, 4 * classes),
            },
            mask_head: architecture.mask_branch.then(|| MaskHead {
                mask_fcn: (0..depth)
                    .map(|index| conv(if index == 0 { fpn::CHANNELS } else { width }, width, 3))
                    .collect(),
            }),
            mask_predictor: architecture.mask_branch.then(|| MaskPredictor {
                conv5_mask: ConvTranspose2d {
                    weight: Initializer::Normal {
                        mean: 0.0,
                        std: (2.0 / (width * 4) as f64).sqrt(),
                    }
                    .init([width, width, 2, 2], device),
                    bias: uniform_bias(width, width * 4, device),
                },
                mask_fcn_logits: conv(width, classes, 1),
            }),
        }
    }

    /// Whether the mask branch is there.
    pub fn has_masks(&self) -> bool {
        self.mask_head.is_some()
    }

    /// Pooled regions `[rois, 256, 7, 7]` to `[rois, 128]`, from which logits and deltas come.
    pub fn representations(&self, pooled: Tensor<4>) -> Tensor<2> {
        let hidden = relu(self.box_head.fc6.forward(pooled.flatten(1, 3)));
        relu(self.box_head.fc7.forward(hidden))
    }

    /// Pooled regions `[rois, 256, 7, 7]` to logits `[rois, classes]` and deltas
    /// `[rois, 4 * classes]`.
    pub fn boxes(&self, pooled: Tensor<4>) -> (Tensor<2>, Tensor<2>) {
        self.predict(self.representations(pooled))
    }

    /// Representations `[rois, 128]` to logits and deltas.
    pub fn predict(&self, hidden: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let logits = self.box_predictor.cls_score.forward(hidden.clone());
        (logits, self.box_predictor.bbox_pred.forward(hidden))
    }

    /// Pooled regions `[rois, 256, 14, 14]` to mask logits `[rois, classes, 28, 28]`; `None`
    /// without a mask branch.
    pub fn masks(&self, pooled: Tensor<4>) -> Option<Tensor<4>> {
        let (head, predictor) = self.mask_head.as_ref().zip(self.mask_predictor.as_ref())?;
        let hidden = head
            .mask_fcn
            .iter()
            .fold(pooled, |hidden, conv| conv.forward_fused(hidden, None, true));
        let hidden = predictor.conv5_mask.forward(hidden);
        Some(predictor.mask_fcn_logits.forward(hidden))
    }
}

impl ConvTranspose2d {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        ops::conv_transpose2d(input, self.weight.val(), self.bias.val())
    }
}

fn uniform_bias(length: usize, fan_in: usize, device: &Device) -> Param<Tensor<1>> {
    let bound = 1.0 / (fan_in as f64).sqrt();
    Initializer::Uniform { min: -bound, max: bound }.init([length], device)
}
