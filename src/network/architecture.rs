//! Which network: depth, truncation, task and classes (docs/method.md, 1.1, 1.7).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::classes::LesionClasses;
use crate::detection::AnchorGenerator;
use crate::network::weights::{StateDict, WeightsError};
use crate::unknown_name::UnknownName;

/// Begins the names of the feature module's parameters in a model's file.
pub const FEATURE_MODULE_PREFIX: &str = "s2new_features.";
/// What batch norm adds to a variance (PyTorch's default).
pub const BATCH_NORM_EPSILON: f64 = 1e-5;

/// Residual network under the feature pyramid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backbone {
    /// Two basic blocks a layer.
    ResNet18,
    /// 3, 4, 6, 3 basic blocks.
    ResNet34,
    /// 3, 4, 6, 3 bottleneck blocks; the paper's heavy baseline with four pyramid levels.
    ResNet50,
}

/// How many layers are cut off the end of the backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Truncation {
    /// All four layers: stride 32.
    Full,
    /// Without layer 4: stride 16.
    T1,
    /// Without layers 3 and 4: stride 8.
    T2,
}

impl Truncation {
    /// Layers that remain.
    pub fn layers(self) -> usize {
        match self {
            Self::Full => 4,
            Self::T1 => 3,
            Self::T2 => 2,
        }
    }
}

/// A backbone with its truncation, written `resnet18t1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Variant {
    /// Depth.
    pub backbone: Backbone,
    /// Cut.
    pub truncation: Truncation,
}

impl Variant {
    /// The six lightweight variants of the paper.
    pub const LIGHTWEIGHT: [Self; 6] = [
        Self::new(Backbone::ResNet18, Truncation::Full),
        Self::new(Backbone::ResNet18, Truncation::T1),
        Self::new(Backbone::ResNet18, Truncation::T2),
        Self::new(Backbone::ResNet34, Truncation::Full),
        Self::new(Backbone::ResNet34, Truncation::T1),
        Self::new(Backbone::ResNet34, Truncation::T2),
    ];
    /// The paper's baseline.
    pub const RESNET50: Self = Self::new(Backbone::ResNet50, Truncation::Full);

    /// A variant from its parts.
    pub const fn new(backbone: Backbone, truncation: Truncation) -> Self {
        Self { backbone, truncation }
    }

    /// Reads the variant of a residual network from the names of its parameters, which begin with `prefix`.
    ///
    /// # Errors
    /// If it is none that is known here.
    pub fn infer(state: &StateDict, prefix: &str) -> Result<Self, WeightsError> {
        let has = |name: String| state.tensors.contains_key(&name);
        let block =
            |layer: usize, index: usize| has(format!("{prefix}layer{layer}.{index}.conv1.weight"));
        let counts: Vec<usize> = (1..=4)
            .map(|layer| (0..64).take_while(|&index| block(layer, index)).count())
            .take_while(|&count| count > 0)
            .collect();
        let bottleneck = has(format!("{prefix}layer1.0.conv3.weight"));
        Self::LIGHTWEIGHT
            .into_iter()
            .chain([Self::RESNET50])
            .find(|variant| variant.blocks() == counts && variant.is_bottleneck() == bottleneck)
            .ok_or_else(|| WeightsError::Architecture {
                what: format!(
                    "a backbone with {counts:?} blocks; a ResNet alone is for `train --backbone`"
                ),
            })
    }

    /// Residual blocks in each layer that remains.
    pub fn blocks(self) -> Vec<usize> {
        let all = match self.backbone {
            Backbone::ResNet18 => [2, 2, 2, 2],
            Backbone::ResNet34 | Backbone::ResNet50 => [3, 4, 6, 3],
        };
        all[..self.truncation.layers()].to_vec()
    }

    /// Whether blocks are bottlenecks (1x1, 3x3, 1x1).
    pub fn is_bottleneck(self) -> bool {
        self.backbone == Backbone::ResNet50
    }

    /// Convolutions of the mask head and their channels (docs/method.md, 1.6).
    pub fn mask_head(self) -> (usize, usize) {
        if self.is_bottleneck() { (4, 256) } else { (1, 128) }
    }

