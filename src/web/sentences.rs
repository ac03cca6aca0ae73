//! What a report says in words, in the user's language.

use crate::classes::CLASSES;
use crate::report::lung_volume::{LungVolume, LungsSeries};
use crate::report::measurements::{Measurement, Shape, Unit};
use crate::report::series::SeriesReport;
use crate::report::slice::Contradiction;
use crate::report::verdict::Measured;
use crate::web::texts::{Text, counted, decimal, text};

/// What [`Contradiction::summary`] says.
pub fn contradiction(contradiction: Contradiction) -> Text {
    match contradiction {
        Contradiction::SignsWithoutLesions => text!("verdict.without_lesions"),
        Contradiction::LesionsWithoutSigns => text!("verdict.with_lesions"),
    }
}

/// What [`Measured::summary`] says.
pub fn measured(measured: &Measured) -> Text {
    let percent = |share: f32| format!("{:.0}", share * 100.0);
    text!(
        "verdict.measured",
        right = percent(measured.accuracy),
        slices = measured.slices,
        patients = measured.patients,
        sensitivity = percent(measured.sensitivity),
        specificity = percent(measured.specificity),
        named = percent(measured.named),
        named_right = percent(measured.named_accuracy)
    )
}

/// What [`Measurement::summary`] says.
pub fn measurement(measurement: &Measurement) -> String {
    let number = |value: f64| decimal(value, 1);
    let pixels = |px: Option<f64>| text!("measure.px", value = number(px.unwrap_or_default()));
    match measurement.shape {
        Shape::Ruler(_) => {
            let length = match measurement.length_mm {
                Some(mm) => text!("measure.mm", value = number(mm)),
                None => pixels(measurement.length_px),
            };
            text!("measure.ruler.is", length = length).to_string()
        }
        Shape::Ellipse(_) => {
            let area = match measurement.area_mm2 {
                Some(mm2) => text!("measure.mm2", value = number(mm2)),
                None => pixels(measurement.area_px),
            };
            let ellipse = text!("measure.ellipse.is", area = area).to_string();
            let values = measurement.values.map(|values| {
                let (mean, deviation) = (number(values.mean), number(values.deviation));
                match values.unit {
                    Unit::Hounsfield => {
                        text!("measure.hounsfield", mean = mean, deviation = deviation)
                    }
                    Unit::Plain => text!("measure.plain", mean = mean, deviation = deviation),
                    Unit::Grey => text!("measure.grey", mean = mean, deviation = deviation),
                }
            });
            ellipse + values.as_deref().unwrap_or_default()
        }
    }
}

/// Names of the classes in their order.
pub fn class_names() -> [Text; CLASSES] {
    [text!("class.control"), text!("class.pneumonia"), text!("class.covid19")]
}

/// What [`SeriesReport::summary`] says.
pub fn series_summary(series: &SeriesReport) -> String {
    let (with_lesions, slices) = (series.slices_with_lesions, series.slices);
    let mut parts = vec![text!("series.sum.lesions", with_lesions = with_lesions, slices = slices)];
    if let Some(volume) = series.lesion_volume_ml {
        let volume = decimal(volume, 1);
        let distance = decimal(series.distance_mm.unwrap_or_default(), 2);
        parts.push(text!("series.sum.volume", volume = volume, distance = distance));
    }
    match series.joined_lesions.len() {
        0 => {}
        count => parts.push(counted!("series.sum.joined", count)),
    }
    if let Some(lungs) = &series.lungs {
        parts.push(lungs_sentence(lungs));
    }
    if let Some(classes) = &series.mean_classes {
        let values = class_names().into_iter().zip(classes.values());
        let values: Vec<String> =
            values.map(|(name, value)| format!("{name} {} %", decimal(value * 100.0, 1))).collect();
        let (values, count) = (values.join(", "), series.slices_with_classes);
        parts.push(text!("series.sum.classes", values = values, slices = count));
    }
    parts.iter().map(|part| &**part).collect::<Vec<_>>().join(" ")
}

fn lungs_sentence(lungs: &LungsSeries) -> Text {
    let percent = |part: LungVolume| match part.affected_share() {
        Some(share) => text!("number.percent", percent = decimal(share * 100.0, 1)),
        None => text!("lungs.none"),
    };
    let both = lungs.both();
    let mut words = text!(
        "series.sum.lungs",
        volume = decimal(both.volume_ml, 0),
        affected = decimal(both.affected_ml, 1),
        share = percent(both),
        right = percent(lungs.right),
        left = percent(lungs.left),
        slices = lungs.slices
    )
    .to_string();
    if let Some(thirds) = lungs.thirds {
        let [upper, middle, lower] = thirds.map(percent);
        words += &text!("series.sum.thirds", upper = upper, middle = middle, lower = lower);
    }
    words.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::LesionKind;
    use crate::report::joined_lesions::JoinedLesion;
    use crate::report::probabilities::ClassProbabilities;

    #[test]
    fn in_english_the_page_says_of_a_series_what_the_report_says() {
        let lung = |affected_ml| LungVolume { volume_ml: 2000.4, affected_ml };
        let lesion = JoinedLesion {
            label: LesionKind::Lesion,
            score: 0.5,
            slices: [0, 1],
            parts: Vec::new(),
            voxels: 1,
            volume_ml: None,
            diameter_mm: None,
            largest_slice: 0,
        };
        // The page keeps a number and its sign on one line.
        let series_summary = |series: &SeriesReport| series_summary(series).replace('\u{a0}', " ");
        let mut series = SeriesReport::new("series".into(), 0, &[], None, Vec::new());
        assert_eq!(series_summary(&series), series.summary());
        series.distance_mm = Some(2.5);
        series.lesion_volume_ml = Some(12.25);
        for lesions in 1..3 {
            series.joined_lesions = vec![lesion.clone(); lesions];
            assert_eq!(series_summary(&series), series.summary());
        }
        let (right, left) = (lung(30.06), lung(0.0));
        for thirds in [None, Some([lung(10.0), lung(0.0), LungVolume::default()])] {
            series.lungs = Some(LungsSeries { right, left, thirds, slices: 3 });
            assert_eq!(series_summary(&series), series.summary());
        }
        let classes = [0.25, 0.5, 0.25];
        series.mean_classes = Some(ClassProbabilities::new(classes));
        series.slices_with_classes = 2;
        assert_eq!(series_summary(&series), series.summary());
    }

    #[test]
    fn in_english_the_page_says_of_a_measurement_what_the_report_says() {
        let corners = [(1.0, 1.0), (5.5, 4.0)];
        for shape in [Shape::Ruler(corners), Shape::Ellipse(corners)] {
            for spacing in [None, Some([0.7, 0.7])] {
                for unit in [Unit::Hounsfield, Unit::Plain, Unit::Grey] {
                    let measured =
                        Measurement::of(shape, (9, 9), spacing, unit, |index| Some(index as f64));
                    let said = measurement(&measured).replace('\u{a0}', " ");
                    assert_eq!(said, measured.summary());
                }
            }
        }
    }

    #[test]
    fn in_english_the_page_says_of_a_slice_what_the_report_says() {
        for found in [Contradiction::SignsWithoutLesions, Contradiction::LesionsWithoutSigns] {
            assert_eq!(&*contradiction(found), found.summary());
        }
        let worth = Measured {
            slices: 228,
            patients: 126,
            accuracy: 0.708,
            sensitivity: 0.9,
            specificity: 0.874,
            named: 0.52,
            named_accuracy: 0.92,
            ..Measured::default()
        };
        assert_eq!(&*measured(&worth), worth.summary());
    }
}
