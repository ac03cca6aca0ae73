//! The author's `.pth` files: legacy pickles (torch 1.1) and zip archives (docs/method.md, 7).

use std::collections::HashMap;
use std::io::{Cursor, Read};

use half::{bf16, f16};

use crate::detection::AnchorGenerator;
use crate::network::weights::pickle::{self, ByteReader, Pickle, Value, ValueId};
use crate::network::weights::{Parameter, StateDict, WeightsError};

/// `0x1950a86a20f9469cfc6c`, as the pickle reader spells long integers.
const LEGACY_MAGIC: &str = "1950a86a20f9469cfc6c";
/// Values of the largest checkpoint accepted: ten times ResNet50 with optimizer state.
const MAX_ELEMENTS: usize = 1_000_000_000;

fn damaged(what: impl Into<String>) -> WeightsError {
    WeightsError::Damaged { what: what.into() }
}

/// Reads a checkpoint of either layout.
pub fn read(bytes: &[u8]) -> Result<StateDict, WeightsError> {
    if bytes.starts_with(b"PK\x03\x04") { read_zip(bytes) } else { read_legacy(bytes) }
}

fn read_legacy(bytes: &[u8]) -> Result<StateDict, WeightsError> {
    let mut cursor = ByteReader::new(bytes);
    let not_a_checkpoint =
        |_| WeightsError::Format { what: "it does not start like a checkpoint".into() };
    let magic = pickle::read(&mut cursor).map_err(not_a_checkpoint)?;
    if magic.root() != &Value::Text(LEGACY_MAGIC.into()) {
        return Err(WeightsError::Format { what: "PyTorch's magic number is missing".into() });
    }
    pickle::read(&mut cursor)?;
    pickle::read(&mut cursor)?;
    let object = pickle::read(&mut cursor)?;
    let keys = pickle::read(&mut cursor)?;
    let Value::Sequence(ids) = keys.root() else {
        return Err(damaged("it lists no storages"));
    };
    let declared = declared_storages(&object)?;
    let mut storages = HashMap::new();
    for id in ids {
        let key = keys.text(*id).ok_or_else(|| damaged("a storage without name"))?;
        let kind =
            declared.get(key).ok_or_else(|| damaged(format!("no tensor uses storage {key}")))?;
        let count =
            usize::try_from(cursor.int64()?).map_err(|_| damaged("a negative storage size"))?;
        let length = count
            .checked_mul(kind.bytes())
            .ok_or_else(|| damaged("a storage size that overflows"))?;
        storages.insert(key.to_owned(), kind.decode(cursor.take(length)?));
    }
    collect(&object, &storages)
}

fn read_zip(bytes: &[u8]) -> Result<StateDict, WeightsError> {
    let broken = |error: zip::result::ZipError| damaged(error.to_string());
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let pickle_name = archive
        .file_names()
        .filter_map(Result::ok)
        .find(|name| name.ends_with("/data.pkl"))
        .map(|name| name.into_owned())
        .ok_or_else(|| WeightsError::Format { what: "a zip archive without data.pkl".into() })?;
    let mut read_member = |name: &str| -> Result<Vec<u8>, WeightsError> {
        let member = archive.by_name(name).map_err(broken)?;
        // PyTorch stores without compression, so no member is longer than the file.
        if member.size() > bytes.len() as u64 {
            return Err(WeightsError::TooLarge { what: format!("the archive member {name}") });
        }
        let mut content = Vec::with_capacity(member.size() as usize);
        member
            .take(bytes.len() as u64)
            .read_to_end(&mut content)
            .map_err(|error| damaged(format!("{name}: {error}")))?;
        Ok(content)
    };
    let program = read_member(&pickle_name)?;
    let object = pickle::read(&mut ByteReader::new(&program))?;
    let folder = pickle_name.trim_end_matches("data.pkl");
    let mut storages = HashMap::new();
    for (key, kind) in declared_storages(&object)? {
        let content = read_member(&format!("{folder}data/{key}"))?;
        storages.insert(key, kind.decode(&content));
    }
    collect(&object, &storages)
}

/// Element type of a storage.
#[derive(Clone, Copy)]
enum Element {
    F64,
    F32,
    F16,
    Bf16,
    /// Counters and indices; read past, never used.
    Other(usize),
}

impl Element {
    fn of_class(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("torch ")? {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::Other(8),
            "IntStorage" => Self::Other(4),
            "ShortStorage" => Self::Other(2),
            "CharStorage" | "ByteStorage" | "BoolStorage" => Self::Other(1),
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(bytes) => bytes,
        }
    }

    /// The values of a storage; nothing for counters.
    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => {
                bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()
            }
            Self::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Self::F16 => {
                bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()
            }
            Self::Bf16 => {
                bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()
            }
            Self::Other(_) => Vec::new(),
        }
    }
}

