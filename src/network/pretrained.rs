//! Backbones that were trained elsewhere, as torchvision and timm name them.
//!
//! A file may be a whole classifier or cut anywhere behind the layers that are needed, and may lie under any
//! prefix (`module.`, `backbone.body.`, ...). A ResNet18 also begins a ResNet34: a residual block whose last
//! batch norm has the scale 0 passes on what it gets, so the blocks that the file does not have start as the
//! identity.

use thiserror::Error;

use crate::network::Variant;
use crate::network::weights::{Parameter, StateDict, WeightsError};

/// Where the body's parameters lie in a detector.
pub const BODY: &str = "backbone.body.";
/// Missing names that a message lists.
const NAMED: usize = 4;

/// Why a file is no backbone for a variant.
#[derive(Debug, Error)]
pub enum BackboneError {
    /// There is no first convolution.
    #[error(
        "there is no first convolution (`conv1.weight` of 64 x 3 x 7 x 7) in it; expected a ResNet as torchvision and timm name it"
    )]
    NoResNet,
    /// Another depth.
    #[error(
        "layer{layer} has {found} blocks{kind}, {variant} has {expected}; this is a backbone of another depth"
    )]
    Depth {
        /// Number of the layer, from 1.
        layer: usize,
        /// Blocks in the file.
        found: usize,
        /// Blocks of the variant.
        expected: usize,
        /// What kind they are, where that is the trouble.
        kind: &'static str,
        /// The variant.
        variant: Variant,
    },
    /// Parameters that are not there.
    #[error("parameters are missing ({count}), among them {names}")]
    Missing {
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
    },
    /// A parameter of another shape, or not finite.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// What was taken from a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Parameters from the file.
    pub parameters: usize,
    /// Residual blocks that the file did not have and that start as the identity.
    pub identity_blocks: usize,
}

/// Writes the backbone in `file` over the body of `state`, whose names begin with `prefix` ([`BODY`] in a
/// detector).
///
/// # Errors
/// If the file is no ResNet, one of another depth, or lacks a parameter.
pub fn load_backbone(
    state: &mut StateDict,
    prefix: &str,
    variant: Variant,
    file: &StateDict,
) -> Result<Taken, BackboneError> {
    let stem = |name: &&String| name.ends_with("conv1.weight");
    let is_stem = |name: &&String| file.shape(name).is_some_and(|s| s[..] == [64, 3, 7, 7]);
    let first = file.tensors.keys().filter(stem).find(is_stem).ok_or(BackboneError::NoResNet)?;
    let theirs = first.trim_end_matches("conv1.weight");
    let has = |name: &str| file.tensors.contains_key(&format!("{theirs}{name}"));
    let count = |layer: usize| {
        (0..64).take_while(|block| has(&format!("layer{layer}.{block}.conv1.weight"))).count()
    };
    let bottleneck = has("layer1.0.conv3.weight");
    let mut identity_blocks = 0;
    for (index, expected) in variant.blocks().into_iter().enumerate() {
        let (layer, found) = (index + 1, count(index + 1));
        let kind = match (bottleneck, variant.is_bottleneck()) {
            (true, false) => " of three convolutions",
            (false, true) => " of two convolutions",
            _ => "",
        };
        if found == 0 || found > expected || !kind.is_empty() {
            return Err(BackboneError::Depth { layer, found, expected, kind, variant });
        }
        identity_blocks += expected - found;
    }
    let in_file = |name: &str| {
        let mut parts = name.split('.');
        let layer = parts.next().and_then(|word| word.strip_prefix("layer")?.parse().ok());
        let block: Option<usize> = parts.next().and_then(|word| word.parse().ok());
        layer.zip(block).is_none_or(|(layer, block)| block < count(layer))
    };
    let body: Vec<String> = state
        .tensors
        .keys()
        .filter_map(|name| Some(name.strip_prefix(prefix)?.to_owned()))
        .filter(|name| {
            name.starts_with("conv1.") || name.starts_with("bn1.") || name.starts_with("layer")
        })
        .collect();
    let (from_file, identity): (Vec<_>, Vec<_>) = body.into_iter().partition(|name| in_file(name));
    let missing: Vec<&str> =
        from_file.iter().map(String::as_str).filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        let names: Vec<String> =
            missing.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
        return Err(BackboneError::Missing { count: missing.len(), names: names.join(", ") });
    }
    for name in &from_file {
        let own = format!("{prefix}{name}");
        let shape = state.shape(&own).unwrap_or_default().to_vec();
        let parameter: &Parameter = file.parameter(&format!("{theirs}{name}"), &shape)?;
        state.tensors.insert(own, parameter.clone());
    }
    let last = if variant.is_bottleneck() { "bn3.weight" } else { "bn2.weight" };
    for name in identity.iter().filter(|name| name.ends_with(last)) {
        if let Some(scale) = state.tensors.get_mut(&format!("{prefix}{name}")) {
            scale.values.fill(0.0);
        }
    }
    Ok(Taken { parameters: from_file.len(), identity_blocks })
}

