//! Slices sorted into a series: their order, the distance between them, what the user should know.

use std::collections::BTreeMap;

use crate::image::natural_order::natural;
use crate::image::plane::is_same_spacing;
use crate::image::series_slice::SeriesSlice;
use crate::image::slice::SliceHeader;
use crate::image::{Plane, Warning};

/// Share by which distances between slices may differ in an evenly spaced series.
const EVEN: f64 = 0.02;
/// Millimetres by which slices may be shifted across and still lie above each other.
const SHIFTED_MM: f64 = 1.0;
/// Millimetres under which two slices lie at the same place.
const SAME_PLACE_MM: f64 = 0.01;

/// Slices that belong together, in order.
#[derive(Debug)]
pub struct Series<F> {
    /// What to call it: file, folder, or identifier.
    pub name: String,
    /// From the first to the last along the normal, or by name where nothing tells the place.
    pub slices: Vec<SeriesSlice<F>>,
    /// Millimetres between neighbours, if they lie evenly.
    pub distance_mm: Option<f64>,
    /// What the user should know.
    pub warnings: Vec<Warning>,
}

impl<F> Series<F> {
    /// Puts slices in order, and says what the user should know of them.
    pub(super) fn arranged(key: SeriesKey, mut slices: Vec<SeriesSlice<F>>) -> Self {
        let mut warnings = Vec::new();
        // A map of the type that is there already: every other would be downloaded, too.
        let mut met: BTreeMap<String, usize> = BTreeMap::new();
        let mut copies = 0;
        for slice in &slices {
            if let Some(instance) = &slice.header.instance {
                let name = format!("{instance}#{}", slice.header.frame);
                copies += usize::from(met.insert(name, 0).is_some());
            }
        }
        if copies > 0 {
            warnings.push(Warning::Copies(copies));
        }
        let planes: Option<Vec<Plane>> = slices.iter().map(|slice| slice.header.plane).collect();
        if planes.is_some() {
            let offset = |slice: &SeriesSlice<F>| slice.header.plane.map_or(0.0, |p| p.offset());
            slices.sort_by(|a, b| {
                offset(a).total_cmp(&offset(b)).then_with(|| natural(&a.name, &b.name))
            });
        } else {
            let numbered = slices.iter().all(|slice| slice.header.number.is_some());
            slices.sort_by(|a, b| {
                let by_name = natural(&a.name, &b.name);
                if numbered { a.header.number.cmp(&b.header.number).then(by_name) } else { by_name }
            });
            if slices.len() > 1 && !matches!(key, SeriesKey::Pictures { .. }) {
                warnings.push(if numbered {
                    Warning::OrderedByNumber
                } else {
                    Warning::OrderedByName
                });
            }
        }
        let distance_mm = planes.and_then(|_| distance(&slices, &mut warnings));
        if let Some(warning) = slices.first().and_then(|s| s.header.plane).and_then(|p| p.warning())
        {
            warnings.push(warning);
        }
        let file = |name: &str| name.rsplit_once('#').map_or(name, |(file, _)| file).to_owned();
        let name = match key {
            SeriesKey::File { .. } if slices.len() > 1 => file(&slices[0].name),
            SeriesKey::File { .. } => slices[0].name.clone(),
            SeriesKey::Pictures { folder } if !folder.is_empty() && slices.len() > 1 => folder,
            _ => match (folder(&slices[0].name), slices.len()) {
                (_, 1) => slices[0].name.clone(),
                (folder, _) if !folder.is_empty() => folder,
                (_, count) => format!("{} and {} more", slices[0].name, count - 1),
            },
        };
        Self { name, slices, distance_mm, warnings }
    }
}

/// What keeps slices of one series apart from others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SeriesKey {
    /// Pictures of one folder.
    Pictures { folder: String },
    /// DICOM slices of the same series, patient, study, frame of reference, size and orientation.
    Dicom { series: String, origin: [String; 3], size: (usize, usize), orientation: Vec<i64> },
    /// A file that is a series by itself.
    File { number: usize },
}

