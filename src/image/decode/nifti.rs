//! NIfTI-1 volumes (`.nii`, `.nii.gz`) as axial slices.

use std::io::Read;

use nifti::volume::inmem::InMemNiftiVolume;
use nifti::{NiftiHeader, NiftiVolume, RandomAccessNiftiVolume};

use crate::image::decode::limits::{MAX_SIDE, check_size};
use crate::image::decode::{Budget, ImageError, RawSlice, SliceHeader, Values};
use crate::image::plane::unit;
use crate::image::{Plane, Warning};

const HEADER: usize = 348;
/// Offset of the magic bytes.
const MAGIC: usize = 344;
/// Air around a patient is below this, in Hounsfield units.
const AIR: f32 = -500.0;

/// A volume in memory, seen as axial slices from the feet to the head.
#[derive(Debug)]
pub struct NiftiSlices {
    volume: InMemNiftiVolume,
    /// Voxel axis that runs along a row, along a column, and across the slices.
    axes: [usize; 3],
    /// Whether each of them is walked from its far end.
    flipped: [bool; 3],
    /// Voxels along each of them.
    sizes: [usize; 3],
    /// Millimetres along each of them.
    spacing: [f64; 3],
    /// From a slice to the next, in patient millimetres: not along the normal where the volume is sheared.
    step: [f64; 3],
    /// Place of the first slice, if the file tells.
    first: Option<Plane>,
    /// What the user should know about all slices.
    warnings: Vec<Warning>,
}

/// Whether the bytes are a volume of the second version, which is not read.
pub fn is_second_version(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1c, 2, 0, 0]) && bytes.get(4..7) == Some(b"n+2")
}

/// Whether the bytes are a volume, compressed or not.
pub fn is_nifti(bytes: &[u8]) -> bool {
    let mut header = Vec::new();
    if is_gzip(bytes) {
        let mut unpacked = flate2::read::MultiGzDecoder::new(bytes).take(HEADER as u64);
        if unpacked.read_to_end(&mut header).is_err() {
            return false;
        }
    } else {
        header.extend(bytes.iter().take(HEADER));
    }
    header.get(MAGIC..MAGIC + 3).is_some_and(|magic| magic == b"n+1" || magic == b"ni1")
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1f, 0x8b])
}

/// What the crate says; of its own it quotes Rust.
fn from_crate(error: nifti::NiftiError) -> ImageError {
    match error {
        nifti::NiftiError::Io(error) => damaged(error),
        error => damaged(error),
    }
}

fn damaged(reason: impl ToString) -> ImageError {
    ImageError::Damaged { format: "NIfTI", reason: reason.to_string() }
}

/// By so much deflated data grow at most, with room.
const MOST_GROWTH: u64 = 1100;
/// Where the voxels begin in a file without extensions.
const FIRST_VOXEL: f32 = 352.0;
/// Bytes behind the voxels that are read to reach the checksum of a compressed file.
const MAX_REST: u64 = 64 << 20;
/// Most bytes of extensions between header and voxels.
const MAX_EXTENSIONS: f32 = (16 << 20) as f32;

/// Reads a volume. A compressed one is unpacked as far as its header says it goes.
///
/// # Errors
/// If it is damaged, no volume of slices, or larger than `budget`.
pub fn open(bytes: &[u8], budget: &mut Budget) -> Result<NiftiSlices, ImageError> {
    let before = budget.left();
    let most = bytes.len() as u64 * if is_gzip(bytes) { MOST_GROWTH } else { 1 };
    let volume = match is_gzip(bytes) {
        true => open_stream(&mut flate2::read::MultiGzDecoder::new(bytes), most, budget),
        false => open_stream(&mut &*bytes, most, budget),
    };
    // What is refused leaves room for the volumes after it.
    volume.inspect_err(|_| budget.give_back(before - budget.left()))
}

