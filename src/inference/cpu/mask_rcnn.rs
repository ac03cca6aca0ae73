//! Mask R-CNN's convolutional parts and heads (docs/method.md, 1).

use crate::detection::BBox;
use crate::inference::cpu::resnet::CpuResNet;
use crate::inference::load::Loader;
use crate::kernels::conv::CpuConv2d;
use crate::kernels::conv_transpose::CpuConvTranspose2d;
use crate::kernels::linear::CpuLinear;
use crate::kernels::{FeatureMap, roi_align};
use crate::network::Architecture;
use crate::network::fpn::CHANNELS as PYRAMID_CHANNELS;
use crate::network::heads::{BOX_HEAD_FEATURES, BOX_POOL, MASK_POOL};
use crate::network::weights::{StateDict, WeightsError};

/// The mask branch.
#[derive(Clone, Debug)]
struct MaskBranch {
    convs: Vec<CpuConv2d>,
    upscale: CpuConvTranspose2d,
    logits: CpuConv2d,
}

/// The network without module S.
#[derive(Clone, Debug)]
pub struct CpuMaskRcnn {
    body: CpuResNet,
    /// Lateral and output convolution of each pyramid level, finest first.
    pyramid: Vec<(CpuConv2d, CpuConv2d)>,
    /// Shared convolution, objectness, deltas.
    rpn: [CpuConv2d; 3],
    box_head: [CpuLinear; 2],
    box_logits: CpuLinear,
    box_deltas: CpuLinear,
    masks: Option<MaskBranch>,
}

impl CpuMaskRcnn {
    /// The network with the weights of `state`.
    ///
    /// # Errors
    /// If a weight is missing, has another shape, or is not finite.
    pub fn new(architecture: &Architecture, state: &StateDict) -> Result<Self, WeightsError> {
        let loader = Loader::new(state);
        let anchors = architecture.anchors.anchors_per_location();
        let classes = architecture.masks.num_classes();
        let heads = |part: &str| format!("roi_heads.{part}");
        let representation = [BOX_HEAD_FEATURES, BOX_HEAD_FEATURES];
        Ok(Self {
            body: CpuResNet::new(&loader, "backbone.body.", architecture.variant)?,
            pyramid: pyramid(&loader, &architecture.variant.pyramid_channels())?,
            rpn: [
                loader.conv("rpn.head.conv", [PYRAMID_CHANNELS; 2], 3)?.into(),
                loader.conv("rpn.head.cls_logits", [PYRAMID_CHANNELS, anchors], 1)?.into(),
                loader.conv("rpn.head.bbox_pred", [PYRAMID_CHANNELS, 4 * anchors], 1)?.into(),
            ],
            box_head: [
                loader
                    .linear_over_region(
                        &heads("box_head.fc6"),
                        [PYRAMID_CHANNELS * BOX_POOL * BOX_POOL, BOX_HEAD_FEATURES],
                        BOX_POOL * BOX_POOL,
                    )?
                    .into(),
                loader.linear(&heads("box_head.fc7"), representation)?.into(),
            ],
            box_logits: loader
                .linear(&heads("box_predictor.cls_score"), [BOX_HEAD_FEATURES, classes])?
                .into(),
            box_deltas: loader
                .linear(&heads("box_predictor.bbox_pred"), [BOX_HEAD_FEATURES, 4 * classes])?
                .into(),
            masks: if architecture.mask_branch {
                Some(mask_branch(&loader, architecture)?)
            } else {
                None
            },
        })
    }

    /// The residual network under the pyramid.
    pub fn body(&self) -> &CpuResNet {
        &self.body
    }

