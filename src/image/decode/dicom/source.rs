//! What a DICOM file says of its patient, study and place: for files that refer to it.

use dicom_dictionary_std::tags;
use dicom_object::{DefaultDicomObject, Tag};

use crate::image::decode::dicom::pixels::is_lossy;
use crate::image::decode::dicom::{number, plane, spacing, text};
use crate::image::{ImageError, Plane};

/// Elements that name the patient or the people around, or lead to them.
const IDENTIFYING: [(Tag, &str); 24] = [
    (tags::PATIENT_NAME, "Patient's name"),
    (tags::PATIENT_ID, "Patient ID"),
    (tags::PATIENT_BIRTH_DATE, "Patient's birth date"),
    (tags::PATIENT_SEX, "Patient's sex"),
    (tags::PATIENT_AGE, "Patient's age"),
    (tags::OTHER_PATIENT_NAMES, "Other patient names"),
    (tags::PATIENT_ADDRESS, "Patient's address"),
    (tags::PATIENT_TELEPHONE_NUMBERS, "Patient's telephone numbers"),
    (tags::PATIENT_COMMENTS, "Patient comments"),
    (tags::ACCESSION_NUMBER, "Accession number"),
    (tags::STUDY_ID, "Study ID"),
    (tags::STUDY_DATE, "Study date"),
    (tags::STUDY_TIME, "Study time"),
    (tags::ACQUISITION_DATE, "Acquisition date"),
    (tags::STUDY_DESCRIPTION, "Study description"),
    (tags::SERIES_DESCRIPTION, "Series description"),
    (tags::REFERRING_PHYSICIAN_NAME, "Referring physician's name"),
    (tags::PERFORMING_PHYSICIAN_NAME, "Performing physician's name"),
    (tags::OPERATORS_NAME, "Operators' name"),
    (tags::INSTITUTION_NAME, "Institution name"),
    (tags::INSTITUTION_ADDRESS, "Institution address"),
    (tags::STATION_NAME, "Station name"),
    (tags::DEVICE_SERIAL_NUMBER, "Device serial number"),
    (tags::BURNED_IN_ANNOTATION, "Text burned into the picture"),
];

/// Attributes of patient and study that a derived object shares with its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatientAndStudy {
    /// Patient's name.
    pub patient_name: Option<String>,
    /// Patient ID.
    pub patient_id: Option<String>,
    /// Birth date.
    pub birth_date: Option<String>,
    /// Sex.
    pub sex: Option<String>,
    /// Date of the study.
    pub study_date: Option<String>,
    /// Time of the study.
    pub study_time: Option<String>,
    /// Study ID.
    pub study_id: Option<String>,
    /// Accession number.
    pub accession_number: Option<String>,
    /// Referring physician.
    pub referring_physician: Option<String>,
}

/// The instance and frame that a slice comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct DicomSource {
    /// SOP class.
    pub class: String,
    /// SOP instance.
    pub instance: String,
    /// Study.
    pub study: String,
    /// Series.
    pub series: String,
    /// Frame of reference, if there is one.
    pub frame_of_reference: Option<String>,
    /// Number of the frame, from 1, if the file has several.
    pub frame: Option<usize>,
    /// Where the slice lies.
    pub plane: Option<Plane>,
    /// Millimetres between rows and between columns.
    pub spacing_mm: Option<[f64; 2]>,
    /// Millimetres that the slice is thick.
    pub thickness_mm: Option<f64>,
    /// Whether the picture was compressed with a loss.
    pub lossy: bool,
    /// Who and when.
    pub patient: PatientAndStudy,
    /// The character set of these, if it is one that is not read here.
    pub unread_characters: Option<String>,
    /// What the file holds that identifies people: name and value of each element.
    pub identifying: Vec<(String, String)>,
}

/// What frame `frame`, from 0, can be referred to by.
///
/// # Errors
/// If the file has no identifiers.
pub(super) fn of_frame(
    object: &DefaultDicomObject,
    frame: usize,
) -> Result<DicomSource, ImageError> {
    let given = |tag| text(object, tag).filter(|value| !value.is_empty());
    let needed = |tag, name: &str| {
        given(tag).ok_or_else(|| ImageError::Damaged {
            format: "DICOM",
            reason: format!("{name} is missing, so that no file can refer to it"),
        })
    };
    let has_frames = number(object, tags::NUMBER_OF_FRAMES, 0).is_some_and(|count| count > 1.0);
    Ok(DicomSource {
        class: needed(tags::SOP_CLASS_UID, "the SOP class UID")?,
        instance: needed(tags::SOP_INSTANCE_UID, "the SOP instance UID")?,
        study: needed(tags::STUDY_INSTANCE_UID, "the study instance UID")?,
        series: needed(tags::SERIES_INSTANCE_UID, "the series instance UID")?,
        frame_of_reference: given(tags::FRAME_OF_REFERENCE_UID),
        frame: has_frames.then_some(frame + 1),
        plane: plane(object, frame),
        spacing_mm: spacing(object, frame),
        thickness_mm: number(object, tags::SLICE_THICKNESS, 0).filter(|value| *value > 0.0),
        lossy: is_lossy(object),
        unread_characters: unread_characters(object),
        patient: PatientAndStudy {
            patient_name: given(tags::PATIENT_NAME),
            patient_id: given(tags::PATIENT_ID),
            birth_date: given(tags::PATIENT_BIRTH_DATE),
            sex: given(tags::PATIENT_SEX),
            study_date: given(tags::STUDY_DATE),
            study_time: given(tags::STUDY_TIME),
            study_id: given(tags::STUDY_ID),
            accession_number: given(tags::ACCESSION_NUMBER),
            referring_physician: given(tags::REFERRING_PHYSICIAN_NAME),
        },
        identifying: identifying(object),
    })
}

/// Character sets that switch between one and several bytes a letter (ISO 2022) come out as other letters.
fn unread_characters(object: &DefaultDicomObject) -> Option<String> {
    let sets =
        object.element_opt(tags::SPECIFIC_CHARACTER_SET).ok().flatten()?.to_multi_str().ok()?;
    let set = sets.iter().find(|set| {
        let number = set.trim().strip_prefix("ISO 2022 IR ");
        number.is_some_and(|number| ["87", "159", "149", "58"].contains(&number))
    });
    set.map(|set| set.trim().to_owned())
}

fn identifying(object: &DefaultDicomObject) -> Vec<(String, String)> {
    let unread = unread_characters(object);
    let named = IDENTIFYING.iter().filter_map(|(tag, name)| {
        let value = text(object, *tag).filter(|value| !value.is_empty())?;
        let value = match &unread {
            Some(set) if value.contains(|c: char| c == '$' || c.is_control()) => {
                format!("(in the character set {set})")
            }
            _ => value,
        };
        Some(((*name).to_owned(), value))
    });
    let mut found: Vec<_> = named.collect();
    let private = object.tags().filter(|tag| tag.group() % 2 == 1).count();
    if private > 0 {
        found.push(("Private elements, which may hold anything".into(), private.to_string()));
    }
    found
}
