//! Lesions of one slice put into the lungs of another (Ghiasi 2021): what few patients have is seen in many.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::dataset::instances::{Instance, LesionRules, LesionSlice};
use crate::detection::Mask;
use crate::detection::bilinear::{Sample, blend};
use crate::detection::mask::connected_components::connected_components;
use crate::detection::mask::scale_from_512;
use crate::image::CtSlice;
use crate::image::plausibility::{air_threshold, lungs};

/// Most lesions that are put into a slice.
const MOST: usize = 3;
/// How much smaller or larger they become.
const ZOOM: std::ops::Range<f32> = 0.7..1.3;
/// Pixels over which the edge of a lesion fades, where the long side of its slice has 512.
const FEATHER: f32 = 3.0;
/// Share of a lesion that must find room in the lungs.
const ROOM: f32 = 0.6;
/// Places that are tried for a lesion.
const TRIES: usize = 8;

/// Puts up to three lesions of `donor` into the lungs of `target`, mirrored or not, in the target's grey values.
/// A target without lungs, or a donor without lesions, changes nothing.
pub fn copy_lesions(
    mut target: LesionSlice,
    donor: &LesionSlice,
    rules: &LesionRules,
    rng: &mut ChaCha8Rng,
) -> LesionSlice {
    let known = (lungs(&target.slice), levels(&donor.slice), levels(&target.slice));
    let (Some(mut room), Some(from), Some(to)) = known else { return target };
    if donor.instances.is_empty() {
        return target;
    }
    let size = (target.slice.width, target.slice.height);
    let gain = (to[1] - to[0]) / (from[1] - from[0]);
    for drawn in target.instances.iter().chain(&target.ignored) {
        without(&mut room, &drawn.mask);
    }
    for _ in 0..rng.random_range(1..=MOST) {
        let lesion = &donor.instances[rng.random_range(0..donor.instances.len())];
        let zoom = size.0.max(size.1) as f32 / donor.slice.width.max(donor.slice.height) as f32;
        let copy =
            PastedLesion::of(lesion, &donor.slice, zoom * rng.random_range(ZOOM), rng.random());
        let Some(placed) = (0..TRIES).find_map(|_| copy.place(&room, rng)) else { continue };
        let mut mask = Mask::empty(size.0, size.1);
        for Pixel { at, value, share } in placed {
            let pixel = &mut target.slice.pixels[at];
            let value = to[0] + (value - from[0]) * gain;
            let mixed = f32::from(*pixel) * (1.0 - share) + value * share;
            *pixel = mixed.round().clamp(0.0, 255.0) as u8;
            mask.pixels[at] = share >= 0.5;
        }
        without(&mut room, &mask);
        // The border of the lungs may cut it.
        let smallest = rules.minimum_in(size);
        for part in connected_components(&mask, 0) {
            let is_lesion = part.area as f64 > smallest;
            let part = Instance { class: lesion.class, bbox: part.bbox, mask: part.mask };
            // What is too small to count is no background either: it can be seen.
            if is_lesion { &mut target.instances } else { &mut target.ignored }.push(part);
        }
    }
    target
}

fn without(room: &mut Mask, used: &Mask) {
    room.pixels.iter_mut().zip(&used.pixels).for_each(|(free, used)| *free &= !used);
}

/// Mean intensities of air and of tissue.
fn levels(slice: &CtSlice) -> Option<[f32; 2]> {
    let threshold = air_threshold(&slice.pixels)?;
    let mean = |is_tissue: bool| {
        let own = slice.pixels.iter().filter(|pixel| (**pixel > threshold) == is_tissue);
        let (sum, count) = own.fold((0.0, 0), |(sum, n), pixel| (sum + f64::from(*pixel), n + 1));
        (sum / f64::from(count.max(1))) as f32
    };
    Some([mean(false), mean(true)])
}

/// A pixel of the target under a lesion.
struct Pixel {
    at: usize,
    /// The donor's grey value.
    value: f32,
    /// How much of it is seen.
    share: f32,
}

/// A lesion on its way.
struct PastedLesion<'a> {
    slice: &'a CtSlice,
    /// Its mask with a fading edge.
    soft: Vec<f32>,
    middle: [f32; 2],
    /// Half of its box, in pixels of the target, the edge included.
    half: [f32; 2],
    zoom: f32,
    mirrored: bool,
}

impl<'a> PastedLesion<'a> {
    fn of(lesion: &Instance, slice: &'a CtSlice, zoom: f32, mirrored: bool) -> Self {
        let (width, height) = (slice.width, slice.height);
        let radius = (f64::from(FEATHER) / 2.0 * scale_from_512((width, height))).round() as usize;
        let hard: Vec<f32> = lesion.mask.pixels.iter().map(|is| f32::from(u8::from(*is))).collect();
        let b = lesion.bbox;
        let edge = FEATHER * zoom;
        Self {
            slice,
            soft: blurred(&hard, (width, height), radius),
            middle: [(b.x1 + b.x2) / 2.0, (b.y1 + b.y2) / 2.0],
            half: [b.width() / 2.0 * zoom + edge, b.height() / 2.0 * zoom + edge],
            zoom,
            mirrored,
        }
    }