    /// The pyramid over the outputs of all layers, finest first: it takes as many of the last as it has
    /// levels.
    pub fn pyramid(&self, layer_outputs: &[FeatureMap]) -> Vec<FeatureMap> {
        let maps = &layer_outputs[layer_outputs.len() - self.pyramid.len()..];
        let mut coarser: Option<FeatureMap> = None;
        let mut levels = Vec::with_capacity(maps.len());
        for ((inner, output), map) in self.pyramid.iter().zip(maps).rev() {
            let above = coarser.map(|coarser| repeat_twice(&coarser, map.dims));
            let lateral = inner.forward(map, above.as_ref(), false);
            levels.push(output.forward(&lateral, None, false));
            coarser = Some(lateral);
        }
        levels.reverse();
        levels
    }

    /// Objectness and deltas of a level.
    pub fn proposals(&self, level: &FeatureMap) -> (FeatureMap, FeatureMap) {
        let [shared, objectness, deltas] = &self.rpn;
        let hidden = shared.forward(level, None, true);
        (objectness.forward(&hidden, None, false), deltas.forward(&hidden, None, false))
    }

    /// What the box head makes of `boxes`, `[boxes, 128]`.
    pub fn representations(
        &self,
        levels: &[FeatureMap],
        scales: &[f32],
        boxes: &[BBox],
    ) -> Vec<f32> {
        let pooled = roi_align::pool(levels, scales, boxes, BOX_POOL);
        let [first, second] = &self.box_head;
        second.forward(&first.forward(&pooled.values, true), true)
    }

    /// Logits `[boxes, classes]` and deltas `[boxes, 4 * classes]` of `boxes`.
    pub fn boxes(
        &self,
        levels: &[FeatureMap],
        scales: &[f32],
        boxes: &[BBox],
    ) -> (Vec<f32>, Vec<f32>) {
        let hidden = self.representations(levels, scales, boxes);
        (self.box_logits.forward(&hidden, false), self.box_deltas.forward(&hidden, false))
    }

    /// Mask logits `[boxes, 28, 28, classes]` of `boxes`; `None` without a mask branch.
    pub fn masks(
        &self,
        levels: &[FeatureMap],
        scales: &[f32],
        boxes: &[BBox],
    ) -> Option<FeatureMap> {
        let branch = self.masks.as_ref()?;
        let pooled = roi_align::pool(levels, scales, boxes, MASK_POOL);
        let hidden =
            branch.convs.iter().fold(pooled, |hidden, conv| conv.forward(&hidden, None, true));
        Some(branch.logits.forward(&branch.upscale.forward(&hidden), None, false))
    }
}

fn pyramid(
    loader: &Loader<'_>,
    channels: &[usize],
) -> Result<Vec<(CpuConv2d, CpuConv2d)>, WeightsError> {
    let level = |(index, inputs): (usize, &usize)| {
        let name = |kind: &str| format!("backbone.fpn.{kind}_blocks.{index}");
        let inner = loader.conv(&name("inner"), [*inputs, PYRAMID_CHANNELS], 1)?;
        let output = loader.conv(&name("layer"), [PYRAMID_CHANNELS; 2], 3)?;
        Ok((inner.into(), output.into()))
    };
    channels.iter().enumerate().map(level).collect()
}

fn mask_branch(
    loader: &Loader<'_>,
    architecture: &Architecture,
) -> Result<MaskBranch, WeightsError> {
    let (depth, width) = architecture.variant.mask_head();
    let conv = |index: usize| {
        let inputs = if index == 0 { PYRAMID_CHANNELS } else { width };
        let name = format!("roi_heads.mask_head.mask_fcn{}", index + 1);
        loader.conv(&name, [inputs, width], 3).map(CpuConv2d::from)
    };
    let predictor = |part: &str| format!("roi_heads.mask_predictor.{part}");
    let classes = architecture.masks.num_classes();
    Ok(MaskBranch {
        convs: (0..depth).map(conv).collect::<Result<_, _>>()?,
        upscale: loader.upscale(&predictor("conv5_mask"), [width; 2])?.into(),
        logits: loader.conv(&predictor("mask_fcn_logits"), [width, classes], 1)?.into(),
    })
}

