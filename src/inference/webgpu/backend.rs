//! The network on a GPU as a backend.
//!
//! A read-back is a round trip through the browser's event loop, so there are two a slice: the proposal maps, then the
//! box outputs together with the masks of the boxes that the device expects to become lesions. Masks that it does not
//! expect cost a third: of more lesions than [`EXPECTED_LESIONS`], of a pyramid of several levels, by the reference's rules.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::detection::BBox;
use crate::detection::postprocess::Detection;
use crate::detection::proposals::RpnMaps;
use crate::image::NetworkInput;
use crate::inference::backend::{Backend, BoxValues};
use crate::inference::error::PredictError;
use crate::inference::progress::{Progress, Stage};
use crate::inference::settings::Settings;
use crate::inference::slice_features::SliceFeatures;
use crate::inference::webgpu::gpu::{Dispatch, Gpu, Numbers, Watch};
use crate::inference::webgpu::mask_rcnn::{GpuMaskRcnn, Pyramid, RECORD};
use crate::inference::webgpu::recorder::{Recorder, Recording};
use crate::kernels::FeatureMap;
use crate::network::fpn::CHANNELS;
use crate::network::heads::MASK_CELLS;
use crate::network::{Architecture, StateDict, WeightsError};

/// Masks computed before the host has chosen the lesions.
pub const EXPECTED_LESIONS: usize = 32;
/// Side of the smallest plane.
const SMALLEST: usize = 64;
/// Pixels by which a box may differ from the host's and still be the same: the device's arithmetic has other last digits.
const SAME_BOX: f32 = 0.05;

/// Mask R-CNN in shaders as a backend.
#[derive(Debug)]
pub struct WebGpuBackend {
    gpu: Rc<Gpu>,
    network: GpuMaskRcnn,
    architecture: Architecture,
    /// The pyramid for the size of the last slice: those of a series have one size.
    recorded: RefCell<Option<Rc<Pyramid>>>,
    /// Rooms of the box stage, from slice to slice.
    buffers: RefCell<Vec<Numbers>>,
    /// Slices begun. The device holds one at a time.
    slices: Cell<u64>,
}

/// The pyramid of a slice, as long as no other slice is begun.
#[derive(Debug)]
pub struct WebGpuPyramid {
    recorded: Rc<Pyramid>,
    /// Number of the slice.
    slice: u64,
    /// Masks computed ahead.
    ahead: Vec<Ahead>,
}

/// A mask that the device computed for a box of its own choice.
#[derive(Debug)]
struct Ahead {
    proposal: usize,
    class: usize,
    bbox: BBox,
    mask: Vec<f32>,
}

impl Ahead {
    fn is_of(&self, detection: &Detection) -> bool {
        let (own, other) = (<[f32; 4]>::from(self.bbox), <[f32; 4]>::from(detection.bbox));
        (self.proposal, self.class) == (detection.proposal, detection.class)
            && own.iter().zip(other).all(|(a, b)| (a - b).abs() <= SAME_BOX)
    }
}

