//! The networks as ONNX graphs, for other runtimes.
//!
//! What lies between them (anchors, suppression, pasting of masks) is in no graph: the sidecar says the numbers
//! and the order. A detector is two graphs, `features` (image to pyramid and proposal maps) and `regions` (boxes
//! to logits, deltas and masks; the RoI batch to class logits where module S is there); a classifier that
//! sees the slice is a third.

mod builder;
mod proto;

use thiserror::Error;

use self::builder::{GraphBuilder, Setting, Size};
use crate::classes::CLASSES;
use crate::detection::roi_batch::ROI_FEATURES;
use crate::network::architecture::BATCH_NORM_EPSILON;
use crate::network::heads::{BOX_POOL, MASK_POOL, MASK_SIDE};
use crate::network::image_classifier::PREFIX;
use crate::network::weights::{StateDict, WeightsError};
use crate::network::{Architecture, Variant};

/// Operator set.
pub const OPSET: i64 = 17;

/// Why a network has no graph.
#[derive(Debug, Error)]
pub enum OnnxError {
    /// A missing parameter.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Several pyramid levels: which level a region is pooled from depends on its size.
    #[error("{0} has several pyramid levels; only networks with one are written as ONNX")]
    Levels(Variant),
}

impl GraphBuilder<'_> {
    fn conv(
        &mut self,
        name: &str,
        input: &str,
        [kernel, stride]: [usize; 2],
        bias: bool,
    ) -> Result<String, WeightsError> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let bias = if bias { Some(self.weight(&format!("{name}.bias"))?) } else { None };
        let mut inputs = vec![input, weight.as_str()];
        inputs.extend(bias.as_deref());
        let padding = (kernel / 2) as i64;
        let settings = vec![
            ("kernel_shape", Setting::Ints(vec![kernel as i64; 2])),
            ("strides", Setting::Ints(vec![stride as i64; 2])),
            ("pads", Setting::Ints(vec![padding; 4])),
        ];
        Ok(self.node("Conv", &inputs, &format!("{name}/out"), settings))
    }

    fn norm(&mut self, name: &str, input: &str) -> Result<String, WeightsError> {
        let mut names = vec![input.to_owned()];
        for part in ["weight", "bias", "running_mean", "running_var"] {
            names.push(self.weight(&format!("{name}.{part}"))?);
        }
        let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let settings = vec![("epsilon", Setting::Float(BATCH_NORM_EPSILON as f32))];
        Ok(self.node("BatchNormalization", &inputs, &format!("{name}/out"), settings))
    }

    fn relu(&mut self, input: &str) -> String {
        self.node("Relu", &[input], &format!("{input}/relu"), Vec::new())
    }

    fn linear(&mut self, name: &str, input: &str) -> Result<String, WeightsError> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let bias = self.weight(&format!("{name}.bias"))?;
        let settings = vec![("transB", Setting::Int(1))];
        Ok(self.node("Gemm", &[input, &weight, &bias], &format!("{name}/out"), settings))
    }

    /// Residual network under `prefix`; gives back the output of its last layer.
    fn body(
        &mut self,
        prefix: &str,
        variant: Variant,
        image: &str,
    ) -> Result<String, WeightsError> {
        let stem = self.conv(&format!("{prefix}conv1"), image, [7, 2], false)?;
        let stem = self.norm(&format!("{prefix}bn1"), &stem)?;
        let stem = self.relu(&stem);
        let settings = vec![
            ("kernel_shape", Setting::Ints(vec![3; 2])),
            ("strides", Setting::Ints(vec![2; 2])),
            ("pads", Setting::Ints(vec![1; 4])),
        ];
        let mut hidden = self.node("MaxPool", &[&stem], &format!("{prefix}maxpool"), settings);
        for (layer, blocks) in variant.blocks().into_iter().enumerate() {
            for block in 0..blocks {
                let name = format!("{prefix}layer{}.{block}", layer + 1);
                let stride = if layer > 0 && block == 0 { 2 } else { 1 };
                hidden = self.block(&name, &hidden, stride)?;
            }
        }
        Ok(hidden)
    }

    /// Two 3x3 convolutions beside the identity or its projection.
    fn block(&mut self, name: &str, input: &str, stride: usize) -> Result<String, WeightsError> {
        let first = self.conv(&format!("{name}.conv1"), input, [3, stride], false)?;
        let first = self.norm(&format!("{name}.bn1"), &first)?;
        let first = self.relu(&first);
        let second = self.conv(&format!("{name}.conv2"), &first, [3, 1], false)?;
        let second = self.norm(&format!("{name}.bn2"), &second)?;
        let identity = if stride == 1 {
            input.to_owned()
        } else {
            let projected =
                self.conv(&format!("{name}.downsample.0"), input, [1, stride], false)?;
            self.norm(&format!("{name}.downsample.1"), &projected)?
        };
        let sum = self.node("Add", &[&second, &identity], &format!("{name}/sum"), Vec::new());
        Ok(self.relu(&sum))
    }

    fn roi_align(&mut self, pyramid: &str, boxes: &str, side: usize, stride: usize) -> String {
        let images = self.zeros_like_rows(boxes);
        let settings = vec![
            ("coordinate_transformation_mode", Setting::Text("output_half_pixel")),
            ("mode", Setting::Text("avg")),
            ("output_height", Setting::Int(side as i64)),
            ("output_width", Setting::Int(side as i64)),
            ("sampling_ratio", Setting::Int(2)),
            ("spatial_scale", Setting::Float(1.0 / stride as f32)),
        ];
        self.node("RoiAlign", &[pyramid, boxes, &images], &format!("{boxes}/pooled"), settings)
    }
}

