//! Mask R-CNN as dispatches (docs/method.md, 1).

use crate::detection::BBox;
use crate::detection::postprocess::ScoreFunction;
use crate::detection::proposals::RpnMaps;
use crate::detection::roi_align::bins::{level_of, level_scale};
use crate::inference::load::{ConvWeights, Loader};
use crate::inference::settings::Settings;
use crate::inference::webgpu::gpu::{ALIGNMENT, Dispatch, Gpu, NUMBER, Numbers, Work};
use crate::inference::webgpu::layers::{After, Conv, PARTS, SplitLinear, Stem, conv_transpose};
use crate::inference::webgpu::recorder::{Map, Recorder, Recording, words};
use crate::inference::webgpu::resnet::ResNet;
use crate::inference::webgpu::shader::Shader;
use crate::kernels::conv::ConvShape;
use crate::kernels::transpose;
use crate::network::fpn::CHANNELS as PYRAMID_CHANNELS;
use crate::network::heads::{BOX_HEAD_FEATURES, BOX_POOL, MASK_POOL, MASK_SIDE};
use crate::network::weights::{StateDict, WeightsError};
use crate::network::{Architecture, Variant};

/// Words of a region and of a chosen box.
pub const RECORD: usize = 8;
/// Regions of a workgroup of the box head.
const HEAD_REGIONS: usize = 8;

/// The mask branch.
#[derive(Debug)]
struct MaskBranch {
    convs: Vec<Conv>,
    upscale: Conv,
    /// `[classes, features]`.
    logits: Numbers,
    bias: Numbers,
    features: usize,
}

/// The box head.
#[derive(Debug)]
struct BoxHead {
    first: SplitLinear,
    first_bias: Numbers,
    second: Numbers,
    second_bias: Numbers,
    predictor: Numbers,
    predictor_bias: Numbers,
}

/// The network without module S.
#[derive(Debug)]
pub struct GpuMaskRcnn {
    stem: Stem,
    body: ResNet,
    /// Lateral and output convolution of each pyramid level, finest first.
    pyramid: Vec<(Conv, Conv)>,
    /// Shared convolution; objectness and deltas in one.
    rpn: [Conv; 2],
    anchors: usize,
    classes: usize,
    box_head: BoxHead,
    masks: Option<MaskBranch>,
}

/// A level of the pyramid: where it lies in the numbers of all, in cells.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    first: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Cells per pixel.
    pub scale: f32,
}

/// All that does not depend on proposals, for planes of one size: written down once, run for every slice.
#[derive(Debug)]
pub struct Pyramid {
    /// Rows and columns of the plane.
    pub size: [usize; 2],
    grey: Numbers,
    stem_shape: Numbers,
    /// What runs.
    pub dispatches: Vec<Dispatch>,
    /// Maps of all levels.
    pub numbers: Numbers,
    /// Where they lie.
    pub levels: Vec<Level>,
    /// The body's last map.
    pub last: Map,
    /// Objectness and deltas of each level.
    pub proposals: Vec<Numbers>,
    /// All memory that it takes.
    buffers: Vec<Numbers>,
}

impl Drop for Pyramid {
    fn drop(&mut self) {
        self.buffers.iter().for_each(Numbers::destroy);
    }
}

/// What the box stage leaves on the device.
#[derive(Debug)]
pub struct BoxNumbers {
    /// `[regions, logits and deltas]`.
    pub outputs: Numbers,
    /// `[regions, 128]`.
    pub representations: Numbers,
}

/// Masks of boxes that the device chose.
#[derive(Debug)]
pub struct ChosenMasks {
    /// Number of boxes.
    pub count: Numbers,
    /// Corners, proposal and class of each.
    pub chosen: Numbers,
    /// `[boxes, 28, 28]`.
    pub masks: Numbers,
}

