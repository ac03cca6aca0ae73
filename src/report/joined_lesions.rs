//! Lesions of a series in three dimensions: those of neighbouring slices whose masks overlap are one.

use serde::{Deserialize, Serialize};

use crate::classes::LesionKind;
use crate::detection::Mask;
use crate::detection::mask::contour::contours;
use crate::report::SliceReport;

/// One lesion that runs through neighbouring slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinedLesion {
    /// The kind of most of its pixels.
    pub label: LesionKind,
    /// Highest probability of its parts.
    pub score: f32,
    /// First and last slice, counted within the series from 0.
    pub slices: [usize; 2],
    /// Slice and number, both from 0, of each of its parts.
    pub parts: Vec<[usize; 2]>,
    /// Pixels of its parts; where two lie on each other, once.
    pub voxels: usize,
    /// Millilitres; `None` without spacing.
    pub volume_ml: Option<f64>,
    /// Largest distance between two points of its outline within a slice, in millimetres; `None` without spacing.
    pub diameter_mm: Option<f64>,
    /// The slice with most of it, within the series.
    pub largest_slice: usize,
}

/// Joins the lesions of `slices`, which lie `distance_mm` apart; the largest first. Lesions without a mask, and slices
/// of other sizes than their neighbours, stay apart.
pub fn join(slices: &[SliceReport], distance_mm: Option<f64>) -> Vec<JoinedLesion> {
    let masks: Vec<Vec<Option<Mask>>> = slices
        .iter()
        .map(|slice| {
            let decoded = |mask: &crate::detection::mask::rle::Rle| mask.decode().ok();
            slice.lesions.iter().map(|lesion| lesion.mask.as_ref().and_then(decoded)).collect()
        })
        .collect();
    let starts: Vec<usize> = slices
        .iter()
        .scan(0, |next, slice| Some(std::mem::replace(next, *next + slice.lesions.len())))
        .collect();
    let count = slices.iter().map(|slice| slice.lesions.len()).sum();
    let mut groups = Groups((0..count).collect());
    for slice in 0..slices.len() {
        for (number, lesion) in slices[slice].lesions.iter().enumerate() {
            // Those behind it on its own slice, and all of the next.
            let own = (number + 1..slices[slice].lesions.len()).map(|other| (slice, other));
            let next = slices.get(slice + 1).map_or(0, |next| next.lesions.len());
            for (other_slice, other) in own.chain((0..next).map(|other| (slice + 1, other))) {
                if lesion.bbox.intersection(&slices[other_slice].lesions[other].bbox) <= 0.0 {
                    continue;
                }
                let pair = masks[slice][number].as_ref().zip(masks[other_slice][other].as_ref());
                if pair.is_some_and(|(a, b)| overlap(a, b)) {
                    groups.unite(starts[slice] + number, starts[other_slice] + other);
                }
            }
        }
    }
    let mut members: std::collections::BTreeMap<usize, Vec<[usize; 2]>> = Default::default();
    for (slice, report) in slices.iter().enumerate() {
        for number in 0..report.lesions.len() {
            let group = groups.of(starts[slice] + number);
            members.entry(group).or_default().push([slice, number]);
        }
    }
    let mut joined: Vec<JoinedLesion> =
        members.into_values().map(|parts| sum(parts, slices, &masks, distance_mm)).collect();
    joined.sort_by_key(|lesion| std::cmp::Reverse(lesion.voxels));
    joined
}

fn overlap(a: &Mask, b: &Mask) -> bool {
    a.width == b.width
        && a.height == b.height
        && a.pixels.iter().zip(&b.pixels).any(|(a, b)| *a && *b)
}