impl WebGpuBackend {
    /// The network with the weights of `state`.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(
        gpu: Rc<Gpu>,
        architecture: &Architecture,
        state: &StateDict,
    ) -> Result<Self, WeightsError> {
        let backend = Self {
            network: GpuMaskRcnn::new(&gpu, architecture, state)?,
            gpu,
            architecture: architecture.clone(),
            recorded: RefCell::default(),
            buffers: RefCell::default(),
            slices: Cell::default(),
        };
        // All shaders are compiled, so that whoever waits for the device hears of each.
        let boxes = [BBox::new(0.0, 0.0, SMALLEST as f32, SMALLEST as f32)];
        backend.dispatches([SMALLEST; 2], &boxes);
        let mut recorder = backend.recorder();
        let masks = backend.network.masks(
            &mut recorder,
            &backend.recorded_for([SMALLEST; 2]),
            boxes.iter().map(|bbox| (bbox, 1)),
        );
        debug_assert_eq!(masks.is_some(), architecture.mask_branch);
        backend.keep(recorder.finish());
        Ok(backend)
    }

    /// The pyramid for planes of this size.
    fn recorded_for(&self, size: [usize; 2]) -> Rc<Pyramid> {
        // One of another size gives its memory back first.
        let known = self.recorded.take().filter(|recorded| recorded.size == size);
        known
            .inspect(|recorded| *self.recorded.borrow_mut() = Some(recorded.clone()))
            .unwrap_or_else(|| {
                let recorded = Rc::new(self.network.pyramid(&self.gpu, size));
                *self.recorded.borrow_mut() = Some(recorded.clone());
                recorded
            })
    }

    fn recorder(&self) -> Recorder<'_> {
        Recorder::new(&self.gpu, self.buffers.take())
    }

    /// Keeps the buffers of what has been recorded, for the next.
    fn keep(
        &self,
        Recording { dispatches, buffers, shapes }: Recording,
    ) -> (Vec<Dispatch>, Vec<Numbers>) {
        self.buffers.replace(buffers);
        (dispatches, shapes)
    }

    /// Runs what was written down since `watch` began.
    async fn run(
        &self,
        watch: Watch,
        recorder: Recorder<'_>,
        wanted: &[&Numbers],
    ) -> Result<impl Iterator<Item = Vec<f32>>, PredictError> {
        let (dispatches, shapes) = self.keep(recorder.finish());
        let values = self.gpu.run(watch, &dispatches, wanted).await?;
        shapes.iter().for_each(Numbers::destroy);
        Ok(values.into_iter())
    }

    /// The device still holds what belongs to the pyramid.
    fn check(&self, pyramid: &WebGpuPyramid) -> Result<(), PredictError> {
        if pyramid.slice == self.slices.get() {
            return Ok(());
        }
        Err(failed("another slice was begun before this one was done"))
    }

    /// What would run for a slice of this size with so many proposals: for the cost of it.
    pub fn dispatches(&self, size: [usize; 2], proposals: &[BBox]) -> Vec<Dispatch> {
        let recorded = self.recorded_for(size);
        let mut recorder = self.recorder();
        let boxes = self.network.boxes(&mut recorder, &recorded, proposals);
        let (image, settings) = ((size[0], size[1]), (&Settings::default(), EXPECTED_LESIONS));
        self.network.chosen_masks(
            &mut recorder,
            &recorded,
            (proposals, &boxes.outputs),
            image,
            settings,
        );
        let (later, _) = self.keep(recorder.finish());
        recorded.dispatches.iter().cloned().chain(later).collect()
    }
}

fn failed(reason: &str) -> PredictError {
    PredictError::Device { reason: reason.into() }
}

/// The next numbers of a read-back.
fn next(values: &mut impl Iterator<Item = Vec<f32>>) -> Result<Vec<f32>, PredictError> {
    values.next().ok_or_else(|| failed("the device returned too few numbers"))
}

impl Backend for WebGpuBackend {
    type Pyramid = WebGpuPyramid;

    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// First read-back: the proposal maps of every level.
    async fn pyramid(
        &self,
        input: &NetworkInput,
        progress: &mut impl Progress,
    ) -> Result<(WebGpuPyramid, Vec<RpnMaps>), PredictError> {
        progress.enter(Stage::Features).await?;
        let slice = self.slices.get() + 1;
        self.slices.set(slice);
        let watch = self.gpu.watch();
        let recorded = self.recorded_for([input.height, input.width]);
        let image = [input.image_height, input.image_width];
        self.network.set_picture(&self.gpu, &recorded, &input.grey, image);
        let wanted: Vec<&Numbers> = recorded.proposals.iter().collect();
        let values = self.gpu.run(watch, &recorded.dispatches, &wanted).await?;
        progress.enter(Stage::Features).await?;
        let levels = recorded.levels.iter().zip(&values);
        let maps = levels.map(|(level, values)| self.network.rpn_maps(level, values)).collect();
        Ok((WebGpuPyramid { recorded, slice, ahead: Vec::new() }, maps))
    }