impl GpuMaskRcnn {
    /// The network with the weights of `state`.
    ///
    /// # Errors
    /// If a weight is missing, has another shape, or is not finite.
    pub fn new(
        gpu: &Gpu,
        architecture: &Architecture,
        state: &StateDict,
    ) -> Result<Self, WeightsError> {
        let loader = Loader::new(state);
        let anchors = architecture.anchors.anchors_per_location();
        let classes = architecture.masks.num_classes();
        debug_assert!(5 * classes <= BOX_HEAD_FEATURES, "a thread of the box head for each output");
        let conv = |name: &str, channels, kernel| {
            loader.conv(name, channels, kernel).map(|weights| Conv::new(gpu, weights))
        };
        let objectness = loader.conv("rpn.head.cls_logits", [PYRAMID_CHANNELS, anchors], 1)?;
        let deltas = loader.conv("rpn.head.bbox_pred", [PYRAMID_CHANNELS, 4 * anchors], 1)?;
        let channels = architecture.variant.pyramid_channels();
        let level = |(index, inputs): (usize, &usize)| {
            let name = |kind: &str| format!("backbone.fpn.{kind}_blocks.{index}");
            let inner = conv(&name("inner"), [*inputs, PYRAMID_CHANNELS], 1)?;
            Ok((inner, conv(&name("layer"), [PYRAMID_CHANNELS; 2], 3)?))
        };
        Ok(Self {
            stem: Stem::new(gpu, loader.grey_stem("backbone.body.conv1", "backbone.body.bn1")?),
            body: ResNet::new(gpu, &loader, "backbone.body.", architecture.variant)?,
            pyramid: channels.iter().enumerate().map(level).collect::<Result<_, WeightsError>>()?,
            rpn: [
                conv("rpn.head.conv", [PYRAMID_CHANNELS; 2], 3)?,
                Conv::new(gpu, side_by_side(&objectness, &deltas)),
            ],
            anchors,
            classes,
            box_head: box_head(gpu, &loader, classes)?,
            masks: if architecture.mask_branch {
                Some(mask_branch(gpu, &loader, architecture.variant, classes)?)
            } else {
                None
            },
        })
    }

    /// Whether there is a mask branch.
    pub fn has_masks(&self) -> bool {
        self.masks.is_some()
    }

    /// Logits and deltas of a region.
    pub fn outputs(&self) -> usize {
        5 * self.classes
    }

    /// Writes down the pyramid for planes of this size.
    pub fn pyramid(&self, gpu: &Gpu, size: [usize; 2]) -> Pyramid {
        let mut recording = Recorder::new(gpu, Vec::new());
        let recorder = &mut recording;
        let grey = gpu.buffer(size[0] * size[1]);
        let stem_shape = gpu.shape(&self.stem.shape(size, size));
        let stem = self.stem.record(recorder, (&grey, size), &stem_shape);
        let pooled = recorder.max_pool(&stem);
        recorder.release(&stem.numbers);
        let maps = self.body.record(recorder, pooled, self.pyramid.len());
        let mut levels = Vec::with_capacity(maps.len());
        let mut cells = 0;
        for map in &maps {
            let (height, width) = (map.height, map.width);
            levels.push(Level { first: cells, height, width, scale: level_scale(height, size[0]) });
            cells += height * width;
        }
        let numbers = gpu.buffer(cells * PYRAMID_CHANNELS);
        let mut proposals = Vec::with_capacity(maps.len());
        let mut coarser: Option<Map> = None;
        for ((place, map), (inner, output)) in levels.iter().zip(&maps).zip(&self.pyramid).rev() {
            let after = After { residual: coarser.as_ref(), ..After::default() };
            let lateral = inner.record(recorder, map, after);
            let cells = place.height * place.width;
            let level = Map {
                numbers: numbers.part(place.first * PYRAMID_CHANNELS, cells * PYRAMID_CHANNELS),
                channels: PYRAMID_CHANNELS,
                ..lateral.clone()
            };
            output.record_into(recorder, &lateral, After::default(), &level);
            coarser = Some(lateral);
            let [shared, heads] = &self.rpn;
            let hidden = shared.record(recorder, &level, After { relu: true, ..After::default() });
            proposals.push(heads.record(recorder, &hidden, After::default()).numbers);
            recorder.release(&hidden.numbers);
        }
        proposals.reverse();
        let last = maps.last().cloned().unwrap_or(stem);
        let Recording { dispatches, buffers, shapes } = recording.finish();
        let own = vec![grey.clone(), stem_shape.clone(), numbers.clone()];
        let buffers = [buffers, shapes, own].concat();
        Pyramid { size, grey, stem_shape, dispatches, numbers, levels, last, proposals, buffers }
    }