fn sum(
    parts: Vec<[usize; 2]>,
    slices: &[SliceReport],
    masks: &[Vec<Option<Mask>>],
    distance_mm: Option<f64>,
) -> JoinedLesion {
    let lesion = |[slice, number]: [usize; 2]| &slices[slice].lesions[number];
    // Parts come slice by slice.
    let (first, last) = (parts[0][0], parts[parts.len() - 1][0]);
    let (mut voxels, mut cubic_mm, mut diameter) = (0, Some(0.0), Some(0.0f64));
    let mut largest = (0, first);
    for (slice, report) in slices.iter().enumerate().take(last + 1).skip(first) {
        let own: Vec<&Mask> = parts
            .iter()
            .filter(|part| part[0] == slice)
            .filter_map(|[_, number]| masks[slice][*number].as_ref())
            .collect();
        let Some(width) = own.first().map(|mask| mask.width) else { continue };
        let pixels: Vec<bool> = (0..own[0].pixels.len())
            .map(|place| own.iter().any(|mask| mask.pixels[place]))
            .collect();
        let union = Mask { width, height: own[0].height, pixels };
        let area = union.area();
        voxels += area;
        largest = if area > largest.0 { (area, slice) } else { largest };
        let spacing = report.spacing_mm;
        let volume =
            spacing.zip(distance_mm).map(|([r, c], distance)| area as f64 * r * c * distance);
        cubic_mm = cubic_mm.zip(volume).map(|(sum, own)| sum + own);
        diameter = diameter.zip(spacing).map(|(known, mm)| known.max(longest(&union, mm)));
    }
    let consolidated: usize = parts
        .iter()
        .filter(|part| lesion(**part).label == LesionKind::Consolidation)
        .map(|part| lesion(*part).area_px)
        .sum();
    let all: usize = parts.iter().map(|part| lesion(*part).area_px).sum();
    let other = parts
        .iter()
        .map(|part| lesion(*part).label)
        .find(|kind| *kind != LesionKind::Consolidation);
    JoinedLesion {
        label: match other {
            Some(kind) if 2 * consolidated <= all => kind,
            _ => LesionKind::Consolidation,
        },
        score: parts.iter().map(|part| lesion(*part).score).fold(0.0, f32::max),
        slices: [first, last],
        voxels,
        volume_ml: cubic_mm.map(|volume| volume / 1000.0),
        diameter_mm: diameter,
        largest_slice: largest.1,
        parts,
    }
}

/// Largest distance between corners of pixels on a mask's outline, in millimetres.
fn longest(mask: &Mask, [row, column]: [f64; 2]) -> f64 {
    let points: Vec<(f64, f64)> = contours(mask)
        .into_iter()
        .flatten()
        .map(|(x, y)| (f64::from(x) * column, f64::from(y) * row))
        .collect();
    let far = |(x1, y1): &(f64, f64), (x2, y2): &(f64, f64)| (x1 - x2).hypot(y1 - y2);
    let distances = points
        .iter()
        .enumerate()
        .flat_map(|(index, a)| points[index..].iter().map(move |b| far(a, b)));
    distances.fold(0.0, f64::max)
}

/// Sets of numbers that are united pair by pair.
struct Groups(Vec<usize>);