/// `most` is what the stream can hold at all.
fn open_stream(
    stream: &mut impl Read,
    most: u64,
    budget: &mut Budget,
) -> Result<NiftiSlices, ImageError> {
    let mut start = [0; HEADER];
    stream.read_exact(&mut start).map_err(|_| damaged("the header is cut off"))?;
    if start[MAGIC..].starts_with(b"ni1") {
        let what = "the voxels are in another file (.img); convert the pair to one .nii".into();
        return Err(ImageError::Unsupported { format: "NIfTI", what });
    }
    let mut header = NiftiHeader::from_reader(&start[..]).map_err(from_crate)?;
    if !header.scl_slope.is_finite() {
        // As other readers do: such a slope scales nothing.
        (header.scl_slope, header.scl_inter) = (0.0, 0.0);
    }
    if !header.scl_inter.is_finite() {
        return Err(damaged(format!("its values are shifted by {}", header.scl_inter)));
    }
    in_millimetres(&mut header);
    let used = usize::from(header.dim[0].min(7));
    if header.dim[1..=used].iter().any(|size| *size > i16::MAX as u16) {
        return Err(damaged("a size is negative"));
    }
    let dim = header.dim().map_err(from_crate)?;
    let size = |axis: usize| dim.get(axis).map_or(1, |size| usize::from(*size));
    if dim.len() < 2 || dim.iter().skip(3).any(|size| *size > 1) {
        let what = format!("a volume of the dimensions {dim:?}; three are read");
        return Err(ImageError::Unsupported { format: "NIfTI", what });
    }
    let voxels = [size(0), size(1), size(2)];
    // Whatever lies across, two axes are those of a picture.
    if voxels.iter().filter(|side| **side > MAX_SIDE).count() > 1 {
        let [width, height, _] = voxels.map(|side| side as u64);
        return Err(ImageError::Size { width, height });
    }
    // None, or where the header ends: right behind it and its four bytes of extensions.
    let offset = if header.vox_offset == 0.0 { FIRST_VOXEL } else { header.vox_offset };
    if !(FIRST_VOXEL..=MAX_EXTENSIONS).contains(&offset) {
        return Err(damaged(format!("the voxels would begin at byte {offset}")));
    }
    // The crate counts bytes by `bitpix` and reads voxels by the type: both are in the file.
    let bytes_per_voxel = header.data_type().map_err(from_crate)?.size_of();
    if usize::from(header.bitpix.unsigned_abs()) != bytes_per_voxel * 8 {
        let bits = header.bitpix;
        return Err(damaged(format!("{bits} bits a voxel, and a type of {bytes_per_voxel} bytes")));
    }
    let needed = voxels.iter().try_fold(bytes_per_voxel, |bytes, side| bytes.checked_mul(*side));
    let needed = needed.ok_or_else(|| damaged("its size is no number"))? as u64;
    if needed > most {
        return Err(damaged(format!("its voxels take {needed} bytes, which the file cannot hold")));
    }
    budget.take(needed)?;
    let gap = (offset as u64).saturating_sub(HEADER as u64);
    let volume = std::io::copy(&mut stream.by_ref().take(gap), &mut std::io::sink())
        .map_err(damaged)
        .and_then(|_| InMemNiftiVolume::from_reader(stream.by_ref(), &header).map_err(from_crate));
    let volume = volume?;
    // The checksum of a compressed file lies at its end.
    let rest = match std::io::copy(&mut stream.take(MAX_REST), &mut std::io::sink()) {
        // Padding behind a whole stream, as some tools leave it: the checksum has been read.
        Err(error) if error.to_string().contains("gzip header") => Ok(MAX_REST),
        rest => rest.map_err(damaged),
    }?;

    let mut warnings = Vec::new();
    if rest == MAX_REST {
        warnings.push(Warning::TrailingData);
    }
    let affine = affine(&header);
    let pixdim = [1, 2, 3].map(|k| f64::from(header.pixdim[k].abs()));
    let columns = match &affine {
        Some(affine) => [0, 1, 2].map(|axis| [affine[0][axis], affine[1][axis], affine[2][axis]]),
        None => {
            warnings.push(Warning::UnknownOrientation);
            let [x, y, z] = pixdim;
            [[-x, 0.0, 0.0], [0.0, -y, 0.0], [0.0, 0.0, z]]
        }
    };
    // For every patient axis (left, back, head) the voxel axis that runs most along it.
    let (axes, signs) = closest_axes(columns).ok_or_else(|| damaged("its axes are not three"))?;
    let sizes = axes.map(|axis| voxels[axis]);
    check_size(sizes[0] as u64, sizes[1] as u64)?;
    let flipped = signs.map(|sign| sign < 0.0);
    let length = |v: [f64; 3]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let spacing = axes.map(|axis| length(columns[axis]));
    let first = affine.as_ref().and_then(|affine| {
        let mut corner = [0.0; 3];
        for k in 0..3 {
            corner[axes[k]] = if flipped[k] { (sizes[k] - 1) as f64 } else { 0.0 };
        }
        let place =
            |row: &[f64; 4]| row[3] + (0..3).map(|axis| row[axis] * corner[axis]).sum::<f64>();
        let direction = |k: usize| unit(columns[axes[k]].map(|x| x * signs[k]));
        Some(Plane {
            origin: [place(&affine[0]), place(&affine[1]), place(&affine[2])],
            along_row: direction(0)?,
            along_column: direction(1)?,
        })
    });
    warnings.extend(first.as_ref().and_then(Plane::warning));
    let step = columns[axes[2]].map(|x| x * signs[2]);
    let slices = NiftiSlices { volume, axes, flipped, sizes, spacing, step, first, warnings };
    slices.checked()
}