    /// Takes a picture in: its plane, and its rows and columns within it.
    pub fn set_picture(&self, gpu: &Gpu, pyramid: &Pyramid, grey: &[f32], image: [usize; 2]) {
        gpu.write(&pyramid.grey, grey);
        gpu.write_words(&pyramid.stem_shape, &self.stem.shape(pyramid.size, image));
    }

    /// What the proposal head said of a level, channels first.
    pub fn rpn_maps(&self, level: &Level, values: &[f32]) -> RpnMaps {
        let columns = self.rpn[1].outputs();
        let cells = level.height * level.width;
        let channels = |range: std::ops::Range<usize>| {
            range.flat_map(|channel| (0..cells).map(move |cell| values[cell * columns + channel]))
        };
        RpnMaps {
            objectness: channels(0..self.anchors).collect(),
            deltas: channels(self.anchors..5 * self.anchors).collect(),
            height: level.height,
            width: level.width,
        }
    }

    /// Writes down the box head for boxes with their classes.
    pub fn boxes(
        &self,
        recorder: &mut Recorder<'_>,
        pyramid: &Pyramid,
        boxes: &[BBox],
    ) -> BoxNumbers {
        let count = boxes.len();
        let regions = regions(recorder, pyramid, boxes.iter().map(|bbox| (bbox, 0)));
        let pooled = roi_align(recorder, pyramid, (&regions, None), [count, BOX_POOL]);
        let parts = self.box_head.first.record(recorder, &pooled, count);
        let representations = recorder.buffer(count * BOX_HEAD_FEATURES);
        let outputs = recorder.buffer(count * self.outputs());
        let shape = recorder.shape(&words(&[count, PARTS, self.outputs()]));
        let (gpu, head) = (recorder.gpu, &self.box_head);
        recorder.dispatches.push(gpu.dispatch(
            &gpu.kernel(Shader::BoxHead, Vec::new()),
            &[
                Some(&parts),
                Some(&head.first_bias),
                Some(&head.second),
                Some(&head.second_bias),
                Some(&head.predictor),
                Some(&head.predictor_bias),
                Some(&representations),
                Some(&outputs),
                Some(&shape),
            ],
            [count.div_ceil(HEAD_REGIONS), 1, 1],
            Work {
                operations: 2
                    * (count * BOX_HEAD_FEATURES * (BOX_HEAD_FEATURES + self.outputs())) as u64,
                bytes: (NUMBER * (parts.len + representations.len + outputs.len)) as u64,
            },
        ));
        recorder.release(&pooled);
        recorder.release(&parts);
        BoxNumbers { outputs, representations }
    }

