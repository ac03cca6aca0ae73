//! Named weights between files and networks: `.bpk` (ours) and the author's `.pth`.

mod burnpack;
#[cfg(not(target_arch = "wasm32"))]
mod checkpoint;
#[cfg(not(target_arch = "wasm32"))]
mod pickle;
#[cfg(not(target_arch = "wasm32"))]
mod safetensors;

use std::collections::BTreeMap;

use thiserror::Error;

use self::burnpack::Precision;

use crate::detection::AnchorGenerator;

/// Why weights could not be used. The messages leave out the file: the caller knows its name.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// Neither a `.bpk` nor a PyTorch checkpoint nor a safetensors file.
    #[error("this is neither a .bpk nor a .pth nor a .safetensors file: {what}")]
    Format {
        /// What was found.
        what: String,
    },
    /// A file that ends too early or contradicts itself.
    #[error("the file is damaged: {what}")]
    Damaged {
        /// What does not fit.
        what: String,
    },
    /// A file that asks for more memory than any known model.
    #[error("the file is too large: {what}")]
    TooLarge {
        /// What is too large.
        what: String,
    },
    /// A parameter that the network has and the file has not.
    #[error("the parameter `{name}` is missing; is this a checkpoint of another network?")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A parameter of another shape.
    #[error("the parameter `{name}` has the shape {found:?}, the network needs {expected:?}")]
    Shape {
        /// Its name.
        name: String,
        /// Shape in the file.
        found: Vec<usize>,
        /// Shape in the network.
        expected: Vec<usize>,
    },
    /// A parameter with NaN or infinity.
    #[error("the parameter `{name}` holds NaN or infinity; the training that wrote it diverged")]
    NotFinite {
        /// Its name.
        name: String,
    },
    /// Shapes of no known network.
    #[error("no known network has {what}")]
    Architecture {
        /// What is unknown.
        what: String,
    },
    /// A model without the branch that was asked for.
    #[error("the model has no {branch}, so it cannot be used for {task}")]
    Branch {
        /// The missing branch.
        branch: &'static str,
        /// What it is needed for.
        task: &'static str,
    },
}

/// One parameter or buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// A network's parameters and buffers by the author's names (docs/method.md, 7).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StateDict {
    /// Name to values. Counters (`num_batches_tracked`) are left out.
    pub tensors: BTreeMap<String, Parameter>,
    /// The anchors the network was trained with, if the file tells.
    pub anchors: Option<AnchorGenerator>,
    /// Provenance and recommended settings of the weights, by name.
    pub metadata: BTreeMap<String, String>,
}

impl StateDict {
    /// Reads `.bpk` or, natively, an author's `.pth` or `.safetensors`, whichever `bytes` are.
    ///
    /// # Errors
    /// If the bytes are neither, are damaged, or are too large.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        if bytes.is_empty() {
            return Err(WeightsError::Format { what: "it is empty".into() });
        }
        if burnpack::is_pack(bytes) {
            return burnpack::read(bytes);
        }
        read_checkpoint(bytes)
    }

    /// Writes `.bpk`: matrices and kernels as f16, vectors (biases, norms) as f32.
    ///
    /// # Errors
    /// If the container cannot be written.
    pub fn to_pack(&self) -> Result<Vec<u8>, WeightsError> {
        burnpack::write(self, Precision::Half)
    }

    /// Writes `.bpk` with every value as it is, for a run that is to continue.
    ///
    /// # Errors
    /// If the container cannot be written.
    pub fn to_exact_pack(&self) -> Result<Vec<u8>, WeightsError> {
        burnpack::write(self, Precision::Full)
    }

    /// Writes `.safetensors`: every value as f32 under the author's names, anchors and metadata as texts.
    ///
    /// # Errors
    /// If the container cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn to_safetensors(&self) -> Result<Vec<u8>, WeightsError> {
        safetensors::write(self)
    }

    /// Only the tensors that `keep` accepts by name.
    pub fn filtered(mut self, keep: impl Fn(&str) -> bool) -> Self {
        self.tensors.retain(|name, _| keep(name));
        self
    }

    /// Shape of a parameter.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|parameter| parameter.shape.as_slice())
    }

    /// A parameter of a known shape.
    ///
    /// # Errors
    /// If it is missing, has another shape, or holds NaN or infinity.
    pub fn parameter(&self, name: &str, expected: &[usize]) -> Result<&Parameter, WeightsError> {
        let Some(parameter) = self.tensors.get(name) else {
            return Err(WeightsError::Missing { name: name.into() });
        };
        if parameter.shape != expected {
            let (found, expected) = (parameter.shape.clone(), expected.to_vec());
            return Err(WeightsError::Shape { name: name.into(), found, expected });
        }
        if !parameter.values.iter().all(|value| value.is_finite()) {
            return Err(WeightsError::NotFinite { name: name.into() });
        }
        Ok(parameter)
    }

    /// Whether both files hold the same detector up to its boxes: backbone, proposals, box head.
    ///
    /// Then the detector's and the classifier's work up to the box predictions is the same.
    pub fn shares_detector_with(&self, other: &Self) -> bool {
        const PARTS: [&str; 4] =
            ["backbone.", "rpn.", "roi_heads.box_head.", "roi_heads.box_predictor."];
        fn detector(state: &StateDict) -> impl Iterator<Item = (&String, &Parameter)> {
            state.tensors.iter().filter(|(name, _)| PARTS.iter().any(|part| name.starts_with(part)))
        }
        self.anchors == other.anchors && detector(self).eq(detector(other))
    }

    /// Adds a tensor under the author's name for it; names of newer torchvision are translated.
    fn insert(&mut self, name: &str, parameter: Parameter) {
        let name = name
            .replace("inner_blocks.0.0.", "inner_blocks.0.")
            .replace("layer_blocks.0.0.", "layer_blocks.0.")
            .replace("rpn.head.conv.0.0.", "rpn.head.conv.");
        self.tensors.insert(name, parameter);
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn read_checkpoint(bytes: &[u8]) -> Result<StateDict, WeightsError> {
    if safetensors::is_safetensors(bytes) {
        return safetensors::read(bytes);
    }
    checkpoint::read(bytes)
}

#[cfg(target_arch = "wasm32")]
fn read_checkpoint(_: &[u8]) -> Result<StateDict, WeightsError> {
    let what = "only .bpk is read here; turn a .pth into one with `groundglass import`";
    Err(WeightsError::Format { what: what.into() })
}