impl SeriesKey {
    /// What a slice of this name and header belongs to, if its file holds no other.
    pub(super) fn of(name: &str, header: &SliceHeader) -> Self {
        let is_dicom = header.series.is_some() || header.plane.is_some() || header.number.is_some();
        if !is_dicom {
            return Self::Pictures { folder: folder(name) };
        }
        let orientation = header.plane.iter().flat_map(|plane| {
            let vectors = plane.along_row.into_iter().chain(plane.along_column);
            vectors.map(|x| (x * 1000.0).round() as i64)
        });
        Self::Dicom {
            series: header.series.clone().unwrap_or_else(|| folder(name)),
            origin: header.origin.clone(),
            size: (header.width, header.height),
            orientation: orientation.collect(),
        }
    }
}

fn folder(name: &str) -> String {
    name.rfind(['/', '\\']).map(|end| name[..end].to_owned()).unwrap_or_default()
}

/// Distance between neighbours of slices sorted by place, if they lie evenly, straight above each other, all of
/// one spacing and orientation: else no volume can be made of them.
fn distance<F>(slices: &[SeriesSlice<F>], warnings: &mut Vec<Warning>) -> Option<f64> {
    let first = &slices.first()?.header;
    let plane = first.plane?;
    for SliceHeader { plane: other, spacing_mm, .. } in slices.iter().map(|slice| &slice.header) {
        let other = (*other)?;
        let warning = if !plane.is_parallel_to(&other) {
            Warning::NotParallel
        } else if !is_same_spacing(*spacing_mm, first.spacing_mm) {
            Warning::DifferentPixelSizes
        } else if plane.shift_to(&other) > SHIFTED_MM {
            Warning::Shifted
        } else {
            continue;
        };
        warnings.push(warning);
        return None;
    }
    let offsets: Vec<f64> =
        slices.iter().filter_map(|slice| Some(slice.header.plane?.offset())).collect();
    let gaps: Vec<f64> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (least, most) = gaps
        .iter()
        .fold((f64::MAX, 0.0f64), |(least, most), gap| (least.min(*gap), most.max(*gap)));
    if gaps.is_empty() {
        return None;
    }
    if least < SAME_PLACE_MM {
        let same = gaps.iter().filter(|gap| **gap < SAME_PLACE_MM).count();
        warnings.push(Warning::SamePlace(same));
        return None;
    }
    if most - least > EVEN * most {
        warnings.push(Warning::UnevenDistances { least_mm: least, most_mm: most });
        return None;
    }
    Some(offsets.last()? - offsets.first()?)
        .map(|length| length / gaps.len() as f64)
        .filter(|distance| distance.is_finite())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::image::series_slice::Source;

    fn place(origin: [f64; 3], spacing: f64) -> SliceHeader {
        let (along_row, along_column) = ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        let plane = Some(Plane { origin, along_row, along_column });
        SliceHeader { plane, spacing_mm: Some([spacing; 2]), ..SliceHeader::default() }
    }

    #[test]
    fn only_slices_that_lie_straight_above_each_other_make_a_volume() {
        let distance_of = |headers: Vec<SliceHeader>| {
            let slice = |header| SeriesSlice::<Vec<u8>> {
                name: String::new(),
                header,
                checksum: 0,
                source: Source::Unpacked(Arc::default()),
            };
            let mut warnings = Vec::new();
            let slices: Vec<_> = headers.into_iter().map(slice).collect();
            (distance(&slices, &mut warnings), Warning::sentences(&warnings).join(" "))
        };
        let at = |x, z| place([x, 0.0, z], 0.7);
        assert_eq!(distance_of(vec![at(0.0, 0.0), at(0.0, 5.0), at(0.0, 10.0)]).0, Some(5.0));
        for (headers, words) in [
            (vec![at(0.0, 0.0), at(20.0, 5.0)], "shifted"),
            (vec![at(0.0, 0.0), place([0.0, 0.0, 5.0], 0.9)], "different sizes"),
            (vec![at(0.0, 0.0), at(0.0, 5.0), at(0.0, 40.0)], "mm apart"),
            (vec![at(0.0, -1.7e308), at(0.0, 1.7e308)], ""),
        ] {
            let (distance, warnings) = distance_of(headers);
            assert_eq!(distance, None, "{words}");
            assert!(warnings.contains(words), "{warnings}");
        }
    }
}