/// Writes the detector in `file`, which may have fewer residual blocks, over the detector in `state`: its backbone
/// as [`load_backbone`] does, everything else as it is. What `state` then computes is what `file` computes.
///
/// # Errors
/// If the backbone does not fit, or if a parameter outside it is missing or has another shape.
pub fn load_detector(
    state: &mut StateDict,
    variant: Variant,
    file: &StateDict,
) -> Result<Taken, BackboneError> {
    let mut taken = load_backbone(state, BODY, variant, file)?;
    for (name, own) in state.tensors.iter_mut().filter(|(name, _)| !name.starts_with(BODY)) {
        *own = file.parameter(name, &own.shape)?.clone();
        taken.parameters += 1;
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::LesionClasses;
    use crate::network::batch_norm::Statistics;
    use crate::network::{Architecture, MaskRcnnConfig, Task};
    use burn::tensor::{Device, Distribution, Tensor};

    fn fresh(variant: &str) -> (Variant, StateDict) {
        let variant: Variant = variant.parse().unwrap();
        let architecture = Architecture::paper(variant, Task::Segmentation, LesionClasses::Merge);
        (variant, MaskRcnnConfig::new(architecture).init(&Device::flex()).state())
    }

    /// As timm and torchvision write it, under a prefix of a training program.
    fn file(variant: &str) -> StateDict {
        let mut file = StateDict::default();
        for (name, parameter) in fresh(variant).1.tensors {
            if let Some(name) = name.strip_prefix(BODY) {
                file.tensors.insert(format!("module.{name}"), parameter);
            }
        }
        file
    }

    #[test]
    fn the_body_becomes_that_of_the_file_and_the_heads_stay() {
        let (variant, mut state) = fresh("resnet18t1");
        let (before, file) = (state.clone(), file("resnet18"));
        let taken = load_backbone(&mut state, BODY, variant, &file).unwrap();
        assert_eq!((taken.parameters, taken.identity_blocks), (75, 0));
        for (name, parameter) in &state.tensors {
            match name.strip_prefix(BODY) {
                Some(name) => assert_eq!(parameter, &file.tensors[&format!("module.{name}")]),
                None => assert_eq!(parameter, &before.tensors[name]),
            }
        }
    }

    #[test]
    fn blocks_that_a_shallower_file_lacks_start_as_the_identity() {
        let (variant, mut state) = fresh("resnet34t2");
        let taken = load_backbone(&mut state, BODY, variant, &file("resnet18")).unwrap();
        assert_eq!(taken.identity_blocks, 3);
        let scale = &state.tensors["backbone.body.layer2.3.bn2.weight"];
        assert!(scale.values.iter().all(|value| *value == 0.0));
        assert_eq!(state.tensors["backbone.body.layer2.1.bn2.weight"].values[0], 1.0);
    }

    #[test]
    fn a_deeper_detector_begins_as_the_shallower_one() {
        let (shallow, deep) = (fresh("resnet18t2").1, "resnet34t2".parse().unwrap());
        let mut state = fresh("resnet34t2").1;
        let taken = load_detector(&mut state, deep, &shallow).unwrap();
        assert_eq!((taken.parameters, taken.identity_blocks), (shallow.tensors.len(), 3));
        let device = Device::flex();
        let image = Tensor::<4>::random([1, 3, 64, 64], Distribution::Normal(0.0, 1.0), &device);
        let features = |state: &StateDict| {
            let architecture = Architecture::infer(state).unwrap();
            let network = MaskRcnnConfig::new(architecture).init_with(state, &device).unwrap();
            network.with_statistics(Statistics::Running).features(image.clone()).remove(0)
        };
        features(&state).into_data().assert_eq(&features(&shallow).into_data(), true);
    }

    #[test]
    fn a_detector_of_another_stride_begins_none() {
        let (shallow, deep) = (fresh("resnet18t1").1, "resnet34t2".parse().unwrap());
        let mut state = fresh("resnet34t2").1;
        let error = load_detector(&mut state, deep, &shallow).unwrap_err().to_string();
        assert!(error.contains("fpn"), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let load = |variant: &str, file: &StateDict| {
            let (variant, mut state) = fresh(variant);
            load_backbone(&mut state, BODY, variant, file).unwrap_err().to_string()
        };
        assert!(load("resnet18t1", &file("resnet34")).contains("layer1 has 3 blocks"));
        assert!(load("resnet18t1", &file("resnet50")).contains("three convolutions"));
        assert!(load("resnet18t1", &file("resnet18t2")).contains("layer3 has 0 blocks"));
        assert!(load("resnet18t1", &StateDict::default()).contains("conv1.weight"));
        let mut cut = file("resnet18");
        cut.tensors.remove("module.layer2.0.bn1.running_var");
        assert!(load("resnet18t1", &cut).contains("`layer2.0.bn1.running_var`"));
    }
}