impl Groups {
    fn of(&mut self, mut number: usize) -> usize {
        while self.0[number] != number {
            self.0[number] = self.0[self.0[number]];
            number = self.0[number];
        }
        number
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.of(a), self.of(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::SliceClass;
    use crate::detection::BBox;
    use crate::detection::mask::connected_components::{bounding_box, connected_components};
    use crate::detection::mask::rle::Rle;
    use crate::image::Refusal;
    use crate::image::phantom::draw;
    use crate::report::Lesion;
    use proptest::prelude::*;

    const SIDE: usize = 8;

    fn lesion(mask: &Mask, label: LesionKind) -> Lesion {
        Lesion {
            label,
            score: 0.9,
            bbox: bounding_box(mask).unwrap_or(BBox::new(0.0, 0.0, 0.0, 0.0)),
            area_px: mask.area(),
            area_mm2: None,
            mask: Some(Rle::encode(mask)),
        }
    }

    /// Slices whose lesions are the connected regions of `pixels`, row by row, slice by slice.
    fn volume(pixels: &[bool]) -> Vec<SliceReport> {
        let phantom = draw(SliceClass::Control, 1).slice;
        pixels
            .chunks(SIDE * SIDE)
            .map(|pixels| {
                let mask = Mask { width: SIDE, height: SIDE, pixels: pixels.to_vec() };
                let regions = connected_components(&mask, 0);
                SliceReport {
                    spacing_mm: Some([1.0, 2.0]),
                    lesions: regions.iter().map(|r| lesion(&r.mask, LesionKind::Lesion)).collect(),
                    ..SliceReport::refused(&phantom, Refusal::NoLung, Default::default())
                }
            })
            .collect()
    }

    #[test]
    fn a_lesion_runs_through_slices_as_far_as_its_masks_overlap() {
        let mut pixels = vec![false; 4 * SIDE * SIDE];
        let mut set =
            |slice: usize, x: usize, y: usize| pixels[(slice * SIDE + y) * SIDE + x] = true;
        (1..4).for_each(|x| set(0, x, 1));
        (3..6).for_each(|x| set(1, x, 1));
        // Beside it, not under it.
        set(2, 6, 1);
        set(3, 6, 1);
        let joined = join(&volume(&pixels), Some(5.0));
        let found: Vec<_> = joined.iter().map(|lesion| (lesion.slices, lesion.voxels)).collect();
        assert_eq!(found, [([0, 1], 6), ([2, 3], 2)]);
        assert_eq!(joined[0].volume_ml, Some(6.0 * 2.0 * 5.0 / 1000.0));
        // Three pixels of 2 mm by 1 mm, from corner to corner.
        assert_eq!(joined[0].diameter_mm, Some(6f64.hypot(1.0)));
        assert_eq!(join(&volume(&pixels), None)[0].volume_ml, None);
    }

    #[test]
    fn the_kind_is_that_of_most_pixels_and_pixels_count_once() {
        let mut pixels = vec![false; SIDE * SIDE];
        pixels[..6].fill(true);
        let mut slices = volume(&pixels);
        let small = Mask { width: SIDE, height: SIDE, pixels: (0..64).map(|p| p < 4).collect() };
        slices[0].lesions.push(lesion(&small, LesionKind::Consolidation));
        let joined = join(&slices, None);
        assert_eq!((joined.len(), joined[0].voxels, joined[0].label), (1, 6, LesionKind::Lesion));
    }

    proptest! {
        /// In three dimensions by flooding: within a slice eight neighbours, across slices the pixel above and below.
        #[test]
        fn joined_lesions_are_the_connected_regions_of_the_volume(
            pixels in proptest::collection::vec(proptest::bool::weighted(0.3), 3 * SIDE * SIDE)
        ) {
            let mut expected = Vec::new();
            let mut seen = vec![false; pixels.len()];
            for start in 0..pixels.len() {
                let (mut stack, mut size) = (vec![start], 0);
                while let Some(place) = stack.pop() {
                    if !pixels[place] || std::mem::replace(&mut seen[place], true) {
                        continue;
                    }
                    size += 1;
                    let (z, y, x) = (place / 64, place / SIDE % SIDE, place % SIDE);
                    for ny in y.saturating_sub(1)..(y + 2).min(SIDE) {
                        for nx in x.saturating_sub(1)..(x + 2).min(SIDE) {
                            stack.push((z * SIDE + ny) * SIDE + nx);
                        }
                    }
                    stack.extend((z > 0).then(|| place - 64));
                    stack.extend((z < 2).then(|| place + 64));
                }
                expected.extend((size > 0).then_some(size));
            }
            expected.sort_by(|a, b| b.cmp(a));
            let joined = join(&volume(&pixels), Some(1.0));
            prop_assert_eq!(joined.iter().map(|lesion| lesion.voxels).collect::<Vec<_>>(), expected);
        }
    }
}
