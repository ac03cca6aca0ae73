//! Drawn DICOM files.

use std::path::{Path, PathBuf};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, Tag};
use groundglass::classes::SliceClass;
use groundglass::image::phantom::draw;

/// A series of phantoms, 2.5 mm apart, by place; their names run the other way.
pub fn write_series(folder: &Path, count: usize, seed: u64) -> Vec<PathBuf> {
    (0..count)
        .map(|index| {
            let path = folder.join(format!("slice{}.dcm", count - index));
            write_phantom(&path, seed + index as u64, 2.5 * index as f64);
            path
        })
        .collect()
}

/// A phantom as a DICOM file in Hounsfield units, `position` millimetres towards the head.
pub fn write_phantom(path: &Path, seed: u64, position: f64) {
    const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
    const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
    let instance = format!("1.2.3.4.{seed}");
    let phantom = draw(SliceClass::Covid19, seed);
    let stored: Vec<u16> = phantom
        .slice
        .pixels
        .iter()
        .map(|grey| (f64::from(*grey) / 255.0 * 1500.0 - 1350.0 + 1024.0).max(0.0) as u16)
        .collect();
    let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
    let short = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
    let side = phantom.slice.width as u16;
    let mut object = InMemDicomObject::new_empty();
    for element in [
        text(Tag(0x0008, 0x0016), VR::UI, CT_IMAGE),
        text(Tag(0x0008, 0x0018), VR::UI, &instance),
        text(Tag(0x0010, 0x0010), VR::PN, "Nobody^Drawn"),
        text(Tag(0x0020, 0x000D), VR::UI, "1.2.3.1"),
        text(Tag(0x0020, 0x0052), VR::UI, "1.2.3.2"),
        short(Tag(0x0028, 0x0002), 1),
        text(Tag(0x0028, 0x0004), VR::CS, "MONOCHROME2"),
        short(Tag(0x0028, 0x0010), side),
        short(Tag(0x0028, 0x0011), side),
        text(Tag(0x0020, 0x000E), VR::UI, "1.2.3"),
        text(Tag(0x0020, 0x0032), VR::DS, &format!("-128\\-128\\{position}")),
        text(Tag(0x0020, 0x0037), VR::DS, "1\\0\\0\\0\\1\\0"),
        text(Tag(0x0028, 0x0030), VR::DS, "0.5\\0.5"),
        short(Tag(0x0028, 0x0100), 16),
        short(Tag(0x0028, 0x0101), 16),
        short(Tag(0x0028, 0x0102), 15),
        short(Tag(0x0028, 0x0103), 0),
        text(Tag(0x0028, 0x1052), VR::DS, "-1024"),
        text(Tag(0x0028, 0x1053), VR::DS, "1"),
        DataElement::new(Tag(0x7FE0, 0x0010), VR::OW, PrimitiveValue::U16(stored.into())),
    ] {
        object.put(element);
    }
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(EXPLICIT_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(CT_IMAGE)
        .media_storage_sop_instance_uid(&instance);
    object.with_meta(meta).expect("a meta group").write_to_file(path).expect("a written file");
}

/// Side of [`Small`] pictures.
pub const SIDE: u16 = 40;

/// A small CT slice, which the fields describe: a file may contradict itself.
pub struct Small {
    /// Transfer syntax.
    pub syntax: &'static str,
    /// Fragments, one a frame unless the table of offsets says otherwise; without any, `values` are stored.
    pub fragments: Vec<Vec<u8>>,
    /// Frames.
    pub frames: usize,
    /// Bits allocated, and stored.
    pub bits: (u16, u16),
    /// Further elements.
    pub more: Vec<DataElement<InMemDicomObject>>,
}

impl Small {
    /// One native frame of 16 bits.
    pub fn native() -> Self {
        let syntax = "1.2.840.10008.1.2.1";
        Self { syntax, fragments: Vec::new(), frames: 1, bits: (16, 16), more: Vec::new() }
    }

    /// One compressed frame of 16 bits.
    pub fn compressed(syntax: &'static str, picture: Vec<u8>) -> Self {
        Self { syntax, fragments: vec![picture], ..Self::native() }
    }

    /// The values of every frame.
    pub fn values() -> Vec<u16> {
        (0..SIDE * SIDE).map(|i| (i % SIDE * 5 + i / SIDE * 3) * 6).collect()
    }

    /// The file.
    pub fn bytes(self) -> Vec<u8> {
        use dicom_core::value::PixelFragmentSequence;
        let text = |tag, vr, value: &str| DataElement::new(tag, vr, PrimitiveValue::from(value));
        let short = |tag, value: u16| DataElement::new(tag, VR::US, PrimitiveValue::from(value));
        let mut object = InMemDicomObject::new_empty();
        for element in [
            text(Tag(0x0008, 0x0016), VR::UI, "1.2.840.10008.5.1.4.1.1.2"),
            text(Tag(0x0008, 0x0018), VR::UI, "1.2.3"),
            text(Tag(0x0008, 0x0060), VR::CS, "CT"),
            text(Tag(0x0020, 0x000D), VR::UI, "1.2.3.1"),
            text(Tag(0x0020, 0x000E), VR::UI, "1.2.3.2"),
            text(Tag(0x0020, 0x0032), VR::DS, "1\\2\\3"),
            text(Tag(0x0020, 0x0037), VR::DS, "1\\0\\0\\0\\1\\0"),
            short(Tag(0x0028, 0x0002), 1),
            text(Tag(0x0028, 0x0004), VR::CS, "MONOCHROME2"),
            text(Tag(0x0028, 0x0008), VR::IS, &self.frames.to_string()),
            short(Tag(0x0028, 0x0010), SIDE),
            short(Tag(0x0028, 0x0011), SIDE),
            text(Tag(0x0028, 0x0030), VR::DS, "8\\8"),
            short(Tag(0x0028, 0x0100), self.bits.0),
            short(Tag(0x0028, 0x0101), self.bits.1),
            short(Tag(0x0028, 0x0102), self.bits.1.saturating_sub(1)),
            short(Tag(0x0028, 0x0103), 0),
        ] {
            object.put(element);
        }
        if self.fragments.is_empty() {
            let values = Self::values().repeat(self.frames);
            let pixels = PrimitiveValue::U16(values.into());
            object.put(DataElement::new(Tag(0x7FE0, 0x0010), VR::OW, pixels));
        } else {
            // Fragments have an even length.
            let padded = |mut bytes: Vec<u8>| {
                bytes.resize(bytes.len().next_multiple_of(2), 0);
                bytes
            };
            let fragments: Vec<Vec<u8>> = self.fragments.into_iter().map(padded).collect();
            let pixels = PixelFragmentSequence::new_fragments(fragments);
            object.put(DataElement::new(Tag(0x7FE0, 0x0010), VR::OB, pixels));
        }
        self.more.into_iter().for_each(|element| {
            object.put(element);
        });
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(self.syntax)
            .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.2")
            .media_storage_sop_instance_uid("1.2.3");
        let mut bytes = Vec::new();
        let object = object.with_meta(meta).expect("a meta group");
        object.write_all(&mut bytes).expect("a written file");
        bytes
    }

    /// The same file, its data set deflated.
    pub fn deflated() -> Vec<u8> {
        use std::io::Write;
        let plain = Self::native().bytes();
        let group = u32::from_le_bytes([plain[140], plain[141], plain[142], plain[143]]) as usize;
        let data = 144 + group;
        let syntax = b"1.2.840.10008.1.2.1\0";
        let place = plain.windows(syntax.len()).position(|text| text == syntax).expect("a syntax");
        let mut bytes = plain[..place - 2].to_vec();
        bytes.extend([22, 0]);
        bytes.extend(b"1.2.840.10008.1.2.1.99");
        bytes.extend(&plain[place + syntax.len()..data]);
        bytes[140..144].copy_from_slice(&(group as u32 + 2).to_le_bytes());
        let mut packer =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(&plain[data..]).expect("memory");
        bytes.extend(packer.finish().expect("memory"));
        bytes
    }
}

/// The values of [`Small`] as JPEG 2000, by OpenJPEG 2.5.4: lossless, 16 bits.
pub const JPEG_2000: &str = "/0//UQApAAAAAAAoAAAAKAAAAAAAAAAAAAAAKAAAACgAAAAAAAAAAAABDwEB/1IADAAAAAEABQQEAAH/XAATQICIiJCIiJCIiJCIiJCIiJD/ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAACMAAH/k9/4kFAHgVdZMixxjBI9wAHzg4AB8gMACSt/CP1/wAHzhYAB8gQAEDHh/38MFxW/wA/AHgA+0GAnPv7F4+D3K1284ulLwAfaEwAPqChA45PQBcsBDQd+GfG6LzAR1f9/wAHzi4AD5xh0Ld/975nfgAAYP7+8Kd7v17sAwgmNv//Z";

/// Words as RLE: two segments of literal runs.
pub fn rle(values: &[u16]) -> Vec<u8> {
    let segment = |byte: usize| -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().map(|value| value.to_le_bytes()[byte]).collect();
        let runs = bytes
            .chunks(128)
            .flat_map(|run| std::iter::once(run.len() as u8 - 1).chain(run.iter().copied()));
        let mut packed: Vec<u8> = runs.collect();
        packed.resize(packed.len().next_multiple_of(2), 0);
        packed
    };
    let (high, low) = (segment(1), segment(0));
    let mut bytes: Vec<u8> =
        [2, 64, 64 + high.len() as u32].iter().flat_map(|n| n.to_le_bytes()).collect();
    bytes.resize(64, 0);
    bytes.extend(high);
    bytes.extend(low);
    bytes
}