/// Lengths in metres or micrometres become millimetres.
fn in_millimetres(header: &mut NiftiHeader) {
    let factor = match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        _ => return,
    };
    header.pixdim[1..4].iter_mut().for_each(|length| *length *= factor);
    for row in [&mut header.srow_x, &mut header.srow_y, &mut header.srow_z] {
        row.iter_mut().for_each(|length| *length *= factor);
    }
    for length in [&mut header.quatern_x, &mut header.quatern_y, &mut header.quatern_z] {
        *length *= factor;
    }
}

/// For left, back and head: the voxel axis closest to it, and whether it runs there (1) or away (-1).
fn closest_axes(columns: [[f64; 3]; 3]) -> Option<([usize; 3], [f64; 3])> {
    let directions = [unit(columns[0])?, unit(columns[1])?, unit(columns[2])?];
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let along = |order: &[usize; 3]| (0..3).map(|k| directions[order[k]][k].abs()).sum::<f64>();
    let best = orders.into_iter().max_by(|a, b| along(a).total_cmp(&along(b)))?;
    Some((best, [0, 1, 2].map(|k| directions[best[k]][k].signum())))
}

/// Rows of the affine from voxels to patient coordinates, left, back and head counting up; `None` if
/// the file does not place its voxels.
fn affine(header: &NiftiHeader) -> Option<[[f64; 4]; 3]> {
    let rows = if header.sform_code > 0 {
        [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from))
    } else if header.qform_code > 0 {
        quaternion_rows(header)
    } else {
        return None;
    };
    // NIfTI counts towards right, front and head; DICOM towards left, back and head.
    let [x, y, z] = rows;
    let rows = [x.map(|v| -v), y.map(|v| -v), z];
    rows.iter().flatten().all(|value| value.is_finite()).then_some(rows)
}

fn quaternion_rows(header: &NiftiHeader) -> [[f64; 4]; 3] {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    let pixdim = header.pixdim.map(f64::from);
    let handed = if pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let shift = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    [0, 1, 2].map(|row| {
        let [x, y, z] = rotation[row];
        [x * pixdim[1], y * pixdim[2], z * pixdim[3] * handed, shift[row]]
    })
}

impl NiftiSlices {
    /// Warns of values that are no Hounsfield units.
    fn checked(mut self) -> Result<Self, ImageError> {
        let values = self.values(self.sizes[2] / 2)?;
        if values.iter().all(|value| *value >= AIR) {
            self.warnings.push(Warning::NoAir);
        }
        Ok(self)
    }

    /// One header for every slice.
    pub fn headers(&self) -> Vec<SliceHeader> {
        (0..self.sizes[2])
            .map(|frame| SliceHeader {
                width: self.sizes[0],
                height: self.sizes[1],
                frame,
                number: Some(frame as i64 + 1),
                plane: self.plane(frame),
                spacing_mm: Some([self.spacing[1], self.spacing[0]]),
                ..SliceHeader::default()
            })
            .collect()
    }

    fn plane(&self, frame: usize) -> Option<Plane> {
        let first = self.first?;
        let origin = [0, 1, 2].map(|k| first.origin[k] + self.step[k] * frame as f64);
        Some(Plane { origin, ..first })
    }

    fn values(&self, frame: usize) -> Result<Vec<f32>, ImageError> {
        let [width, height, _] = self.sizes;
        let rank = self.volume.dim().len();
        let mut values = Vec::with_capacity(width * height);
        let mut at = [0u16; 3];
        let walk = |k: usize, index: usize| {
            (if self.flipped[k] { self.sizes[k] - 1 - index } else { index }) as u16
        };
        at[self.axes[2]] = walk(2, frame);
        for y in 0..height {
            at[self.axes[1]] = walk(1, y);
            for x in 0..width {
                at[self.axes[0]] = walk(0, x);
                let mut place = [0u16; 8];
                place[..3].copy_from_slice(&at);
                values.push(self.volume.get_f32(&place[..rank]).map_err(from_crate)?);
            }
        }
        Ok(values)
    }