/// Network pixels per cell of the last map.
pub fn stride(variant: Variant) -> usize {
    2 << variant.truncation.layers()
}

/// `image [1, 3, height, width]` to `pyramid [1, 256, h, w]`, `objectness [1, anchors, h, w]` and
/// `deltas [1, 4 * anchors, h, w]`.
///
/// # Errors
/// If a weight is missing or there are several levels.
pub fn features(architecture: &Architecture, state: &StateDict) -> Result<Vec<u8>, OnnxError> {
    let variant = architecture.variant;
    if variant.is_bottleneck() {
        return Err(OnnxError::Levels(variant));
    }
    let mut graph = GraphBuilder::new("features", state);
    let image = graph
        .input("image", &[Size::Fixed(1), Size::Fixed(3), Size::Any("height"), Size::Any("width")]);
    let hidden = graph.body("backbone.body.", variant, &image)?;
    let inner = graph.conv("backbone.fpn.inner_blocks.0", &hidden, [1, 1], true)?;
    let outer = graph.conv("backbone.fpn.layer_blocks.0", &inner, [3, 1], true)?;
    let pyramid = graph.node("Identity", &[&outer], "pyramid", Vec::new());
    let shared = graph.conv("rpn.head.conv", &pyramid, [3, 1], true)?;
    let shared = graph.relu(&shared);
    for (name, output) in [("cls_logits", "objectness"), ("bbox_pred", "deltas")] {
        let values = graph.conv(&format!("rpn.head.{name}"), &shared, [1, 1], true)?;
        graph.node("Identity", &[&values], output, Vec::new());
    }
    let anchors = architecture.anchors.anchors_per_location();
    let map = |channels: usize| {
        [Size::Fixed(1), Size::Fixed(channels), Size::Any("rows"), Size::Any("columns")]
    };
    graph.output("pyramid", &map(crate::network::fpn::CHANNELS));
    graph.output("objectness", &map(anchors));
    graph.output("deltas", &map(4 * anchors));
    Ok(graph.finish("Image to pyramid and proposal maps. Research use only. Not a medical device."))
}

