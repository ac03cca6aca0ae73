//! The whole-slice classifier (see [`crate::network::image_classifier`]).

use crate::classes::CLASSES;
use crate::image::NetworkInput;
use crate::inference::cpu::resnet::CpuResNet;
use crate::inference::load::Loader;
use crate::kernels::linear::CpuLinear;
use crate::network::Variant;
use crate::network::image_classifier::{PREFIX, features};
use crate::network::weights::{StateDict, WeightsError};

/// Residual network, mean of the last map, linear layer.
#[derive(Clone, Debug)]
pub struct CpuImageClassifier {
    body: CpuResNet,
    fc: CpuLinear,
}

impl CpuImageClassifier {
    /// The network with the weights of `state`.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(state: &StateDict, variant: Variant) -> Result<Self, WeightsError> {
        let loader = Loader::new(state);
        Ok(Self {
            body: CpuResNet::new(&loader, PREFIX, variant)?,
            fc: loader.linear(&format!("{PREFIX}fc"), [features(variant), CLASSES])?.into(),
        })
    }

    /// Pictures of one size to logits `[pictures, 3]`.
    pub fn forward(&self, pictures: &[NetworkInput]) -> Vec<f32> {
        let mut hidden = self.body.stem(pictures);
        for index in 0..self.body.layers() {
            hidden = self.body.layer(index, &hidden);
        }
        self.fc.forward(&hidden.means(), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::cpu::resnet::tests::noise;
    use crate::network::cpu_values::to_cpu_vec;
    use crate::network::image_classifier::ImageClassifierConfig;
    use burn::tensor::{Device, Tensor, TensorData};

    #[test]
    fn it_computes_what_the_network_on_burn_computes() {
        let device = Device::flex();
        for name in ["resnet18t1", "resnet18", "resnet34t2"] {
            let variant: Variant = name.parse().unwrap();
            let network = ImageClassifierConfig { variant }.init(&device);
            let host = CpuImageClassifier::new(&network.state(), variant).unwrap();
            let pictures = [(64, 64), (50, 61)].map(|size| NetworkInput::unscaled(&noise(size, 7)));
            let images: Vec<f32> = pictures.iter().flat_map(NetworkInput::normalised).collect();
            let data = TensorData::new(images, [2, 3, 64, 64]);
            let tensor = Tensor::<4>::from_data(data, &device);
            let expected = to_cpu_vec(network.forward(tensor));
            let found = host.forward(&pictures);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-3 * expected.abs().max(1.0), "{name}");
            }
        }
    }
}
