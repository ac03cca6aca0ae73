//! The head beside module S that sees what the backbone saw (see [`crate::network::feature_module`]).

use crate::classes::CLASSES;
use crate::inference::load::Loader;
use crate::kernels::linear::CpuLinear;
use crate::network::Variant;
use crate::network::architecture::FEATURE_MODULE_PREFIX as PREFIX;
use crate::network::feature_module::{EPSILON, HIDDEN, inputs};
use crate::network::weights::{StateDict, WeightsError};

/// Layer norm and two fully connected layers.
#[derive(Clone, Debug)]
pub struct CpuFeatureModule {
    scale: Vec<f32>,
    shift: Vec<f32>,
    layers: [CpuLinear; 2],
}

impl CpuFeatureModule {
    /// The module with the weights of `state`.
    ///
    /// # Errors
    /// If a weight is missing, misshapen or not finite.
    pub fn new(state: &StateDict, variant: Variant) -> Result<Self, WeightsError> {
        let (loader, inputs) = (Loader::new(state), inputs(variant));
        let (scale, shift) = loader.layer_norm(&format!("{PREFIX}norm"), inputs)?;
        Ok(Self {
            scale,
            shift,
            layers: [
                loader.linear(&format!("{PREFIX}fc"), [inputs, HIDDEN])?.into(),
                loader.linear(&format!("{PREFIX}fc_img"), [HIDDEN, CLASSES])?.into(),
            ],
        })
    }

    /// The features of one slice to `[3]` logits.
    pub fn forward(&self, features: &[f32]) -> Vec<f32> {
        let count = features.len() as f32;
        let mean = features.iter().sum::<f32>() / count;
        let variance = features.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count;
        let scale = 1.0 / (variance + EPSILON as f32).sqrt();
        let affine = self.scale.iter().zip(&self.shift);
        let normalised: Vec<f32> = features
            .iter()
            .zip(affine)
            .map(|(value, (own, shift))| (value - mean) * scale * own + shift)
            .collect();
        let [first, last] = &self.layers;
        last.forward(&first.forward(&normalised, true), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::cpu_values::to_cpu_vec;
    use crate::network::feature_module::FeatureModule;
    use crate::network::parameters::state_of;
    use burn::tensor::{Device, Tensor, TensorData};

    #[test]
    fn it_computes_what_the_module_on_burn_computes() {
        let device = Device::flex();
        let variant: Variant = "resnet18t2".parse().unwrap();
        let module = FeatureModule::init(variant, &device);
        let mut state = StateDict::default();
        for (name, mut parameter) in state_of(&module).tensors {
            // A fresh norm changes nothing.
            let places = 0..parameter.values.len();
            parameter.values.iter_mut().zip(places).for_each(|(v, i)| *v += (i % 7) as f32 * 0.01);
            state.tensors.insert(format!("{PREFIX}{name}"), parameter);
        }
        let mut own = StateDict::default();
        for (name, parameter) in &state.tensors {
            own.tensors.insert(name[PREFIX.len()..].into(), parameter.clone());
        }
        let module = crate::network::parameters::load(module, &own).unwrap();
        let length = inputs(variant);
        let features: Vec<f32> = (0..length).map(|i| ((i * 7919) % 1009) as f32 / 100.0).collect();
        let tensor =
            Tensor::<2>::from_data(TensorData::new(features.clone(), [1, length]), &device);
        let expected = to_cpu_vec(module.logits(module.hidden(tensor)));
        let found = CpuFeatureModule::new(&state, variant).unwrap().forward(&features);
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 1e-4 * expected.abs().max(1.0),
                "{found} {expected}"
            );
        }
    }
}