    /// Writes down the choice of the boxes that will be lesions, and their masks. There is none without a mask branch, with
    /// several levels, or by another rule than the device's.
    pub fn chosen_masks(
        &self,
        recorder: &mut Recorder<'_>,
        pyramid: &Pyramid,
        (proposals, outputs): (&[BBox], &Numbers),
        image: (usize, usize),
        (settings, limit): (&Settings, usize),
    ) -> Option<ChosenMasks> {
        let ([level], Some(_)) = (&pyramid.levels[..], &self.masks) else { return None };
        // The device knows no other rule.
        if settings.scores != ScoreFunction::Softmax || settings.keep_empty {
            return None;
        }
        let gpu = recorder.gpu;
        let corners = proposals.iter().flat_map(|b| <[f32; 4]>::from(*b).map(f32::to_bits));
        let corners = recorder.written(&corners.collect::<Vec<u32>>());
        let rows = proposals.len() * (self.classes - 1);
        let (decoded, scores) = (recorder.buffer(4 * rows), recorder.buffer(rows));
        let regions = recorder.buffer(limit * RECORD);
        let chosen = recorder.buffer(limit * RECORD);
        let count = recorder.buffer(4);
        let shape = [
            proposals.len() as u32,
            self.classes as u32,
            limit as u32,
            level.height as u32,
            level.width as u32,
            level.scale.to_bits(),
            (image.0 as f32).to_bits(),
            (image.1 as f32).to_bits(),
            settings.score_threshold.to_bits(),
            settings.nms_threshold.to_bits(),
        ];
        let shape = recorder.shape(&shape);
        recorder.dispatches.push(gpu.dispatch(
            &gpu.kernel(Shader::Select, Vec::new()),
            &[
                Some(&corners),
                Some(outputs),
                Some(&decoded),
                Some(&scores),
                Some(&regions),
                Some(&chosen),
                Some(&count),
                Some(&shape),
            ],
            [1, 1, 1],
            Work {
                operations: (rows * (40 + 12 * limit)) as u64,
                bytes: (NUMBER * (outputs.len + 5 * rows)) as u64,
            },
        ));
        let masks = self.masks_of(recorder, pyramid, (&regions, Some(&count)), limit)?;
        Some(ChosenMasks { count, chosen, masks })
    }

    /// Writes down the masks of boxes of these classes; `None` without a mask branch.
    pub fn masks<'b>(
        &self,
        recorder: &mut Recorder<'_>,
        pyramid: &Pyramid,
        boxes: impl ExactSizeIterator<Item = (&'b BBox, usize)>,
    ) -> Option<Numbers> {
        let count = boxes.len();
        let regions = regions(recorder, pyramid, boxes);
        self.masks_of(recorder, pyramid, (&regions, None), count)
    }

    fn masks_of(
        &self,
        recorder: &mut Recorder<'_>,
        pyramid: &Pyramid,
        (regions, count): (&Numbers, Option<&Numbers>),
        limit: usize,
    ) -> Option<Numbers> {
        let branch = self.masks.as_ref()?;
        let mut hidden = Map {
            numbers: roi_align(recorder, pyramid, (regions, count), [limit, MASK_POOL]),
            images: limit,
            height: MASK_POOL,
            width: MASK_POOL,
            channels: PYRAMID_CHANNELS,
        };
        let after = After { relu: true, count, ..After::default() };
        for conv in branch.convs.iter().chain([&branch.upscale]) {
            let next = conv.record(recorder, &hidden, after);
            recorder.release(&hidden.numbers);
            hidden = next;
        }
        let cells = MASK_SIDE * MASK_SIDE;
        let masks = recorder.buffer(limit * cells);
        let gpu = recorder.gpu;
        let constants = vec![("IS_COUNTED", f64::from(u8::from(count.is_some())))];
        let shape = recorder.shape(&words(&[limit, branch.features / 4]));
        recorder.dispatches.push(gpu.dispatch(
            &gpu.kernel(Shader::MaskLogits, constants),
            &[
                Some(&hidden.numbers),
                Some(&branch.logits),
                Some(&branch.bias),
                Some(regions),
                count,
                Some(&masks),
                Some(&shape),
            ],
            [cells.div_ceil(64), limit, 1],
            Work {
                operations: 2 * (limit * cells * branch.features) as u64,
                bytes: (NUMBER * (hidden.numbers.len + masks.len)) as u64,
            },
        ));
        Some(masks)
    }
}

/// Regions of boxes on the levels that their sizes send them to.
fn regions<'b>(
    recorder: &mut Recorder<'_>,
    pyramid: &Pyramid,
    boxes: impl Iterator<Item = (&'b BBox, usize)>,
) -> Numbers {
    let mut records = Vec::new();
    for (bbox, class) in boxes {
        let level = &pyramid.levels[level_of(bbox, pyramid.levels.len())];
        records.extend(<[f32; 4]>::from(*bbox).map(|edge| (edge * level.scale).to_bits()));
        records.extend(words(&[level.first, level.height, level.width, class]));
    }
    recorder.written(&records)
}

