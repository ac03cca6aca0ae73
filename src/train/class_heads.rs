//! The class of a slice from its regions, on a network under training (docs/method.md, 2).

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

use crate::classes::CLASSES;
use crate::detection::BBox;
use crate::detection::postprocess::{BoxOutputs, Detection};
use crate::detection::proposals::{ProposalCounts, filter_proposals};
use crate::detection::roi_align::bins::level_scale;
use crate::detection::roi_batch::{NMS_THRESHOLD, ROI_FEATURES, RoiBatch, SCORE_THRESHOLD};
use crate::image::{CtSlice, NetworkInput};
use crate::inference::slice_features::{SliceFeatures, covered_share};
use crate::network::cpu_ops::roi_align::{PooledLayout, pool};
use crate::network::cpu_values::to_cpu_vec;
use crate::network::feature_module::over_cells;
use crate::network::heads::{BOX_HEAD_FEATURES, BOX_POOL};
use crate::network::{Architecture, MaskRcnn};
use crate::train::class_loss::dropout;
use crate::train::losses;
use crate::train::mask_rcnn_losses::read_maps;

/// Regions whose boxes are computed at a time.
const CHUNK: usize = 256;

/// A network with what it takes to ask it for a class.
#[derive(Clone, Copy)]
pub struct ClassHeads<'a> {
    /// The network.
    pub network: &'a MaskRcnn,
    /// What it is.
    pub architecture: &'a Architecture,
    /// Regions of the batch that module S reads.
    pub roi_batch: usize,
    /// Where it lies.
    pub device: &'a Device,
}

/// What a backbone that does not change sees of a slice.
#[derive(Clone, Debug)]
pub struct FixedRegions {
    /// The ranked regions.
    pub regions: Vec<Detection>,
    /// What the feature module reads; empty without one.
    pub row: Vec<f32>,
}

/// What is zeroed in the feature module, and which draw of a run this is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dropout {
    /// Share of its hidden features.
    pub share: f64,
    /// Seed of the run.
    pub seed: u64,
    /// Number of the slice.
    pub number: u64,
}

