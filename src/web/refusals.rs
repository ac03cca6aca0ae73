//! Why nothing is said of a slice, in the user's language.

use crate::image::refusal::Unlike;
use crate::image::{NotChestCt, Refusal};
use crate::web::texts::{Text, text};

/// A refusal as part of a sentence.
pub fn reason(refusal: &Refusal) -> Text {
    match refusal {
        Refusal::NotChestCt(NotChestCt::Modality(modality)) => {
            text!("refusal.modality", modality = modality)
        }
        Refusal::NotChestCt(NotChestCt::Localizer) => text!("refusal.localizer"),
        Refusal::NotChestCt(NotChestCt::Turned(degrees)) => {
            text!("refusal.turned", degrees = degrees)
        }
        Refusal::FieldOfView { width_mm, height_mm } => {
            text!("refusal.field_of_view", width = width_mm, height = height_mm)
        }
        Refusal::NoContrast => text!("refusal.no_contrast"),
        Refusal::SmallBody(size) => text!("refusal.small_body", size = size),
        Refusal::NoLung => text!("refusal.no_lung"),
        Refusal::LittleLung => text!("refusal.little_lung"),
        Refusal::BlackLungs => text!("refusal.black_lungs"),
        Refusal::UnlikeMean(Unlike { value, low, high }) => {
            text!("refusal.unlike_mean", value = value, low = low, high = high)
        }
        Refusal::UnlikeContrast(Unlike { value, low, high }) => {
            text!("refusal.unlike_contrast", value = value, low = low, high = high)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_english_the_page_says_what_the_report_says() {
        let unlike = Unlike { value: 9, low: 60, high: 140 };
        let refusals = [
            Refusal::NotChestCt(NotChestCt::Modality("MR".into())),
            Refusal::NotChestCt(NotChestCt::Localizer),
            Refusal::NotChestCt(NotChestCt::Turned(90)),
            Refusal::FieldOfView { width_mm: 102, height_mm: 90 },
            Refusal::NoContrast,
            Refusal::SmallBody(200),
            Refusal::NoLung,
            Refusal::LittleLung,
            Refusal::BlackLungs,
            Refusal::UnlikeMean(unlike),
            Refusal::UnlikeContrast(unlike),
        ];
        for refusal in &refusals {
            assert_eq!(&*reason(refusal), refusal.to_string());
        }
    }
}
