//! Lesions of a series in three dimensions: those of neighbouring slices whose masks overlap are one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::classes::LesionKind;
use crate::detection::{BBox, Mask};
use crate::report::slice::{Lesion, Origin, SliceReport};

/// Most lesions of a series that people are shown in a list.
pub const LISTED: usize = 20;

/// One lesion that runs through neighbouring slices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JoinedLesion {
    /// The kind of most of its pixels.
    pub label: LesionKind,
    /// Highest probability of its parts that the model found; 1 if a reader drew all of them.
    pub score: f32,
    /// First and last slice, counted within the series from 0.
    pub slices: [usize; 2],
    /// Slice and number, both from 0, of each of its parts.
    pub parts: Vec<[usize; 2]>,
    /// Pixels of its parts; where two lie on each other, once.
    pub voxels: usize,
    /// Millilitres; `None` without spacing or masks.
    pub volume_ml: Option<f64>,
    /// Largest distance between two points of its outline within a slice, in millimetres; `None` without
    /// spacing or masks.
    pub diameter_mm: Option<f64>,
    /// The slice with most of it, within the series.
    pub largest_slice: usize,
}

/// A mask as far as its lesion's box reaches, which it may leave by a pixel.
struct Cropped {
    left: usize,
    top: usize,
    mask: Mask,
}

impl Cropped {
    const MARGIN: f32 = 2.0;

    fn of(lesion: &Lesion) -> Option<Self> {
        let whole = lesion.mask.as_ref()?.decode().ok()?;
        let BBox { x1, y1, x2, y2 } = lesion.bbox;
        // Casts saturate at 0.
        let [left, top] = [x1, y1].map(|edge| (edge - Self::MARGIN) as usize);
        let right = ((x2 + Self::MARGIN).ceil() as usize).min(whole.width);
        let bottom = ((y2 + Self::MARGIN).ceil() as usize).min(whole.height);
        let (left, top) = (left.min(right), top.min(bottom));
        let mut pixels = Vec::with_capacity((right - left) * (bottom - top));
        for y in top..bottom {
            pixels.extend_from_slice(&whole.pixels[y * whole.width..][left..right]);
        }
        Some(Self { left, top, mask: Mask { width: right - left, height: bottom - top, pixels } })
    }

    fn get(&self, x: usize, y: usize) -> bool {
        let (x, y) = (x.wrapping_sub(self.left), y.wrapping_sub(self.top));
        x < self.mask.width && y < self.mask.height && self.mask.pixels[y * self.mask.width + x]
    }

    /// The pixels of the picture that it covers.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let inside = self.mask.pixels.iter().enumerate().filter(|(_, inside)| **inside);
        inside.map(|(place, _)| {
            (self.left + place % self.mask.width, self.top + place / self.mask.width)
        })
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.places().any(|(x, y)| other.get(x, y))
    }
}

/// Joins the lesions of `slices`, which lie evenly, `distance_mm` apart, none missing; the largest first. Lesions without
/// a mask stay apart.
pub fn join(slices: &[SliceReport], distance_mm: f64) -> Vec<JoinedLesion> {
    let starts: Vec<usize> = slices
        .iter()
        .scan(0, |next, slice| Some(std::mem::replace(next, *next + slice.lesions.len())))
        .collect();
    let count = slices.iter().map(|slice| slice.lesions.len()).sum();
    let mut groups = Groups((0..count).collect());
    // What each lesion adds to its group: pixels that no stronger lesion of the same group covers are told later.
    let mut areas = vec![0usize; count];
    let mut diameters = vec![0.0f64; count];
    let mut before: Vec<Option<Cropped>> = Vec::new();
    for (slice, report) in slices.iter().enumerate() {
        let own: Vec<Option<Cropped>> = report.lesions.iter().map(Cropped::of).collect();
        for (number, mask) in own.iter().enumerate() {
            let Some(mask) = mask else { continue };
            let place = starts[slice] + number;
            let stronger = own[..number].iter().flatten();
            let stronger: Vec<&Cropped> = stronger.collect();
            let is_new = |(x, y): &(usize, usize)| !stronger.iter().any(|other| other.get(*x, *y));
            areas[place] = mask.places().filter(is_new).count();
            diameters[place] = report.spacing_mm.map_or(0.0, |mm| longest(mask, mm));
            let beside =
                own[..number].iter().enumerate().map(|(other, mask)| (starts[slice] + other, mask));
            let start_before = slice.checked_sub(1).map_or(0, |index| starts[index]);
            let above = before.iter().enumerate().map(|(other, mask)| (start_before + other, mask));
            for (other, other_mask) in beside.chain(above) {
                if other_mask.as_ref().is_some_and(|other| mask.overlaps(other)) {
                    groups.unite(place, other);
                }
            }
        }
        before = own;
    }
    let mut members: BTreeMap<usize, Vec<[usize; 2]>> = BTreeMap::new();
    for (slice, report) in slices.iter().enumerate() {
        for number in 0..report.lesions.len() {
            let group = groups.of(starts[slice] + number);
            members.entry(group).or_default().push([slice, number]);
        }
    }
    let of_part = |[slice, number]: [usize; 2]| starts[slice] + number;
    let mut joined: Vec<JoinedLesion> = members
        .into_values()
        .map(|parts| {
            let areas = parts.iter().map(|part| areas[of_part(*part)]).collect();
            let diameter = parts.iter().map(|part| diameters[of_part(*part)]).fold(0.0, f64::max);
            sum(parts, areas, diameter, slices, distance_mm)
        })
        .collect();
    joined.sort_by_key(|lesion| std::cmp::Reverse(lesion.voxels));
    joined
}

