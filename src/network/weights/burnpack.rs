//! `.bpk`: burn's container of named tensors, with our anchors in its metadata.

use burn::tensor::{Bytes, DType, Shape};
use burn_pack::{Reader, Tensor, Writer};
use half::f16;

use crate::network::weights::{Parameter, StateDict, WeightsError};

const ANCHORS: &str = "groundglass.anchors";
/// Metadata key of everything else that is known of the weights.
const METADATA: &str = "metadata";
/// `BURN` in little endian opens every burnpack file.
const MAGIC: [u8; 4] = 0x4255_524Eu32.to_le_bytes();

/// Whether the bytes look like a burnpack file.
pub fn is_pack(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

fn damaged(error: impl std::fmt::Display) -> WeightsError {
    WeightsError::Damaged { what: error.to_string() }
}

/// Reads a burnpack file.
pub fn read(bytes: &[u8]) -> Result<StateDict, WeightsError> {
    let reader = Reader::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(damaged)?;
    let mut state = StateDict::default();
    if let Some(anchors) = reader.metadata().get(ANCHORS) {
        state.anchors = Some(serde_json::from_str(anchors).map_err(damaged)?);
    }
    if let Some(metadata) = reader.metadata().get(METADATA) {
        state.metadata = serde_json::from_str(metadata).map_err(damaged)?;
    }
    for tensor in reader.into_tensors().map_err(damaged)? {
        let (name, dtype, shape, _, data) = tensor.into_parts().map_err(damaged)?;
        let shape: Vec<usize> = shape.iter().copied().collect();
        let values: Vec<f32> = match dtype {
            DType::F32 => {
                data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
            }
            DType::F16 => data
                .as_chunks::<2>()
                .0
                .iter()
                .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
                .collect(),
            other => return Err(damaged(format!("`{name}` has the type {other:?}"))),
        };
        let expected = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        if expected != Some(values.len()) {
            return Err(damaged(format!("`{name}` of {shape:?} has {} values", values.len())));
        }
        state.insert(&name, Parameter { shape, values });
    }
    Ok(state)
}

/// Type of matrices and kernels in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 16 bits: what ships.
    Half,
    /// 32 bits: what training continues with.
    Full,
}

/// Writes a burnpack file.
pub fn write(state: &StateDict, precision: Precision) -> Result<Vec<u8>, WeightsError> {
    let tensors = state
        .tensors
        .iter()
        .map(|(name, parameter)| {
            // Variances reach below f16's range, and vectors cost next to nothing.
            let (dtype, bytes) = if parameter.shape.len() > 1 && precision == Precision::Half {
                let half = parameter.values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes());
                (DType::F16, half.collect::<Vec<u8>>())
            } else {
                let full = parameter.values.iter().flat_map(|v| v.to_le_bytes());
                (DType::F32, full.collect())
            };
            let shape = Shape::from(parameter.shape.clone());
            Tensor::new(name.clone(), dtype, shape, None, Bytes::from_bytes_vec(bytes))
        })
        .collect();
    let mut writer = Writer::new(tensors);
    if let Some(anchors) = &state.anchors {
        let text = serde_json::to_string(anchors).map_err(damaged)?;
        writer = writer.with_metadata(ANCHORS, &text);
    }
    if !state.metadata.is_empty() {
        let text = serde_json::to_string(&state.metadata).map_err(damaged)?;
        writer = writer.with_metadata(METADATA, &text);
    }
    Ok(writer.into_bytes().map_err(damaged)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detection::AnchorGenerator;

    fn state() -> StateDict {
        let mut state =
            StateDict { anchors: Some(AnchorGenerator::default()), ..StateDict::default() };
        let kernel = Parameter { shape: vec![2, 3], values: vec![0.5, -1.0, 2.0, 0.25, 8.0, -3.5] };
        state.insert("kernel", kernel);
        state.insert("variance", Parameter { shape: vec![1], values: vec![1.3e-9] });
        state
    }

    #[test]
    fn reading_gives_back_what_was_written() {
        let bytes = write(&state(), Precision::Half).unwrap();
        assert!(is_pack(&bytes));
        assert_eq!(read(&bytes).unwrap(), state());
    }

    #[test]
    fn a_cut_or_changed_file_is_an_error_and_never_a_crash() {
        let bytes = write(&state(), Precision::Half).unwrap();
        for length in 0..bytes.len() {
            let _ = read(&bytes[..length]);
        }
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
        for position in 0..bytes.len().min(400) {
            let mut changed = bytes.clone();
            changed[position] ^= 0xff;
            let _ = read(&changed);
        }
    }
}
