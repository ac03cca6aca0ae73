//! What segmentation and structured report say alike: patient, study, maker, time, references.

use chrono::DateTime;
use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use dicom_object::mem::InMemElement;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject, Tag};
use web_time::SystemTime;

use crate::export::ExportError;
use crate::export::dicom::elements::{Code, code_item, item, sequence, text};
use crate::export::dicom::{Identity, Uids};
use crate::image::decode::dicom_source::DicomSource;
use crate::report::{ModelInfo, SliceReport};

/// A moment as DICOM writes it: eight digits of the date, then the time.
pub fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = DateTime::from_timestamp(since.as_secs() as i64, since.subsec_nanos());
    now.unwrap_or_default().format("%Y%m%d%H%M%S%.6f").to_string()
}

/// Codes of what was done to hide the patient (PS3.15 annex E, PS3.16 CID 7050).
const BASIC_PROFILE: Code = ("113100", "DCM", "Basic Application Confidentiality Profile");
const RETAIN_UIDS: Code = ("113110", "DCM", "Retain UIDs Option");

/// Patient and study of a source.
///
/// # Errors
/// If they are to be kept and are written in characters that are not read here.
pub fn patient_and_study(
    source: &DicomSource,
    identity: Identity,
) -> Result<Vec<InMemElement>, ExportError> {
    let blank = Default::default();
    let patient = match identity {
        Identity::Deidentified(_) => &blank,
        Identity::Retained => &source.patient,
    };
    if let (Identity::Retained, Some(unread)) = (identity, &source.unread_characters) {
        return Err(ExportError::Source(format!(
            "patient and study are written in the character set {unread}, which is not read here; leave out the identity"
        )));
    }
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    let mut elements = vec![
        text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
        text(tags::PATIENT_NAME, VR::PN, value(&patient.patient_name)),
        text(tags::PATIENT_ID, VR::LO, value(&patient.patient_id)),
        text(tags::PATIENT_BIRTH_DATE, VR::DA, value(&patient.birth_date)),
        text(tags::PATIENT_SEX, VR::CS, value(&patient.sex)),
        text(tags::STUDY_INSTANCE_UID, VR::UI, &source.study),
        text(tags::STUDY_DATE, VR::DA, value(&patient.study_date)),
        text(tags::STUDY_TIME, VR::TM, value(&patient.study_time)),
        text(tags::STUDY_ID, VR::SH, value(&patient.study_id)),
        text(tags::ACCESSION_NUMBER, VR::SH, value(&patient.accession_number)),
        text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, value(&patient.referring_physician)),
    ];
    if let Identity::Deidentified(uids) = identity {
        let (how, codes) = match uids {
            Uids::Kept => {
                ("Patient and study left blank; UIDs kept", vec![BASIC_PROFILE, RETAIN_UIDS])
            }
            Uids::Remapped => ("Patient and study left blank; UIDs remapped", vec![BASIC_PROFILE]),
        };
        elements.push(text(tags::PATIENT_IDENTITY_REMOVED, VR::CS, "YES"));
        elements.push(text(tags::DEIDENTIFICATION_METHOD, VR::LO, how));
        let items = codes.into_iter().map(code_item).collect();
        elements.push(sequence(tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE, items));
    }
    Ok(elements)
}

/// Maker and time of an object made with `model`.
pub fn equipment(model: Option<&ModelInfo>, timestamp: &str) -> Vec<InMemElement> {
    let serial = model.map_or("none", |model| &model.sha256[..16]);
    let (date, time) = timestamp.split_at(8);
    vec![
        text(tags::SERIES_DATE, VR::DA, date),
        text(tags::SERIES_TIME, VR::TM, time),
        text(tags::CONTENT_DATE, VR::DA, date),
        text(tags::CONTENT_TIME, VR::TM, time),
        text(tags::MANUFACTURER, VR::LO, "groundglass"),
        text(tags::MANUFACTURER_MODEL_NAME, VR::LO, "groundglass"),
        text(tags::DEVICE_SERIAL_NUMBER, VR::LO, serial),
        text(tags::SOFTWARE_VERSIONS, VR::LO, env!("CARGO_PKG_VERSION")),
        text(tags::INSTANCE_NUMBER, VR::IS, "1"),
    ]
}

/// Class and instance of a source.
pub fn reference(source: &DicomSource) -> Vec<InMemElement> {
    vec![
        text(tags::REFERENCED_SOP_CLASS_UID, VR::UI, &source.class),
        text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, &source.instance),
    ]
}

/// The instances that slices come from, by series, each series with its instances under `instances`.
pub fn by_series(slices: &[(&SliceReport, DicomSource)], instances: Tag) -> Vec<InMemDicomObject> {
    let mut series: Vec<&str> = slices.iter().map(|(_, source)| source.series.as_str()).collect();
    series.dedup();
    let of_series = |series: &&str| {
        let mut sources: Vec<&DicomSource> =
            slices.iter().map(|(_, source)| source).filter(|s| s.series == **series).collect();
        // A file of many frames is one instance.
        sources.dedup_by(|a, b| a.instance == b.instance);
        let references = sources.into_iter().map(|source| item(reference(source))).collect();
        item([text(tags::SERIES_INSTANCE_UID, VR::UI, series), sequence(instances, references)])
    };
    series.iter().map(of_series).collect()
}

/// An object as a file.
///
/// # Errors
/// If it cannot be written.
pub fn file(object: InMemDicomObject, class: &str, instance: &str) -> Result<Vec<u8>, ExportError> {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .media_storage_sop_class_uid(class)
        .media_storage_sop_instance_uid(instance);
    let object =
        object.with_meta(meta).map_err(|error| ExportError::Encoding(error.to_string()))?;
    let mut bytes = Vec::new();
    object.write_all(&mut bytes).map_err(|error| ExportError::Encoding(error.to_string()))?;
    Ok(bytes)
}