    /// Reads slice `frame`, from 0.
    ///
    /// # Errors
    /// If there is no such slice.
    pub fn read(&self, frame: usize) -> Result<RawSlice, ImageError> {
        let [width, height, count] = self.sizes;
        if frame >= count {
            return Err(damaged(format!("slice {} of {count} was asked for", frame + 1)));
        }
        Ok(RawSlice {
            width,
            height,
            values: Values::Hounsfield(self.values(frame)?),
            // The format has no word for it.
            says_hounsfield: false,
            inverted: false,
            window: None,
            plane: self.plane(frame),
            not_chest_ct: None,
            spacing_mm: Some([self.spacing[1], self.spacing[0]]),
            warnings: self.warnings.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume of 40 x 36 x 3 voxels of 16 bits whose value is `x + 100 y + 10000 z`.
    fn volume(sform: Option<[[f32; 4]; 3]>) -> Vec<u8> {
        let mut bytes = vec![0u8; 352];
        bytes[..4].copy_from_slice(&348i32.to_le_bytes());
        for (k, size) in [3i16, 40, 36, 3, 1, 1, 1, 1].iter().enumerate() {
            bytes[40 + 2 * k..][..2].copy_from_slice(&size.to_le_bytes());
        }
        bytes[70..72].copy_from_slice(&4i16.to_le_bytes());
        bytes[72..74].copy_from_slice(&16i16.to_le_bytes());
        for (k, size) in [1.0f32, 0.5, 0.75, 2.0].iter().enumerate() {
            bytes[76 + 4 * k..][..4].copy_from_slice(&size.to_le_bytes());
        }
        bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
        if let Some(rows) = sform {
            bytes[254..256].copy_from_slice(&1i16.to_le_bytes());
            for (k, value) in rows.iter().flatten().enumerate() {
                bytes[280 + 4 * k..][..4].copy_from_slice(&value.to_le_bytes());
            }
        }
        bytes[344..348].copy_from_slice(b"n+1\0");
        for z in 0..3i16 {
            for y in 0..36i16 {
                for x in 0..40i16 {
                    bytes.extend((x + 100 * y + 10000 * z).to_le_bytes());
                }
            }
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Result<NiftiSlices, ImageError> {
        open(bytes, &mut Budget::default())
    }

    #[test]
    fn of_a_compressed_volume_no_more_is_unpacked_than_its_header_says() {
        use std::io::Write;
        let mut whole = volume(None);
        whole.resize(50 << 20, 0);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&whole).unwrap();
        let mut budget = Budget::new(10_000);
        let slices = open(&packer.finish().unwrap(), &mut budget).unwrap();
        assert_eq!((slices.headers().len(), budget.left()), (3, 10_000 - 8640));
    }

    fn corner(slices: &NiftiSlices, frame: usize) -> f32 {
        match slices.read(frame).unwrap().values {
            Values::Hounsfield(values) => values[0],
            Values::Grey(_) => panic!("a volume holds no grey values"),
        }
    }

    #[test]
    fn a_volume_whose_sizes_contradict_its_type_is_refused() {
        // Found by fuzzing: five bits a voxel by one field, two bytes by another.
        let mut bytes = volume(None);
        bytes[72..74].copy_from_slice(&5i16.to_le_bytes());
        let refused = read(&bytes).unwrap_err().to_string();
        assert!(refused.contains("5 bits a voxel"), "{refused}");
    }

    #[test]
    fn rows_run_to_the_left_columns_to_the_back_slices_to_the_head() {
        // Voxels count towards right, front and head: both picture axes are walked backwards.
        let ras = [[0.5, 0.0, 0.0, -10.0], [0.0, 0.75, 0.0, -20.0], [0.0, 0.0, 2.0, 30.0]];
        let slices = read(&volume(Some(ras))).unwrap();
        assert_eq!(corner(&slices, 0), 39.0 + 3500.0);
        assert_eq!(corner(&slices, 2), 39.0 + 3500.0 + 20000.0);
        let plane = slices.headers()[1].plane.unwrap();
        // The far corner: 39 voxels to the right of -10, 35 to the front of -20.
        assert_eq!(plane.origin, [-9.5, -6.25, 32.0]);
        assert_eq!(slices.read(0).unwrap().spacing_mm, Some([0.75, 0.5]));
    }

    #[test]
    fn a_coronal_volume_is_cut_axially() {
        // Voxel axes: left, head, back. Rows of 40, columns of 3, 36 slices would be too small to read.
        let coronal = [[-0.5, 0.0, 0.0, 0.0], [0.0, 0.0, -2.0, 0.0], [0.0, 0.75, 0.0, 0.0]];
        assert!(matches!(read(&volume(Some(coronal))), Err(ImageError::Size { height: 3, .. })));
    }

    #[test]
    fn a_volume_without_orientation_is_read_with_a_warning() {
        let slices = read(&volume(None)).unwrap();
        assert_eq!(slices.warnings[0], Warning::UnknownOrientation);
        assert_eq!(slices.headers()[0].plane, None);
    }

    #[test]
    fn cut_off_volumes_and_pairs_are_refused() {
        let whole = volume(None);
        for length in [0, 300, 352, whole.len() - 1] {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
        let mut pair = whole;
        pair[345] = b'i';
        assert!(read(&pair).is_err_and(|error| error.to_string().contains(".img")));
    }
}
