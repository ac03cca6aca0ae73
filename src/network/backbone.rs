//! Backbone: truncated ResNet under a feature pyramid.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::network::architecture::Variant;
use crate::network::fpn::Fpn;
use crate::network::resnet::ResNet;

/// ResNet body and feature pyramid.
#[derive(Module, Debug)]
pub struct PyramidBackbone {
    /// The residual network.
    pub body: ResNet,
    /// The pyramid.
    pub fpn: Fpn,
}

impl PyramidBackbone {
    /// A fresh backbone.
    pub fn init(variant: Variant, device: &Device) -> Self {
        Self {
            body: ResNet::init(variant, device),
            fpn: Fpn::init(&variant.pyramid_channels(), device),
        }
    }

    /// Normalised image `[batch, 3, height, width]` to pyramid levels `[batch, 256, h, w]`,
    /// finest first.
    pub fn forward(&self, image: Tensor<4>) -> Vec<Tensor<4>> {
        self.pyramid(self.maps(image))
    }

    /// Normalised image to the outputs of the body's layers, finest first.
    pub fn maps(&self, image: Tensor<4>) -> Vec<Tensor<4>> {
        let mut hidden = self.body.stem(image);
        let mut maps = Vec::new();
        for index in 0..self.body.layers() {
            hidden = self.body.layer(index, hidden);
            maps.push(hidden.clone());
        }
        maps
    }

    /// The pyramid over the outputs of all layers: it takes as many of the last as it has levels.
    pub fn pyramid(&self, mut layer_outputs: Vec<Tensor<4>>) -> Vec<Tensor<4>> {
        let unused = layer_outputs.len() - self.fpn.levels();
        self.fpn.forward(layer_outputs.split_off(unused))
    }
}
