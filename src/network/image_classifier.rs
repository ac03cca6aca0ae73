//! A residual network that judges a slice as a whole: mean of the last map, one linear layer.
//!
//! Not the paper's: it sees the picture where module S sees scores and boxes only.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::classes::CLASSES;
use crate::network::batch_norm::Statistics;
use crate::network::linear::{Linear, LinearConfig};
use crate::network::resnet::ResNet;
use crate::network::weights::{StateDict, WeightsError};
use crate::network::{Variant, parameters};

/// Begins the names of its parameters in a model's file; torchvision's names follow.
pub const PREFIX: &str = "image_classifier.";
/// Side of the square that it sees unless its file says otherwise.
pub const SIDE: usize = 256;

/// Channels of the last map of a variant.
pub fn features(variant: Variant) -> usize {
    variant.pyramid_channels().last().copied().unwrap_or_default()
}

/// Configuration of an [`ImageClassifier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageClassifierConfig {
    /// Depth and cut of the body.
    pub variant: Variant,
}

impl ImageClassifierConfig {
    /// A fresh network.
    pub fn init(&self, device: &Device) -> ImageClassifier {
        ImageClassifier {
            body: ResNet::init(self.variant, device),
            fc: LinearConfig::new(features(self.variant), CLASSES).init(device),
        }
    }

    /// A network with the weights of `state`, whose names begin with [`PREFIX`].
    ///
    /// # Errors
    /// If a weight is missing, has another shape, or is not finite.
    pub fn init_with(
        &self,
        state: &StateDict,
        device: &Device,
    ) -> Result<ImageClassifier, WeightsError> {
        let mut own = StateDict::default();
        for (name, parameter) in &state.tensors {
            let Some(name) = name.strip_prefix(PREFIX) else { continue };
            let name = if name.starts_with("fc.") { name.into() } else { format!("body.{name}") };
            own.tensors.insert(name, parameter.clone());
        }
        parameters::load(self.init(device), &own)
    }
}

/// The network.
#[derive(Module, Debug)]
pub struct ImageClassifier {
    /// The residual network.
    pub body: ResNet,
    /// From the mean of its last map to the logits.
    pub fc: Linear,
}

impl ImageClassifier {
    /// Normalised images `[batch, 3, side, side]` to the mean of the last map, `[batch, channels]`.
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let mut hidden = self.body.stem(images);
        for index in 0..self.body.layers() {
            hidden = self.body.layer(index, hidden);
        }
        let [batch, channels, height, width] = hidden.dims();
        hidden.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
    }

    /// Normalised images `[batch, 3, side, side]` to logits `[batch, 3]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.fc.forward(self.features(images))
    }

    /// Sets which statistics the batch norms use.
    pub fn with_statistics(mut self, statistics: Statistics) -> Self {
        self.body = self.body.with_statistics(statistics);
        self
    }

    /// The weights, named by [`PREFIX`] and torchvision.
    pub fn state(&self) -> StateDict {
        let mut state = StateDict::default();
        for (name, parameter) in parameters::state_of(self).tensors {
            let name = name.strip_prefix("body.").unwrap_or(&name);
            state.tensors.insert(format!("{PREFIX}{name}"), parameter);
        }
        state
    }
}