/// Key and element type of every storage that the pickle refers to.
fn declared_storages(object: &Pickle) -> Result<HashMap<String, Element>, WeightsError> {
    let mut declared = HashMap::new();
    let mut total = 0usize;
    for value in object.values() {
        let Value::Persistent(id) = value else { continue };
        let Value::Sequence(parts) = object.get(*id) else { continue };
        let [tag, class, key, _, count, ..] = parts[..] else { continue };
        if object.text(tag) != Some("storage") {
            continue;
        }
        let (Value::Global(class), Some(key)) = (object.get(class), object.text(key)) else {
            return Err(damaged("a storage without type or name"));
        };
        let element = Element::of_class(class)
            .ok_or_else(|| damaged(format!("a storage of the unknown type {class}")))?;
        if declared.insert(key.to_owned(), element).is_none() {
            total = total.saturating_add(object.number(count).unwrap_or(0.0) as usize);
        }
    }
    if total > MAX_ELEMENTS {
        return Err(WeightsError::TooLarge { what: format!("it declares {total} values") });
    }
    Ok(declared)
}

/// The weights and the anchors of the pickled object.
fn collect(
    object: &Pickle,
    storages: &HashMap<String, Vec<f32>>,
) -> Result<StateDict, WeightsError> {
    let root = object.root();
    let weights = ["model_weights", "state_dict", "model"]
        .iter()
        .find_map(|key| object.entry(root, key))
        .unwrap_or(root);
    let Value::Dict(entries) = weights else {
        return Err(WeightsError::Format { what: "a pickle that holds no weights".into() });
    };
    let mut state = StateDict { anchors: anchors(object), ..StateDict::default() };
    for (name, value) in entries {
        let Some(name) = object.text(*name) else { continue };
        if name.ends_with("num_batches_tracked") {
            continue;
        }
        if let Some(parameter) =
            tensor(object, *value, storages).map_err(|what| damaged(format!("`{name}`: {what}")))?
        {
            state.insert(name, parameter);
        }
    }
    if state.tensors.is_empty() {
        return Err(WeightsError::Format { what: "a pickle that holds no weights".into() });
    }
    Ok(state)
}

/// The tensor that a `_rebuild_tensor_v2` call describes; `None` if it is something else.
fn tensor(
    object: &Pickle,
    id: ValueId,
    storages: &HashMap<String, Vec<f32>>,
) -> Result<Option<Parameter>, &'static str> {
    let Value::Call { callable, arguments, .. } = object.get(id) else { return Ok(None) };
    if object.get(*callable) != &Value::Global("torch._utils _rebuild_tensor_v2".into()) {
        return Ok(None);
    }
    let Value::Sequence(arguments) = object.get(*arguments) else {
        return Err("a tensor without arguments");
    };
    let [storage, offset, shape, strides, ..] = arguments[..] else {
        return Err("a tensor with too few arguments");
    };
    let Value::Persistent(reference) = object.get(storage) else {
        return Err("a tensor without storage");
    };
    let Value::Sequence(reference) = object.get(*reference) else {
        return Err("a tensor with a malformed storage");
    };
    let key = reference.get(2).and_then(|key| object.text(*key)).ok_or("a storage without name")?;
    let values = storages.get(key).ok_or("a storage that is not in the file")?;
    let shape = object.sizes(shape).ok_or("a malformed shape")?;
    let strides = object.sizes(strides).ok_or("malformed strides")?;
    let Value::Int(offset) = object.get(offset) else { return Err("a malformed offset") };
    let offset = usize::try_from(*offset).map_err(|_| "a negative offset")?;
    if shape.len() != strides.len() {
        return Err("as many strides as dimensions were expected");
    }
    let count = shape
        .iter()
        .try_fold(1usize, |product, side| product.checked_mul(*side))
        .filter(|count| *count <= values.len())
        .ok_or("it is larger than its storage")?;
    let mut gathered = Vec::with_capacity(count);
    let mut index = vec![0usize; shape.len()];
    for _ in 0..count {
        let position = index
            .iter()
            .zip(&strides)
            .try_fold(offset, |sum, (i, stride)| sum.checked_add(i.checked_mul(*stride)?))
            .ok_or("strides that overflow")?;
        gathered.push(*values.get(position).ok_or("it reaches beyond its storage")?);
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            if index[dimension] < shape[dimension] {
                break;
            }
            index[dimension] = 0;
        }
    }
    Ok(Some(Parameter { shape, values: gathered }))
}

/// Sizes and ratios of the pickled AnchorGenerator; of each, the entry of the first level.
fn anchors(object: &Pickle) -> Option<AnchorGenerator> {
    let generator = object.entry(object.root(), "anchor_generator")?;
    let Value::Call { state: Some(state), .. } = generator else { return None };
    let first_level = |name: &str| -> Option<Vec<f32>> {
        let Value::Sequence(levels) = object.entry(object.get(*state), name)? else { return None };
        let Value::Sequence(values) = object.get(*levels.first()?) else { return None };
        values.iter().map(|value| object.number(*value).map(|v| v as f32)).collect()
    };
    Some(AnchorGenerator {
        sizes: first_level("sizes")?,
        aspect_ratios: first_level("aspect_ratios")?,
    })
}
