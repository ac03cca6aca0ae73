//! Mask R-CNN on one or more pyramid levels, and COVID-CT-Mask-Net, which adds module S.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::detection::anchors::AnchorGenerator;
use crate::network::architecture::Architecture;
use crate::network::backbone::PyramidBackbone;
use crate::network::batch_norm::Statistics;
use crate::network::feature_module::FeatureModule;
use crate::network::heads::RoiHeads;
use crate::network::parameters::{self, ParameterCount};
use crate::network::rpn::Rpn;
use crate::network::score_module::ScoreModule;
use crate::network::weights::{StateDict, WeightsError};

/// Configuration of a [`MaskRcnn`].
#[derive(Clone, Debug)]
pub struct MaskRcnnConfig {
    /// What fixes the shapes.
    pub architecture: Architecture,
}

impl MaskRcnnConfig {
    /// For an architecture.
    pub fn new(architecture: Architecture) -> Self {
        Self { architecture }
    }

    /// A fresh network; weights are drawn when first used.
    pub fn init(&self, device: &Device) -> MaskRcnn {
        let architecture = &self.architecture;
        MaskRcnn {
            backbone: PyramidBackbone::init(architecture.variant, device),
            rpn: Rpn::init(architecture.anchors.anchors_per_location(), device),
            roi_heads: RoiHeads::init(architecture, device),
            s2new: architecture
                .score_module
                .map(|(roi_batch, features)| ScoreModule::init(roi_batch, features, device)),
            s2new_features: architecture
                .feature_module
                .then(|| FeatureModule::init(architecture.variant, device)),
        }
    }

    /// A network with the weights of `state`.
    ///
    /// # Errors
    /// If a weight is missing, has another shape, or is not finite.
    pub fn init_with(&self, state: &StateDict, device: &Device) -> Result<MaskRcnn, WeightsError> {
        parameters::load(self.init(device), state)
    }
}

/// The network. Its field names are those of the author's checkpoints.
#[derive(Module, Debug)]
pub struct MaskRcnn {
    /// ResNet and feature pyramid.
    pub backbone: PyramidBackbone,
    /// Region proposals.
    pub rpn: Rpn,
    /// Boxes and masks of regions.
    pub roi_heads: RoiHeads,
    /// Class of the slice; only in COVID-CT-Mask-Net.
    pub s2new: Option<ScoreModule>,
    /// Another head for the class, which sees the backbone's features; not in the paper.
    pub s2new_features: Option<FeatureModule>,
}

impl MaskRcnn {
    /// Folds batch norm into the convolutions; for inference only.
    pub fn fold_batch_norm(mut self) -> Self {
        self.backbone.body = self.backbone.body.fold_batch_norm();
        self
    }

    /// Sets which statistics the batch norms use (docs/method.md, 4).
    pub fn with_statistics(mut self, statistics: Statistics) -> Self {
        self.backbone.body = self.backbone.body.with_statistics(statistics);
        self
    }

    /// The weights by the author's names. Reads them from the device; not for browsers.
    pub fn state(&self) -> StateDict {
        parameters::state_of(self)
    }

    /// The same with the anchors, as a model's file has them.
    pub fn state_with(&self, anchors: &AnchorGenerator) -> StateDict {
        StateDict { anchors: Some(anchors.clone()), ..self.state() }
    }

    /// Parameters of the network.
    pub fn count(&self) -> ParameterCount {
        parameters::count(self)
    }

    /// The backbone in one go: normalised image to pyramid levels.
    pub fn features(&self, image: Tensor<4>) -> Vec<Tensor<4>> {
        self.backbone.forward(image)
    }
}

#[cfg(test)]
impl MaskRcnnConfig {
    /// Weights that follow from `seed` alone. burn's own generator is one for the whole process: what `init` draws
    /// depends on the tests that run beside, however it is seeded.
    pub(crate) fn random_state(&self, seed: u64) -> StateDict {
        use rand::{RngExt, SeedableRng};

        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let mut state = self.init(&Device::flex()).state();
        for parameter in state.tensors.values_mut() {
            let is_random = parameter.values.iter().any(|value| *value != parameter.values[0]);
            if is_random {
                let fan_in: usize = parameter.shape[1..].iter().product();
                let bound =
                    if parameter.shape.len() > 1 { (3.0 / fan_in as f32).sqrt() } else { 0.1 };
                parameter.values.fill_with(|| rng.random_range(-bound..bound));
            }
        }
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::LesionClasses;
    use crate::network::{Task, Variant};

    #[test]
    fn random_weights_follow_from_their_seed() {
        let variant: Variant = "resnet18t1".parse().unwrap();
        let architecture = Architecture::paper(variant, Task::Classification, LesionClasses::Merge);
        let config = MaskRcnnConfig::new(architecture);
        assert_eq!(config.random_state(1), config.random_state(1));
        assert_ne!(config.random_state(1), config.random_state(2));
    }

    /// The bold integers of docs/method.md, 1.7.
    #[test]
    fn parameter_counts_are_those_of_the_reference() {
        let expected = [
            ("resnet18", 14_511_074, 14_520_694, 14_742_499, 14_752_119, 600_195),
            ("resnet18t1", 6_051_810, 6_056_305, 6_283_235, 6_287_730, 596_099),
            ("resnet18t2", 3_919_330, 3_921_260, 4_150_755, 4_152_685, 594_051),
            ("resnet34", 24_619_234, 24_636_294, 24_850_659, 24_867_719, 607_619),
            ("resnet34t1", 11_439_330, 11_449_215, 11_670_755, 11_680_640, 601_475),
            ("resnet34t2", 4_584_162, 4_587_378, 4_815_587, 4_818_803, 595_331),
            ("resnet50", 31_727_842, 31_781_015, 34_092_261, 34_145_434, 2_409_859),
        ];
        for (name, seg, seg_entries, cls, cls_entries, trainable) in expected {
            let variant: Variant = name.parse().unwrap();
            let count = |task| {
                let architecture = Architecture::paper(variant, task, LesionClasses::Merge);
                MaskRcnnConfig::new(architecture).init(&Device::flex()).count()
            };
            let (stage1, stage2) = (count(Task::Segmentation), count(Task::Classification));
            assert_eq!(
                (stage1.parameters, stage1.state_dict_entries),
                (seg, seg_entries),
                "{name}"
            );
            assert_eq!(
                (stage2.parameters, stage2.state_dict_entries),
                (cls, cls_entries),
                "{name}"
            );
            assert_eq!(stage2.trainable_stage_two, trainable, "{name}");
        }
    }
}
