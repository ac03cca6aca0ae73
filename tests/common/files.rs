//! Archives and volumes.

use std::io::{Cursor, Write};

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// A zip archive of members with these names.
pub fn zip_of<N: ToString, B: AsRef<[u8]>>(
    members: impl IntoIterator<Item = (N, B)>,
    method: CompressionMethod,
) -> Vec<u8> {
    let options = SimpleFileOptions::default().compression_method(method);
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(name.to_string(), options).expect("a member");
        writer.write_all(bytes.as_ref()).expect("memory");
    }
    writer.finish().expect("memory").into_inner()
}

/// A NIfTI-1 file of 16-bit values, first axis fastest, voxels `spacing` millimetres apart; placed by `affine`, its rows,
/// where there is one, else by a quaternion that turns nothing.
pub fn nifti(
    size: [i16; 3],
    spacing: [f32; 3],
    affine: Option<[[f32; 4]; 3]>,
    values: impl IntoIterator<Item = i16>,
) -> Vec<u8> {
    let mut bytes = vec![0u8; 352];
    let mut put = |place: usize, value: &[u8]| bytes[place..][..value.len()].copy_from_slice(value);
    put(0, &348i32.to_le_bytes());
    put(40, &3i16.to_le_bytes());
    for (axis, size) in size.into_iter().chain([1; 4]).enumerate() {
        put(42 + 2 * axis, &size.to_le_bytes());
    }
    // Signed, 16 bits.
    put(70, &[4, 0, 16, 0]);
    for (axis, spacing) in [1.0].into_iter().chain(spacing).enumerate() {
        put(76 + 4 * axis, &spacing.to_le_bytes());
    }
    put(108, &352f32.to_le_bytes());
    let by_affine = affine.is_some();
    put(if by_affine { 254 } else { 252 }, &1i16.to_le_bytes());
    for (place, value) in affine.into_iter().flatten().flatten().enumerate() {
        put(280 + 4 * place, &value.to_le_bytes());
    }
    put(344, b"n+1\0");
    bytes.extend(values.into_iter().flat_map(i16::to_le_bytes));
    bytes
}
