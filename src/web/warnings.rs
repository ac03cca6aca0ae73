//! What the user should know about files, in the user's language.

use crate::image::{Warning, Window};
use crate::web::refusals::reason;
use crate::web::texts::{Text, decimal, text};

/// A warning as part of a sentence.
pub fn words(warning: &Warning) -> Text {
    match warning {
        Warning::Copies(count) => text!("warning.copies", count = count),
        Warning::OrderedByNumber => text!("warning.ordered_by_number"),
        Warning::OrderedByName => text!("warning.ordered_by_name"),
        Warning::NotParallel => text!("warning.not_parallel"),
        Warning::DifferentPixelSizes => text!("warning.different_pixel_sizes"),
        Warning::Shifted => text!("warning.shifted"),
        Warning::SamePlace(count) => text!("warning.same_place", count = count),
        Warning::UnevenDistances { least_mm, most_mm } => {
            let (least, most) = (decimal(*least_mm, 2), decimal(*most_mm, 2));
            text!("warning.uneven_distances", least = least, most = most)
        }
        Warning::Turned(degrees) => text!("warning.turned", degrees = decimal(*degrees, 0)),
        Warning::UnknownUnits => text!("warning.unknown_units"),
        Warning::OtherUnits(units) => text!("warning.other_units", units = units),
        Warning::NoAir => text!("warning.no_air"),
        Warning::UnknownOrientation => text!("warning.unknown_orientation"),
        Warning::TrailingData => text!("warning.trailing_data"),
        Warning::OtherWindow(window) => {
            text!("warning.other_window", window = window, used = Window::LUNG)
        }
        Warning::Coloured => text!("warning.coloured"),
        Warning::AlmostBlack => text!("warning.almost_black"),
        Warning::OnRequest(refusal) => text!("warning.on_request", reason = reason(refusal)),
        Warning::NoRegion => text!("warning.no_region"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Refusal;

    #[test]
    fn in_english_the_page_says_what_the_report_says() {
        let warnings = [
            Warning::Copies(2),
            Warning::OrderedByNumber,
            Warning::OrderedByName,
            Warning::NotParallel,
            Warning::DifferentPixelSizes,
            Warning::Shifted,
            Warning::SamePlace(3),
            Warning::UnevenDistances { least_mm: 1.0, most_mm: 2.25 },
            Warning::Turned(90.0),
            Warning::UnknownUnits,
            Warning::OtherUnits("US".into()),
            Warning::NoAir,
            Warning::UnknownOrientation,
            Warning::TrailingData,
            Warning::OtherWindow(Window { center: 40.0, width: 400.0 }),
            Warning::Coloured,
            Warning::AlmostBlack,
            Warning::OnRequest(Refusal::NoLung),
            Warning::NoRegion,
        ];
        for warning in &warnings {
            assert_eq!(&*words(warning), warning.to_string());
        }
    }
}