fn sum(
    parts: Vec<[usize; 2]>,
    areas: Vec<usize>,
    diameter: f64,
    slices: &[SliceReport],
    distance_mm: f64,
) -> JoinedLesion {
    let lesion = |[slice, number]: [usize; 2]| &slices[slice].lesions[number];
    // Parts come slice by slice.
    let (first, last) = (parts[0][0], parts[parts.len() - 1][0]);
    let voxels: usize = areas.iter().sum();
    let mut of_slices: BTreeMap<usize, usize> = BTreeMap::new();
    let mut cubic_mm = Some(0.0);
    for ([slice, _], area) in parts.iter().zip(&areas) {
        *of_slices.entry(*slice).or_default() += area;
        let own = slices[*slice].spacing_mm.map(|[row, column]| row * column * *area as f64);
        cubic_mm = cubic_mm.zip(own).map(|(sum, own)| sum + own * distance_mm);
    }
    let largest = of_slices.iter().max_by_key(|(slice, area)| (**area, std::cmp::Reverse(**slice)));
    let consolidated: usize = parts
        .iter()
        .zip(&areas)
        .filter(|(part, _)| lesion(**part).label == LesionKind::Consolidation)
        .map(|(_, area)| area)
        .sum();
    let kinds = parts.iter().map(|part| lesion(*part).label);
    let other = kinds.clone().find(|kind| *kind != LesionKind::Consolidation);
    let is_measured = voxels > 0;
    let scored = parts.iter().map(|part| lesion(*part));
    let scored = scored.filter(|part| part.origin != Origin::Reader).map(|part| part.score);
    JoinedLesion {
        label: match other {
            Some(kind) if 2 * consolidated <= voxels => kind,
            _ => LesionKind::Consolidation,
        },
        score: scored.reduce(f32::max).unwrap_or(1.0),
        slices: [first, last],
        voxels,
        volume_ml: cubic_mm.filter(|_| is_measured).map(|volume| volume / 1000.0),
        diameter_mm: (is_measured && cubic_mm.is_some()).then_some(diameter),
        largest_slice: largest.map_or(first, |(slice, _)| *slice),
        parts,
    }
}

/// Largest distance between corners of a mask's pixels, in millimetres: between two corners of their convex hull.
fn longest(cropped: &Cropped, [row, column]: [f64; 2]) -> f64 {
    // Of every row only the ends can be corners of the hull.
    let mut ends: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (x, y) in cropped.places() {
        for y in [y, y + 1] {
            let (left, right) = ends.entry(y).or_insert((x, x + 1));
            (*left, *right) = ((*left).min(x), (*right).max(x + 1));
        }
    }
    let points = ends
        .into_iter()
        .flat_map(|(y, (left, right))| [left, right].map(|x| (x as f64 * column, y as f64 * row)));
    let points: Vec<(f64, f64)> = points.collect();
    let hull = [1.0, -1.0].map(|side| chain(&points, side)).concat();
    let far = |(x1, y1): &(f64, f64), (x2, y2): &(f64, f64)| (x1 - x2).hypot(y1 - y2);
    let pairs =
        hull.iter().enumerate().flat_map(|(index, a)| hull[index..].iter().map(move |b| far(a, b)));
    pairs.fold(0.0, f64::max)
}