    /// Second read-back: box outputs and the masks expected to be needed.
    async fn boxes(
        &self,
        pyramid: &mut WebGpuPyramid,
        proposals: &[BBox],
        image: (usize, usize),
        settings: Option<&Settings>,
    ) -> Result<BoxValues, PredictError> {
        self.check(pyramid)?;
        pyramid.ahead.clear();
        if proposals.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let watch = self.gpu.watch();
        let mut recorder = self.recorder();
        let boxes = self.network.boxes(&mut recorder, &pyramid.recorded, proposals);
        let classes = self.architecture.masks.num_classes();
        let rows = proposals.len() * (classes - 1);
        let limit =
            settings.map_or(0, |settings| EXPECTED_LESIONS.min(settings.detections).min(rows));
        let chosen = settings.filter(|_| limit > 0).and_then(|settings| {
            let of = (proposals, &boxes.outputs);
            let (recorder, recorded) = (&mut recorder, &*pyramid.recorded);
            self.network.chosen_masks(recorder, recorded, of, image, (settings, limit))
        });
        let mut wanted = vec![&boxes.outputs];
        if let Some(chosen) = &chosen {
            wanted.extend([&chosen.count, &chosen.chosen, &chosen.masks]);
        }
        let mut values = self.run(watch, recorder, &wanted).await?;
        let found = next(&mut values)?;
        if chosen.is_some() {
            let (count, chosen, masks) =
                (next(&mut values)?, next(&mut values)?, next(&mut values)?);
            let count = count.first().map_or(0, |word| word.to_bits() as usize);
            let boxes = chosen.chunks_exact(RECORD).zip(masks.chunks_exact(MASK_CELLS));
            pyramid.ahead.extend(boxes.take(count).map(|(record, mask)| Ahead {
                proposal: record[4].to_bits() as usize,
                class: record[5].to_bits() as usize,
                bbox: BBox::new(record[0], record[1], record[2], record[3]),
                mask: mask.to_vec(),
            }));
        }
        let outputs = self.network.outputs();
        let rows = || found.chunks_exact(outputs).take(proposals.len());
        let logits = rows().flat_map(|row| &row[..classes]).copied().collect();
        let deltas = rows().flat_map(|row| &row[classes..]).copied().collect();
        Ok((logits, deltas))
    }

    async fn masks(
        &self,
        pyramid: &WebGpuPyramid,
        detections: &[Detection],
    ) -> Result<Vec<Vec<f32>>, PredictError> {
        if !self.network.has_masks() {
            return Ok(Vec::new());
        }
        let mut found: Vec<Option<Vec<f32>>> = detections
            .iter()
            .map(|detection| {
                let known = pyramid.ahead.iter().find(|ahead| ahead.is_of(detection));
                known.map(|ahead| ahead.mask.clone())
            })
            .collect();
        let missing: Vec<usize> = (0..found.len()).filter(|i| found[*i].is_none()).collect();
        // So many at a time bound the memory.
        for chunk in missing.chunks(EXPECTED_LESIONS) {
            self.check(pyramid)?;
            let watch = self.gpu.watch();
            let mut recorder = self.recorder();
            let boxes =
                chunk.iter().map(|index| (&detections[*index].bbox, detections[*index].class));
            let masks = self.network.masks(&mut recorder, &pyramid.recorded, boxes);
            let wanted: Vec<&Numbers> = masks.iter().collect();
            let values = next(&mut self.run(watch, recorder, &wanted).await?)?;
            for (index, mask) in chunk.iter().zip(values.chunks_exact(MASK_CELLS)) {
                found[*index] = Some(mask.to_vec());
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// A read-back of its own, for the few models whose class needs it.
    async fn slice_features(
        &self,
        pyramid: &WebGpuPyramid,
        boxes: &[BBox],
    ) -> Result<SliceFeatures, PredictError> {
        self.check(pyramid)?;
        let last = &pyramid.recorded.last;
        let watch = self.gpu.watch();
        let mut recorder = self.recorder();
        let found = (!boxes.is_empty())
            .then(|| self.network.boxes(&mut recorder, &pyramid.recorded, boxes).representations);
        let wanted: Vec<&Numbers> = [&last.numbers].into_iter().chain(&found).collect();
        let mut values = self.run(watch, recorder, &wanted).await?;
        let dims = [1, last.height, last.width, last.channels];
        let map = FeatureMap { values: next(&mut values)?, dims };
        Ok(SliceFeatures {
            means: map.means(),
            maxima: map.maxima(),
            representations: values.next().unwrap_or_default(),
        })
    }

    async fn features(&self, pyramid: &WebGpuPyramid) -> Result<Vec<Vec<f32>>, PredictError> {
        self.check(pyramid)?;
        let recorded = &pyramid.recorded;
        let values = self.gpu.run(self.gpu.watch(), &[], &[&recorded.numbers]).await?;
        let values = next(&mut values.into_iter())?;
        let mut rest = &values[..];
        let mut levels = Vec::new();
        for level in &recorded.levels {
            let (own, others) = rest.split_at(level.height * level.width * CHANNELS);
            let dims = [1, level.height, level.width, CHANNELS];
            levels.push(FeatureMap { values: own.to_vec(), dims }.to_channels_first());
            rest = others;
        }
        Ok(levels)
    }
}
