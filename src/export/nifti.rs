//! The masks of a series as a NIfTI-1 volume.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::export::ExportError;
use crate::image::Plane;
use crate::report::{NOTICE, SliceReport};

const HEADER: usize = 352;
/// Millimetres, seconds.
const UNITS: u8 = 2 | 8;

/// A volume (`.nii.gz`) of classes: 0 background, 1 ground glass or lesion, 2 consolidation. Its axes run
/// along the rows, the columns and the slices as given; `first` and `distance_mm` place it in the
/// patient.
///
/// # Errors
/// If the slices have different sizes, are too many, or lie in the patient, but not evenly above each other.
pub fn mask_volume(
    slices: &[&SliceReport],
    first: Option<Plane>,
    distance_mm: Option<f64>,
) -> Result<Vec<u8>, ExportError> {
    let Some(slice) = slices.first() else { return Err(ExportError::Empty) };
    let (width, height) = (slice.width, slice.height);
    if let Some(other) = slices.iter().find(|s| (s.width, s.height) != (width, height)) {
        return Err(ExportError::Slices(format!(
            "the slices have different sizes, {width} x {height} and {} x {}",
            other.width, other.height
        )));
    }
    if first.is_some() && slices.len() > 1 && distance_mm.is_none() {
        return Err(ExportError::Slices("the slices do not lie evenly above each other, or some are missing: no volume holds them; masks as PNG or DICOM SEG do".into()));
    }
    let size = |length: usize| {
        let many = |_| ExportError::Slices(format!("{length} are more than NIfTI-1 can count"));
        i16::try_from(length).map_err(many)
    };
    let [rows_mm, columns_mm] = slice.spacing_mm.unwrap_or([1.0, 1.0]);
    let spacing = [columns_mm, rows_mm, distance_mm.unwrap_or(1.0)];
    let mut header = Header::new();
    header.put(0, &348i32.to_le_bytes());
    for (k, length) in
        [3, size(width)?, size(height)?, size(slices.len())?, 1, 1, 1, 1].into_iter().enumerate()
    {
        header.put(40 + 2 * k, &length.to_le_bytes());
    }
    // Unsigned bytes of 8 bits.
    header.put(70, &2i16.to_le_bytes());
    header.put(72, &8i16.to_le_bytes());
    header.put(76, &1f32.to_le_bytes());
    for (k, length) in spacing.into_iter().enumerate() {
        header.put(80 + 4 * k, &(length as f32).to_le_bytes());
    }
    header.put(108, &(HEADER as f32).to_le_bytes());
    header.put(112, &1f32.to_le_bytes());
    header.put(123, &[UNITS]);
    header.put(148, format!("groundglass masks. {NOTICE}").as_bytes());
    if slices.iter().any(|slice| slice.has_edited_lesions(None)) {
        // `aux_file`, of 24 bytes: the description has no room left.
        header.put(228, b"edited by a reader");
    }
    if let Some(plane) = first {
        // Scanner coordinates; towards right and front where DICOM counts to left and back.
        header.put(254, &1i16.to_le_bytes());
        let directions = [plane.along_row, plane.along_column, plane.normal()];
        for (k, sign) in [-1.0, -1.0, 1.0].into_iter().enumerate() {
            let row = [0, 1, 2].map(|axis| sign * directions[axis][k] * spacing[axis]);
            for (column, value) in row.into_iter().chain([sign * plane.origin[k]]).enumerate() {
                header.put(280 + 16 * k + 4 * column, &(value as f32).to_le_bytes());
            }
        }
    }
    header.put(344, b"n+1\0");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let encoding = |error: std::io::Error| ExportError::Encoding(error.to_string());
    let mut write = |bytes: &[u8]| encoder.write_all(bytes).map_err(encoding);
    write(&header.0)?;
    for slice in slices {
        write(&slice.label_map())?;
    }
    encoder.finish().map_err(encoding)
}

struct Header([u8; HEADER]);

impl Header {
    fn new() -> Self {
        Self([0; HEADER])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
}
