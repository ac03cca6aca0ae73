//! Drawn DICOM files.

use std::path::{Path, PathBuf};

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, Tag};
use groundglass::image::phantom::{SliceClass, draw};

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