    /// Channels of the maps that the pyramid takes in: the last layer's for the lightweight
    /// variants, all four for ResNet50.
    pub fn pyramid_channels(self) -> Vec<usize> {
        if self.is_bottleneck() {
            return vec![256, 512, 1024, 2048];
        }
        vec![32 << self.truncation.layers()]
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.backbone {
            Backbone::ResNet18 => "resnet18",
            Backbone::ResNet34 => "resnet34",
            Backbone::ResNet50 => "resnet50",
        })?;
        f.write_str(match self.truncation {
            Truncation::Full => "",
            Truncation::T1 => "t1",
            Truncation::T2 => "t2",
        })
    }
}

impl From<Variant> for String {
    fn from(variant: Variant) -> Self {
        variant.to_string()
    }
}

impl TryFrom<String> for Variant {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        name.parse()
    }
}

impl FromStr for Variant {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::LIGHTWEIGHT
            .into_iter()
            .chain([Self::RESNET50])
            .find(|variant| variant.to_string() == name.to_lowercase())
            .ok_or_else(|| UnknownName {
                what: "variant",
                name: name.into(),
                known: "resnet18, resnet18t1, resnet18t2, resnet34, resnet34t1, resnet34t2 and resnet50",
            })
    }
}

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Stage I: boxes and masks of lesions.
    Segmentation,
    /// Stage II: class of the slice.
    Classification,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Segmentation => "segmentation",
            Self::Classification => "classification",
        })
    }
}

/// Everything that fixes the shapes of a network's parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Backbone and truncation.
    pub variant: Variant,
    /// Classes of the detector.
    pub masks: LesionClasses,
    /// Anchors at every location.
    pub anchors: AnchorGenerator,
    /// Whether the mask branch is there.
    pub mask_branch: bool,
    /// Module S, if the network classifies: `(RoI batch, features)`.
    pub score_module: Option<(usize, usize)>,
    /// Whether a head that sees the backbone's features stands beside module S; not in the paper.
    #[serde(default)]
    pub feature_module: bool,
}

impl Architecture {
    /// The paper's network for a task (docs/method.md, 1 and 2.1).
    ///
    /// ResNet50 keeps its mask branch in the classifier and has a larger module S, as the paper's
    /// parameter counts say (docs/method.md, 1.7).
    pub fn paper(variant: Variant, task: Task, masks: LesionClasses) -> Self {
        let heavy = variant.is_bottleneck();
        Self {
            variant,
            masks,
            anchors: AnchorGenerator::default(),
            mask_branch: task == Task::Segmentation || heavy,
            score_module: (task == Task::Classification).then_some(if heavy {
                (256, 1024)
            } else {
                (128, 512)
            }),
            feature_module: false,
        }
    }

    /// Reads the architecture from the shapes of `state`.
    ///
    /// # Errors
    /// If the shapes are those of no network known here, with the first thing that does not fit.
    pub fn infer(state: &StateDict) -> Result<Self, WeightsError> {
        let unknown = |what: String| WeightsError::Architecture { what };
        let has = |name: &str| state.tensors.contains_key(name);
        let variant = Variant::infer(state, "backbone.body.")?;
        let rows = |name: &str| {
            state
                .shape(name)
                .and_then(|shape| shape.first().copied())
                .ok_or_else(|| WeightsError::Missing { name: name.into() })
        };
        let masks = match rows("roi_heads.box_predictor.cls_score.weight")? {
            2 => LesionClasses::Merge,
            3 => LesionClasses::Both,
            other => return Err(unknown(format!("a box predictor for {other} classes"))),
        };
        let anchors = state.anchors.clone().unwrap_or_default();
        let per_location = rows("rpn.head.cls_logits.weight")?;
        if per_location != anchors.anchors_per_location() {
            return Err(unknown(format!(
                "{per_location} anchors per location where the anchor sizes and ratios give {}",
                anchors.anchors_per_location()
            )));
        }
        let score_module = match state.shape("s2new.fc_scores.weight") {
            None => None,
            Some([features, inputs]) if inputs % 5 == 0 => Some((inputs / 5, *features)),
            Some(shape) => return Err(unknown(format!("module S with an input of {shape:?}"))),
        };
        Ok(Self {
            variant,
            masks,
            anchors,
            mask_branch: has("roi_heads.mask_head.mask_fcn1.weight"),
            score_module,
            feature_module: score_module.is_some()
                && has(&format!("{}fc.weight", FEATURE_MODULE_PREFIX)),
        })
    }
}