    /// Somewhere in the lungs; none if it finds too little room there.
    fn place(&self, room: &Mask, rng: &mut ChaCha8Rng) -> Option<Vec<Pixel>> {
        let (width, height) = (room.width as f32, room.height as f32);
        let x = rng.random_range(0.0..width);
        let y = rng.random_range(0.0..height);
        if !room.get(x as isize, y as isize) {
            return None;
        }
        let range = |middle: f32, half: f32, end: f32| {
            (middle - half).max(0.0) as usize..(middle + half).clamp(0.0, end) as usize
        };
        let (mut pixels, mut seen, mut all) = (Vec::new(), 0.0, 0.0);
        for row in range(y, self.half[1], height) {
            for column in range(x, self.half[0], width) {
                let across = (column as f32 + 0.5 - x) / self.zoom;
                let down = (row as f32 + 0.5 - y) / self.zoom;
                let across = if self.mirrored { -across } else { across };
                let place = [self.middle[0] + across, self.middle[1] + down];
                let size = (self.slice.width, self.slice.height);
                let share = bilinear(size, place, |at| self.soft[at]);
                all += share;
                let at = row * room.width + column;
                if share > 0.0 && room.pixels[at] {
                    let value = bilinear(size, place, |at| f32::from(self.slice.pixels[at]));
                    seen += share;
                    pixels.push(Pixel { at, value, share });
                }
            }
        }
        (all > 0.0 && seen >= ROOM * all).then_some(pixels)
    }
}

/// The value at a place given in pixels, whose centres lie at halves; outside it is that of the border.
fn bilinear((width, height): (usize, usize), [x, y]: [f32; 2], at: impl Fn(usize) -> f32) -> f32 {
    let at = |row: usize, column: usize| at(row * width + column);
    blend(at, Sample::at(y - 0.5, height), Sample::at(x - 0.5, width))
}

/// Means over squares of `2 * radius + 1` pixels a side.
fn blurred(values: &[f32], (width, height): (usize, usize), radius: usize) -> Vec<f32> {
    let along = |values: &[f32], length: usize, step: usize, start: usize| -> Vec<f32> {
        let mean = |place: usize| {
            let range = place.saturating_sub(radius)..(place + radius + 1).min(length);
            range.map(|k| values[start + k * step]).sum::<f32>() / (2 * radius + 1) as f32
        };
        (0..length).map(mean).collect()
    };
    let rows: Vec<f32> = (0..height).flat_map(|y| along(values, width, 1, y * width)).collect();
    let mut out = vec![0.0; values.len()];
    for x in 0..width {
        for (y, value) in along(&rows, height, width, x).into_iter().enumerate() {
            out[y * width + x] = value;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::SliceClass;
    use crate::dataset::instances::{LesionTargets, instances};
    use crate::detection::mask::connected_components::bounding_box;
    use crate::image::phantom::{Phantom, draw};
    use crate::train::rng::{RngStream, rng};

    fn phantom(class: SliceClass, seed: u64) -> LesionSlice {
        let Phantom { slice, mask, .. } = draw(class, seed);
        let instances = instances(&mask, (slice.width, slice.height), LesionTargets::Merge, 100);
        LesionSlice { slice, instances, ignored: Vec::new() }
    }

    #[test]
    fn copies_lie_in_the_lungs_and_nothing_else_changes() {
        let rules = LesionRules::paper(LesionTargets::Merge);
        let donor = phantom(SliceClass::Covid19, 3);
        assert!(!donor.instances.is_empty());
        let mut copied = 0;
        for number in 0..20 {
            let target = phantom(SliceClass::Control, 50 + number);
            let lungs = lungs(&target.slice).unwrap();
            let mut rng = rng(1, RngStream::CopyPaste, number);
            let changed = copy_lesions(target.clone(), &donor, &rules, &mut rng);
            copied += changed.instances.len();
            let mut lesions = Mask::empty(target.slice.width, target.slice.height);
            for lesion in &changed.instances {
                assert_eq!(bounding_box(&lesion.mask), Some(lesion.bbox));
                assert!(lesion.mask.area() > 100);
                for (at, is_lesion) in lesion.mask.pixels.iter().enumerate() {
                    assert!(!is_lesion || lungs.pixels[at]);
                    // None lies on another.
                    assert!(!(*is_lesion && lesions.pixels[at]));
                    lesions.pixels[at] |= is_lesion;
                }
            }
            let pairs = target.slice.pixels.iter().zip(&changed.slice.pixels).enumerate();
            for (at, (before, after)) in pairs {
                assert!(before == after || lungs.pixels[at]);
            }
        }
        assert!(copied >= 20, "{copied}");
    }

    #[test]
    fn copies_are_brighter_than_the_lung_and_the_same_draw_is_the_same() {
        let rules = LesionRules::paper(LesionTargets::Merge);
        let (donor, target) = (phantom(SliceClass::Covid19, 3), phantom(SliceClass::Control, 9));
        let draw = |number| {
            let mut rng = rng(7, RngStream::CopyPaste, number);
            copy_lesions(target.clone(), &donor, &rules, &mut rng)
        };
        assert_eq!(draw(2).slice, draw(2).slice);
        let found = (0..9).map(draw).find(|found| !found.instances.is_empty()).unwrap();
        let mean = |slice: &CtSlice, mask: &Mask| {
            let under = slice.pixels.iter().zip(&mask.pixels).filter(|(_, is)| **is);
            under.map(|(pixel, _)| f64::from(*pixel)).sum::<f64>() / mask.area() as f64
        };
        let mask = &found.instances[0].mask;
        assert!(mean(&found.slice, mask) > mean(&target.slice, mask) + 20.0);
    }

    #[test]
    fn without_lungs_or_lesions_nothing_changes() {
        let rules = LesionRules::paper(LesionTargets::Merge);
        let (ill, healthy) = (phantom(SliceClass::Covid19, 3), phantom(SliceClass::Control, 9));
        let mut grey = healthy.clone();
        grey.slice.pixels.fill(90);
        for (target, donor) in [(&grey, &ill), (&healthy, &healthy)] {
            let mut rng = rng(7, RngStream::CopyPaste, 0);
            let changed = copy_lesions(target.clone(), donor, &rules, &mut rng);
            assert_eq!(changed.slice, target.slice);
            assert!(changed.instances.is_empty());
        }
    }
}