/// Repeats every cell twice along both axes, cut to the rows and columns of `dims`.
fn repeat_twice(map: &FeatureMap, [_, height, width, _]: [usize; 4]) -> FeatureMap {
    let [batch, rows, columns, channels] = map.dims;
    let mut values = Vec::with_capacity(batch * height * width * channels);
    for image in 0..batch {
        for y in 0..height {
            for x in 0..width {
                let cell = (image * rows + y / 2) * columns + x / 2;
                values.extend_from_slice(&map.values[cell * channels..][..channels]);
            }
        }
    }
    FeatureMap { values, dims: [batch, height, width, channels] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::LesionClasses;
    use crate::image::NetworkInput;
    use crate::inference::cpu::resnet::tests::noise;
    use crate::network::cpu_values::to_cpu_vec;
    use crate::network::{MaskRcnnConfig, Task, Variant};
    use burn::tensor::{Device, Tensor, TensorData};

    fn close(name: &str, actual: &[f32], expected: &[f32]) {
        assert_eq!(actual.len(), expected.len(), "{name}");
        let largest = expected.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() <= 1e-4 * largest + 1e-6, "{name}: {a} is not {e}");
        }
    }

    #[test]
    fn every_variant_computes_what_the_network_on_burn_computes() {
        let device = Device::flex();
        for variant in Variant::LIGHTWEIGHT.into_iter().chain([Variant::RESNET50]) {
            let architecture =
                Architecture::paper(variant, Task::Segmentation, LesionClasses::Both);
            let network = MaskRcnnConfig::new(architecture.clone()).init(&device);
            let host = CpuMaskRcnn::new(&architecture, &network.state()).unwrap();
            let input = NetworkInput::unscaled(&noise((60, 81), 3));
            let data = TensorData::new(input.normalised(), [1, 3, input.height, input.width]);
            let tensor = Tensor::<4>::from_data(data, &device);
            let expected = network.features(tensor);

            let mut hidden = host.body().stem(&[input]);
            let mut outputs = Vec::new();
            for index in 0..host.body().layers() {
                hidden = host.body().layer(index, &hidden);
                outputs.push(hidden.clone());
            }
            let levels = host.pyramid(&outputs);
            assert_eq!(levels.len(), expected.len());
            let heads = network.rpn.forward(&expected);
            for ((level, expected), head) in levels.iter().zip(&expected).zip(heads) {
                close("features", &level.to_channels_first(), &to_cpu_vec(expected.clone()));
                let (objectness, deltas) = host.proposals(level);
                close("objectness", &objectness.to_channels_first(), &to_cpu_vec(head.objectness));
                close("deltas", &deltas.to_channels_first(), &to_cpu_vec(head.deltas));
            }
        }
    }

    #[test]
    fn a_missing_a_misshapen_and_a_broken_weight_are_named() {
        let architecture = Architecture::paper(
            "resnet18t2".parse().unwrap(),
            Task::Segmentation,
            LesionClasses::Merge,
        );
        let state = MaskRcnnConfig::new(architecture.clone()).init(&Device::flex()).state();
        let name = "backbone.body.layer2.1.bn2.running_var";
        let load = |state: &StateDict| CpuMaskRcnn::new(&architecture, state).unwrap_err();
        let mut missing = state.clone();
        missing.tensors.remove(name);
        assert!(matches!(load(&missing), WeightsError::Missing { name: found } if found == name));
        let mut broken = state.clone();
        broken.tensors.get_mut(name).unwrap().values[3] = f32::NAN;
        assert!(matches!(load(&broken), WeightsError::NotFinite { name: found } if found == name));
        let mut misshapen = state;
        misshapen.tensors.get_mut(name).unwrap().shape = vec![64, 2];
        assert!(
            matches!(load(&misshapen), WeightsError::Shape { name: found, .. } if found == name)
        );
    }
}
