//! What the integration tests share: where the reference data lies, and how to read it.

#![allow(dead_code, reason = "each test uses its own part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod dicom;
pub mod files;

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// Folder with `golden/` and `data/`: `$GROUNDGLASS_REFERENCE`, or `../shared`.
pub fn reference() -> PathBuf {
    std::env::var_os("GROUNDGLASS_REFERENCE")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"))
}

/// The tensors of a golden file.
pub struct Golden {
    bytes: Vec<u8>,
}

impl Golden {
    /// Opens `golden/NAME.safetensors`.
    pub fn open(name: &str) -> Self {
        Self::at(&reference().join("golden").join(format!("{name}.safetensors")))
    }

    /// Opens a file.
    pub fn at(path: &Path) -> Self {
        Self { bytes: std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())) }
    }

    /// A text of the file's metadata.
    pub fn metadata(&self, key: &str) -> String {
        let (_, header) = SafeTensors::read_metadata(&self.bytes).expect("a safetensors file");
        let texts = header.metadata().as_ref().expect("metadata");
        texts.get(key).unwrap_or_else(|| panic!("no {key}")).clone()
    }

    /// Values as f32, whatever they are stored as, and the shape.
    pub fn get(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let tensors = SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let view = tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::I32 => {
                data.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b) as f32).collect()
            }
            Dtype::I64 => {
                data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f32).collect()
            }
            Dtype::U8 | Dtype::BOOL => data.iter().map(|b| f32::from(*b)).collect(),
            other => panic!("{name}: {other:?}"),
        };
        (values, view.shape().to_vec())
    }

    /// Values alone.
    pub fn values(&self, name: &str) -> Vec<f32> {
        self.get(name).0
    }

    /// Rows of four as boxes.
    pub fn boxes(&self, name: &str) -> Vec<groundglass::detection::BBox> {
        self.values(name).as_chunks::<4>().0.iter().map(|b| (*b).into()).collect()
    }
}

/// Asserts that all values lie within `tolerance`, relative to the largest expected magnitude.
#[track_caller]
pub fn assert_close(what: &str, actual: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(actual.len(), expected.len(), "{what}: number of values");
    let largest = expected.iter().filter(|v| v.is_finite()).fold(1e-6f32, |m, v| m.max(v.abs()));
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let same = (a.is_nan() && e.is_nan()) || a == e || (a - e).abs() <= tolerance * largest;
        assert!(same, "{what}[{index}]: {a} is not {e} (largest {largest})");
    }
}

/// A PNG whose header promises 20000 x 20000 pixels.
pub fn png_header_bomb() -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend(20_000u32.to_be_bytes());
    header.extend(20_000u32.to_be_bytes());
    header.extend([8, 0, 0, 0, 0]);
    let step = |crc: u32, _| if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
    let crc = !header.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step));
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    png.extend(header);
    png.extend(crc.to_be_bytes());
    png.extend(b"\0\0\0\0IDAT");
    png
}