/// `pyramid` with `boxes [n, 4]` to `logits [n, classes]` and `deltas [n, 4 * classes]`; with `mask_boxes
/// [m, 4]` to `masks [m, classes, 28, 28]` (logits) where there is a mask branch; `roi_batch [1, regions * 5]` to
/// `class_logits [1, 3]` where there is module S.
///
/// # Errors
/// If a weight is missing or there are several levels.
pub fn regions(architecture: &Architecture, state: &StateDict) -> Result<Vec<u8>, OnnxError> {
    let variant = architecture.variant;
    if variant.is_bottleneck() {
        return Err(OnnxError::Levels(variant));
    }
    let (classes, stride) = (architecture.masks.num_classes(), stride(variant));
    let mut graph = GraphBuilder::new("regions", state);
    let pyramid = graph.input(
        "pyramid",
        &[
            Size::Fixed(1),
            Size::Fixed(crate::network::fpn::CHANNELS),
            Size::Any("rows"),
            Size::Any("columns"),
        ],
    );
    let boxes = graph.input("boxes", &[Size::Any("boxes"), Size::Fixed(4)]);
    let pooled = graph.roi_align(&pyramid, &boxes, BOX_POOL, stride);
    let flat = graph.node("Flatten", &[&pooled], "boxes/flat", vec![("axis", Setting::Int(1))]);
    let mut hidden = flat;
    for layer in ["fc6", "fc7"] {
        let values = graph.linear(&format!("roi_heads.box_head.{layer}"), &hidden)?;
        hidden = graph.relu(&values);
    }
    for (name, output, width) in
        [("cls_score", "logits", classes), ("bbox_pred", "deltas", 4 * classes)]
    {
        let values = graph.linear(&format!("roi_heads.box_predictor.{name}"), &hidden)?;
        graph.node("Identity", &[&values], output, Vec::new());
        graph.output(output, &[Size::Any("boxes"), Size::Fixed(width)]);
    }
    if architecture.mask_branch {
        let boxes = graph.input("mask_boxes", &[Size::Any("masks"), Size::Fixed(4)]);
        let mut hidden = graph.roi_align(&pyramid, &boxes, MASK_POOL, stride);
        for layer in 1..=variant.mask_head().0 {
            let name = format!("roi_heads.mask_head.mask_fcn{layer}");
            let values = graph.conv(&name, &hidden, [3, 1], true)?;
            hidden = graph.relu(&values);
        }
        let name = "roi_heads.mask_predictor.conv5_mask";
        let weight = graph.weight(&format!("{name}.weight"))?;
        let bias = graph.weight(&format!("{name}.bias"))?;
        let settings = vec![
            ("kernel_shape", Setting::Ints(vec![2; 2])),
            ("strides", Setting::Ints(vec![2; 2])),
        ];
        let larger = graph.node(
            "ConvTranspose",
            &[&hidden, &weight, &bias],
            &format!("{name}/out"),
            settings,
        );
        let larger = graph.relu(&larger);
        let name = "roi_heads.mask_predictor.mask_fcn_logits";
        let values = graph.conv(name, &larger, [1, 1], true)?;
        graph.node("Identity", &[&values], "masks", Vec::new());
        let side = Size::Fixed(MASK_SIDE);
        graph.output("masks", &[Size::Any("masks"), Size::Fixed(classes), side, side]);
    }
    // With a head that sees the backbone's features module S alone gives no class.
    let score_module = architecture.score_module.filter(|_| !architecture.feature_module);
    if let Some((roi_batch, _)) = score_module {
        let width = Size::Fixed(roi_batch * ROI_FEATURES);
        let mut hidden = graph.input("roi_batch", &[Size::Fixed(1), width]);
        for layer in ["fc_scores", "fc_scores_2"] {
            let values = graph.linear(&format!("s2new.{layer}"), &hidden)?;
            hidden = graph.relu(&values);
        }
        let values = graph.linear("s2new.fc_scores_img", &hidden)?;
        graph.node("Identity", &[&values], "class_logits", Vec::new());
        graph.output("class_logits", &[Size::Fixed(1), Size::Fixed(CLASSES)]);
    }
    Ok(graph.finish("Boxes to logits, deltas and masks. Research use only. Not a medical device."))
}

/// `images [n, 3, side, side]` to `class_logits [n, 3]`.
///
/// # Errors
/// If a weight is missing.
pub fn image_classifier(variant: Variant, state: &StateDict) -> Result<Vec<u8>, OnnxError> {
    let mut graph = GraphBuilder::new("classifier", state);
    let images = graph.input(
        "images",
        &[Size::Any("images"), Size::Fixed(3), Size::Any("height"), Size::Any("width")],
    );
    let hidden = graph.body(PREFIX, variant, &images)?;
    let mean = graph.node("GlobalAveragePool", &[&hidden], "mean", Vec::new());
    let flat = graph.node("Flatten", &[&mean], "mean/flat", vec![("axis", Setting::Int(1))]);
    let logits = graph.linear(&format!("{PREFIX}fc"), &flat)?;
    graph.node("Identity", &[&logits], "class_logits", Vec::new());
    graph.output("class_logits", &[Size::Any("images"), Size::Fixed(CLASSES)]);
    Ok(graph.finish("Slices to class logits. Research use only. Not a medical device."))
}