/// The chain of a convex hull on one `side` of points that come from top to bottom (Andrew 1979).
fn chain(points: &[(f64, f64)], side: f64) -> Vec<(f64, f64)> {
    let mut chain: Vec<(f64, f64)> = Vec::new();
    for point in points {
        while let [.., a, b] = chain[..] {
            let turn = (b.0 - a.0) * (point.1 - a.1) - (b.1 - a.1) * (point.0 - a.0);
            if turn * side > 0.0 {
                break;
            }
            chain.pop();
        }
        chain.push(*point);
    }
    chain
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
    use crate::detection::mask::connected_components::connected_components;
    use crate::image::{CtSlice, Refusal};
    use proptest::prelude::*;

    const SIDE: usize = 8;

    fn lesion(mask: &Mask, label: LesionKind) -> Lesion {
        let bare = Lesion { score: 0.9, origin: Origin::Model, ..Lesion::drawn(label) };
        bare.with_mask(mask, None).unwrap_or(bare)
    }

    /// Slices whose lesions are the connected regions of `pixels`, row by row, slice by slice.
    fn volume(pixels: &[bool]) -> Vec<SliceReport> {
        let slice = CtSlice::new("slice", (SIDE, SIDE), Vec::new());
        pixels
            .chunks(SIDE * SIDE)
            .map(|pixels| {
                let mask = Mask { width: SIDE, height: SIDE, pixels: pixels.to_vec() };
                let regions = connected_components(&mask, 0);
                SliceReport {
                    spacing_mm: Some([1.0, 2.0]),
                    lesions: regions.iter().map(|r| lesion(&r.mask, LesionKind::Lesion)).collect(),
                    ..SliceReport::refused(&slice, Refusal::NoLung, Default::default())
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
        let joined = join(&volume(&pixels), 5.0);
        let found: Vec<_> = joined.iter().map(|lesion| (lesion.slices, lesion.voxels)).collect();
        assert_eq!(found, [([0, 1], 6), ([2, 3], 2)]);
        assert_eq!(joined[0].volume_ml, Some(6.0 * 2.0 * 5.0 / 1000.0));
        // Three pixels of 2 mm by 1 mm, from corner to corner.
        assert_eq!(joined[0].diameter_mm, Some(6f64.hypot(1.0)));
        let mut bare = volume(&pixels);
        bare[0].spacing_mm = None;
        assert_eq!((join(&bare, 5.0)[0].volume_ml, join(&bare, 5.0)[0].diameter_mm), (None, None));
    }

    #[test]
    fn the_kind_is_that_of_most_pixels_and_pixels_count_once() {
        let mut pixels = vec![false; SIDE * SIDE];
        pixels[..6].fill(true);
        let mut slices = volume(&pixels);
        let small = Mask { width: SIDE, height: SIDE, pixels: (0..64).map(|p| p < 4).collect() };
        slices[0].lesions.push(lesion(&small, LesionKind::Consolidation));
        let joined = join(&slices, 1.0);
        assert_eq!((joined.len(), joined[0].voxels, joined[0].label), (1, 6, LesionKind::Lesion));
    }

    #[test]
    fn masks_that_leave_their_boxes_by_a_pixel_are_joined_and_those_without_a_mask_are_not() {
        let mut pixels = vec![false; SIDE * SIDE];
        pixels[..4].fill(true);
        let mut slices = volume(&pixels);
        let mut beside = slices[0].lesions[0].clone();
        beside.bbox = BBox::new(4.0, 0.0, 8.0, 1.0);
        let bare = Lesion { mask: None, ..beside.clone() };
        slices[0].lesions.extend([beside, bare]);
        let joined = join(&slices, 1.0);
        let found: Vec<_> =
            joined.iter().map(|l| (l.parts.len(), l.voxels, l.volume_ml.is_some())).collect();
        assert_eq!(found, [(2, 4, true), (1, 0, false)]);
    }

    proptest! {
        #[test]
        fn the_diameter_is_the_largest_distance_of_two_corners(
            pixels in proptest::collection::vec(proptest::bool::weighted(0.2), SIDE * SIDE)
        ) {
            let mask = Mask { width: SIDE, height: SIDE, pixels };
            let [row, column] = [1.5, 0.7];
            let corners: Vec<(usize, usize)> = (0..SIDE * SIDE)
                .filter(|place| mask.pixels[*place])
                .flat_map(|place| [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(x, y)| (place % SIDE + x, place / SIDE + y)))
                .collect();
            let far = |a: &(usize, usize), b: &(usize, usize)| {
                (column * (a.0 as f64 - b.0 as f64)).hypot(row * (a.1 as f64 - b.1 as f64))
            };
            let expected = corners.iter().flat_map(|a| corners.iter().map(move |b| far(a, b))).fold(0.0, f64::max);
            let found = longest(&Cropped { left: 3, top: 2, mask }, [row, column]);
            prop_assert!((found - expected).abs() < 1e-9, "{} {}", found, expected);
        }

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
            let joined = join(&volume(&pixels), 1.0);
            prop_assert_eq!(joined.iter().map(|lesion| lesion.voxels).collect::<Vec<_>>(), expected);
        }
    }
}