/// `[count, bins, bins, channels]` of regions.
fn roi_align(
    recorder: &mut Recorder<'_>,
    pyramid: &Pyramid,
    (regions, counted): (&Numbers, Option<&Numbers>),
    [count, bins]: [usize; 2],
) -> Numbers {
    let output = recorder.buffer(count * bins * bins * PYRAMID_CHANNELS);
    let gpu = recorder.gpu;
    let constants =
        vec![("BINS", bins as f64), ("IS_COUNTED", f64::from(u8::from(counted.is_some())))];
    let shape = recorder.shape(&words(&[count, PYRAMID_CHANNELS / 4]));
    recorder.dispatches.push(gpu.dispatch(
        &gpu.kernel(Shader::RoiAlign, constants),
        &[Some(&pyramid.numbers), Some(regions), counted, Some(&output), Some(&shape)],
        [bins * bins, count, 1],
        Work {
            operations: 4 * 14 * output.len as u64,
            bytes: (NUMBER * (pyramid.numbers.len + output.len)) as u64,
        },
    ));
    output
}

/// Two convolutions of one kernel side as one, whose channels are those of the first, then those of the second.
fn side_by_side(first: &ConvWeights<'_>, second: &ConvWeights<'_>) -> ConvWeights<'static> {
    ConvWeights {
        kernels: [&first.kernels[..], &second.kernels[..]].concat().into(),
        bias: [&first.bias[..], &second.bias[..]].concat(),
        shape: ConvShape { outputs: first.shape.outputs + second.shape.outputs, ..first.shape },
    }
}

fn box_head(gpu: &Gpu, loader: &Loader<'_>, classes: usize) -> Result<BoxHead, WeightsError> {
    let name = |part: &str| format!("roi_heads.{part}");
    let area = BOX_POOL * BOX_POOL;
    let first = loader.linear_over_region(
        &name("box_head.fc6"),
        [PYRAMID_CHANNELS * area, BOX_HEAD_FEATURES],
        area,
    )?;
    let second = loader.linear(&name("box_head.fc7"), [BOX_HEAD_FEATURES; 2])?;
    let logits = loader.linear(&name("box_predictor.cls_score"), [BOX_HEAD_FEATURES, classes])?;
    let deltas =
        loader.linear(&name("box_predictor.bbox_pred"), [BOX_HEAD_FEATURES, 4 * classes])?;
    let predictor = [&logits.matrix[..], &deltas.matrix[..]].concat();
    Ok(BoxHead {
        first: SplitLinear::new(gpu, &first),
        first_bias: gpu.upload(first.bias),
        second: gpu.upload(&transpose(&second.matrix, BOX_HEAD_FEATURES)),
        second_bias: gpu.upload(second.bias),
        predictor: gpu.upload(&transpose(&predictor, BOX_HEAD_FEATURES)),
        predictor_bias: gpu.upload(&[logits.bias, deltas.bias].concat()),
    })
}

fn mask_branch(
    gpu: &Gpu,
    loader: &Loader<'_>,
    variant: Variant,
    classes: usize,
) -> Result<MaskBranch, WeightsError> {
    let (depth, width) = variant.mask_head();
    let conv = |index: usize| {
        let inputs = if index == 0 { PYRAMID_CHANNELS } else { width };
        let name = format!("roi_heads.mask_head.mask_fcn{}", index + 1);
        loader.conv(&name, [inputs, width], 3).map(|weights| Conv::new(gpu, weights))
    };
    let predictor = |part: &str| format!("roi_heads.mask_predictor.{part}");
    let logits = loader.conv(&predictor("mask_fcn_logits"), [width, classes], 1)?;
    Ok(MaskBranch {
        convs: (0..depth).map(conv).collect::<Result<_, _>>()?,
        upscale: conv_transpose(gpu, &loader.upscale(&predictor("conv5_mask"), [width; 2])?),
        logits: gpu.upload(&logits.kernels),
        bias: gpu.upload(&logits.bias),
        features: width,
    })
}

// A level begins where a binding may.
const _: () = assert!((PYRAMID_CHANNELS * NUMBER).is_multiple_of(ALIGNMENT));
