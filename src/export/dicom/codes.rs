//! Codes that segmentation and structured report share.

use crate::classes::LesionKind;
use crate::export::dicom::elements::Code;

/// Any lesion. DICOM's own context groups have no code for a consolidation.
pub const LESION: Code = ("52988006", "SCT", "Lesion");
/// Ground glass.
pub const GROUND_GLASS: Code = ("112120", "DCM", "Ground glass opacity");
/// Where they are.
pub const LUNG: Code = ("39607008", "SCT", "Lung");

/// The patient's right lung.
pub const RIGHT_LUNG: Code = ("3341006", "SCT", "Right lung");
/// The patient's left lung.
pub const LEFT_LUNG: Code = ("44029006", "SCT", "Left lung");

/// The code of a kind of lesion.
pub fn of_kind(kind: LesionKind) -> Code {
    match kind {
        LesionKind::GroundGlass => GROUND_GLASS,
        LesionKind::Lesion | LesionKind::Consolidation => LESION,
    }
}