impl ClassHeads<'_> {
    /// The body's maps, layer by layer.
    fn maps(&self, input: &NetworkInput) -> Vec<Tensor<4>> {
        let data = TensorData::new(input.normalised(), [1, 3, input.height, input.width]);
        self.network.backbone.maps(Tensor::from_data(data, self.device))
    }

    /// The ranked regions of a slice and their proposals. `levels` carry no gradient.
    fn regions(&self, levels: &[Tensor<4>], input: &NetworkInput) -> (Vec<Detection>, Vec<BBox>) {
        let maps: Vec<_> = self.network.rpn.forward(levels).iter().map(read_maps).collect();
        let image = (input.image_height, input.image_width);
        let padded = (input.height, input.width);
        let anchors = &self.architecture.anchors;
        let proposals = filter_proposals(&maps, anchors, padded, image, ProposalCounts::TEST);
        let classes = self.architecture.masks.num_classes();
        let (mut logits, mut deltas) = (Vec::new(), Vec::new());
        for boxes in proposals.chunks(CHUNK) {
            let (chunk_logits, chunk_deltas) = self.boxes(levels, boxes, input);
            logits.extend(to_cpu_vec(chunk_logits.inner()));
            deltas.extend(to_cpu_vec(chunk_deltas.inner()));
        }
        let outputs = BoxOutputs { proposals, logits, deltas, classes, image };
        let found = outputs.detect(SCORE_THRESHOLD, NMS_THRESHOLD, self.roi_batch);
        (found, outputs.proposals)
    }

    fn representations(
        &self,
        levels: &[Tensor<4>],
        boxes: &[BBox],
        input: &NetworkInput,
    ) -> Tensor<2> {
        let scales: Vec<f32> =
            levels.iter().map(|level| level_scale(level.dims()[2], input.height)).collect();
        let pooled = pool(levels, &scales, boxes, BOX_POOL, PooledLayout::ChannelsFirst);
        self.network.roi_heads.representations(pooled)
    }

    fn boxes(
        &self,
        levels: &[Tensor<4>],
        boxes: &[BBox],
        input: &NetworkInput,
    ) -> (Tensor<2>, Tensor<2>) {
        self.network.roi_heads.predict(self.representations(levels, boxes, input))
    }

    /// What the heads see of `slice` beside the body's last map, without gradients.
    fn beside_the_map(
        &self,
        maps: &[Tensor<4>],
        slice: &CtSlice,
        input: &NetworkInput,
    ) -> FixedRegions {
        let maps = maps.iter().map(|map| map.clone().detach()).collect();
        let levels: Vec<_> =
            self.network.backbone.pyramid(maps).into_iter().map(Tensor::detach).collect();
        let (regions, proposals) = self.regions(&levels, input);
        let mut row = Vec::new();
        if self.architecture.feature_module {
            let boxes: Vec<BBox> = regions.iter().map(|found| proposals[found.proposal]).collect();
            let representations = match boxes.is_empty() {
                true => Vec::new(),
                false => to_cpu_vec(self.representations(&levels, &boxes, input).inner()),
            };
            let seen = SliceFeatures { representations, ..SliceFeatures::default() };
            let share = covered_share(slice, &regions, input.slice_from_network);
            row = seen.row(&regions, BOX_HEAD_FEATURES, share);
        }
        FixedRegions { regions, row }
    }

    /// What the heads see of `slice`, for a backbone that does not change.
    pub fn fixed(&self, slice: &CtSlice, input: &NetworkInput) -> FixedRegions {
        let maps = self.maps(input);
        let mut fixed = self.beside_the_map(&maps, slice, input);
        if let Some(last) = maps.last().filter(|_| self.architecture.feature_module) {
            let (means, maxima) = over_cells(last.clone().inner());
            fixed.row = [to_cpu_vec(means), to_cpu_vec(maxima), fixed.row].concat();
        }
        fixed
    }

    /// Class logits `[1, 3]` from what a backbone that does not change sees; `seed` spreads the regions over the batch.
    pub fn logits_of_fixed(&self, fixed: &FixedRegions, seed: u64, zeroed: Dropout) -> Tensor<2> {
        let logits = self.logits_of_regions(&fixed.regions, seed);
        self.with_features(logits, || self.row(fixed.row.clone()), zeroed)
    }

    /// Class logits `[1, 3]` of a slice, with the gradient of the feature module down to the stem, `share` of it.
    /// Regions have none: gradients of the class do not reach the boxes.
    pub fn logits_with_backbone(
        &self,
        slice: &CtSlice,
        input: &NetworkInput,
        seed: u64,
        share: f64,
        zeroed: Dropout,
    ) -> Tensor<2> {
        let maps = self.maps(input);
        let fixed = self.beside_the_map(&maps, slice, input);
        let logits = self.logits_of_regions(&fixed.regions, seed);
        let row = || {
            let (means, maxima) = maps.last().map(|last| over_cells(last.clone())).unzip();
            let seen = [means, maxima]
                .into_iter()
                .flatten()
                .map(|part| part.clone() * share + part.detach() * (1.0 - share));
            Tensor::cat(seen.chain([self.row(fixed.row.clone())]).collect(), 1)
        };
        self.with_features(logits, row, zeroed)
    }

    /// Class logits `[1, 3]` of a slice, with gradients down to the first batch norm.
    ///
    /// The regions are chosen without gradients, and only the chosen ones are computed again with
    /// them: what is dropped has no gradient in the reference either.
    pub fn logits_of_slice(&self, input: &NetworkInput, seed: u64) -> Tensor<2> {
        let levels = self.network.backbone.pyramid(self.maps(input));
        let fixed: Vec<_> = levels.iter().map(|level| level.clone().detach()).collect();
        let (regions, proposals) = self.regions(&fixed, input);
        if regions.is_empty() {
            return self.logits_of_regions(&[], seed);
        }
        let boxes: Vec<BBox> = regions.iter().map(|region| proposals[region.proposal]).collect();
        let (logits, deltas) = self.boxes(&levels, &boxes, input);
        let [count, classes] = logits.dims();
        let own = regions.iter().enumerate().map(|(row, region)| row * classes + region.class);
        let own = losses::indices(own, self.device);
        let scores = softmax(logits, 1).reshape([count * classes, 1]).select(0, own.clone());
        let deltas = deltas.reshape([count * classes, 4]).select(0, own);
        let slots = RoiBatch::spread(regions, self.roi_batch, seed).slots();
        let slots = losses::indices(slots, self.device);
        let batch = Tensor::cat(vec![scores, deltas], 1).select(0, slots);
        self.score(batch.reshape([1, self.roi_batch * ROI_FEATURES]))
    }

    fn logits_of_regions(&self, regions: &[Detection], seed: u64) -> Tensor<2> {
        let size = self.roi_batch;
        let values = RoiBatch::spread(regions.to_vec(), size, seed).values(size);
        self.score(self.row(values))
    }

    fn row(&self, values: Vec<f32>) -> Tensor<2> {
        let dims = [1, values.len()];
        Tensor::from_data(TensorData::new(values, dims), self.device)
    }

    fn score(&self, batch: Tensor<2>) -> Tensor<2> {
        match &self.network.s2new {
            Some(module) => module.forward(batch),
            None => Tensor::zeros([1, CLASSES], self.device),
        }
    }

    fn with_features(
        &self,
        logits: Tensor<2>,
        row: impl FnOnce() -> Tensor<2>,
        Dropout { share, seed, number }: Dropout,
    ) -> Tensor<2> {
        let Some(module) = &self.network.s2new_features else { return logits };
        let hidden = dropout(module.hidden(row()), share, seed, number, self.device);
        logits + module.logits(hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::{LesionClasses, SliceClass};
    use crate::image::phantom::draw;
    use crate::inference::{LoadedModel, ModelFile, NoProgress, Predictor, Settings};
    use crate::network::{MaskRcnnConfig, Task, Variant};

    #[test]
    fn what_is_trained_is_what_is_predicted() {
        let device = Device::flex();
        let variant: Variant = "resnet18t2".parse().unwrap();
        let paper = Architecture::paper(variant, Task::Classification, LesionClasses::Merge);
        // Few regions: of many, two have scores so near that rounding decides which comes first.
        let roi_batch = 16;
        let architecture = Architecture {
            feature_module: true,
            mask_branch: true,
            score_module: Some((roi_batch, 512)),
            ..paper
        };
        let mut state = MaskRcnnConfig::new(architecture.clone()).random_state(5);
        state.anchors = Some(architecture.anchors.clone());
        // Not square: the padding of the input is no part of the picture.
        let mut slice = draw(SliceClass::Covid19, 4).slice;
        slice.height = 400;
        slice.pixels.truncate(400 * slice.width);
        let network = MaskRcnnConfig::new(architecture.clone()).init_with(&state, &device).unwrap();
        let settings = Settings { force: true, ..Settings::reference() };
        let input = NetworkInput::new(&slice);
        let heads = ClassHeads {
            network: &network,
            architecture: &architecture,
            roi_batch,
            device: &device,
        };
        let fixed = heads.fixed(&slice, &input);
        let plain = Dropout::default();
        let trained = heads.logits_of_fixed(&fixed, settings.seed, plain);
        let with_backbone = heads.logits_with_backbone(&slice, &input, settings.seed, 0.3, plain);
        let file = ModelFile::read("drawn", &state.to_exact_pack().unwrap()).unwrap();
        let model = LoadedModel::new(Some(file.clone()), Some(file)).unwrap();
        let predictor = Predictor::on_cpu(&model, "cpu").unwrap();
        let report = pollster::block_on(predictor.predict(&slice, &settings, &mut NoProgress));
        let predicted = report.unwrap().logits.unwrap();
        for logits in [trained, with_backbone].map(to_cpu_vec) {
            for (found, expected) in logits.iter().zip(predicted) {
                let close = (found - expected).abs() < 1e-3 * expected.abs().max(1.0);
                assert!(close, "{logits:?} {predicted:?}");
            }
        }
    }
}
