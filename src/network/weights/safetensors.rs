//! `.safetensors`: how PyTorch, torchvision and timm exchange weights.

use std::collections::HashMap;

use ::safetensors::tensor::{Dtype, TensorView};
use ::safetensors::{SafeTensors, serialize};
use half::{bf16, f16};

use crate::network::weights::{Parameter, StateDict, WeightsError};

/// Keys of the file's metadata that hold what a [`StateDict`] has beside its tensors.
const ANCHORS: &str = "groundglass.anchors";
const METADATA: &str = "groundglass.metadata";

/// Whether the bytes begin like a safetensors file: the length of a JSON object, then the object.
pub fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
        && header_length(bytes).is_some_and(|length| length <= bytes.len() - 8)
}

fn header_length(bytes: &[u8]) -> Option<usize> {
    let length: [u8; 8] = bytes.get(..8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(length)).ok()
}

fn damaged(error: impl std::fmt::Display) -> WeightsError {
    WeightsError::Damaged { what: error.to_string() }
}

/// Reads a safetensors file; integers (counters) are left out.
pub fn read(bytes: &[u8]) -> Result<StateDict, WeightsError> {
    let mut state = StateDict::default();
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    if let Some(metadata) = header.metadata() {
        if let Some(anchors) = metadata.get(ANCHORS) {
            state.anchors = Some(serde_json::from_str(anchors).map_err(damaged)?);
        }
        if let Some(other) = metadata.get(METADATA) {
            state.metadata = serde_json::from_str(other).map_err(damaged)?;
        }
    }
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    for (name, tensor) in file.tensors() {
        let data = tensor.data();
        let values: Vec<f32> = match tensor.dtype() {
            Dtype::F64 => {
                data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()
            }
            Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => {
                data.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            Dtype::BF16 => {
                data.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
            }
            _ => continue,
        };
        state.insert(&name, Parameter { shape: tensor.shape().to_vec(), values });
    }
    if state.tensors.is_empty() {
        return Err(WeightsError::Format { what: "a safetensors file without weights".into() });
    }
    Ok(state)
}

/// Writes a safetensors file with every value as f32.
pub fn write(state: &StateDict) -> Result<Vec<u8>, WeightsError> {
    let bytes: Vec<(&String, &Parameter, Vec<u8>)> = state
        .tensors
        .iter()
        .map(|(name, parameter)| {
            let values = parameter.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, parameter, values)
        })
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, parameter, values) in &bytes {
        let view = TensorView::new(Dtype::F32, parameter.shape.clone(), values).map_err(damaged)?;
        views.push((name.as_str(), view));
    }
    let mut metadata = HashMap::new();
    if let Some(anchors) = &state.anchors {
        metadata.insert(ANCHORS.to_owned(), serde_json::to_string(anchors).map_err(damaged)?);
    }
    if !state.metadata.is_empty() {
        let text = serde_json::to_string(&state.metadata).map_err(damaged)?;
        metadata.insert(METADATA.to_owned(), text);
    }
    serialize(views, Some(metadata)).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::AnchorGenerator;

    fn state() -> StateDict {
        let mut state =
            StateDict { anchors: Some(AnchorGenerator::default()), ..StateDict::default() };
        state.metadata.insert("temperature".into(), "1.5".into());
        let values = vec![0.1, -1.0, f32::MIN_POSITIVE, 0.25, 8.0, -3.5];
        state.tensors.insert("kernel".into(), Parameter { shape: vec![2, 3], values });
        state
    }

    #[test]
    fn reading_gives_back_what_was_written_to_the_bit() {
        let bytes = write(&state()).unwrap();
        assert!(is_safetensors(&bytes));
        assert_eq!(read(&bytes).unwrap(), state());
    }

    #[test]
    fn a_cut_or_changed_file_is_an_error_and_never_a_crash() {
        let bytes = write(&state()).unwrap();
        for length in 0..bytes.len() {
            assert!(!is_safetensors(&bytes[..length]) || read(&bytes[..length]).is_err());
        }
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 0x11;
            let _ = read(&changed);
        }
    }
}
