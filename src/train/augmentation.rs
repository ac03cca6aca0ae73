//! Random changes of training slices.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::dataset::instances::{Instance, LesionSlice};
use crate::detection::BBox;
use crate::image::CtSlice;
use crate::image::preprocess::Resize;
use crate::train::affine::{Affine, Elastic, Frame, Outside, sample_instances, sample_pixels};
use crate::train::appearance::Appearance;
use crate::train::config::Augmentation;
use crate::train::rng::{RngStream, rng};

/// Share of a lesion that must stay in the picture for it to count as one.
const VISIBLE: f32 = 0.3;
/// Share of the crops that are taken around a lesion, where there is one.
const AROUND_LESION: f32 = 0.85;

/// What happens to one slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Left and right are swapped.
    pub mirrored: bool,
    /// Top and bottom are swapped.
    pub upended: bool,
    /// Turn, zoom, shift and bend, after the swaps.
    pub affine: Option<Affine>,
    /// Intensities.
    pub appearance: Appearance,
    /// Where a crop lies among all places, along x and y; and which lesion it is taken around. Each 0 to 1.
    pub crop: [f32; 3],
}

impl Transform {
    /// None at all.
    pub const NONE: Self = Self {
        mirrored: false,
        upended: false,
        affine: None,
        appearance: Appearance::NONE,
        crop: [0.5, 0.5, 1.0],
    };

    /// Draws the change of slice number `number` of a run that learns lesions.
    pub fn draw(augmentation: Augmentation, seed: u64, number: u64) -> Self {
        let mut rng = rng(seed, RngStream::Augmentation, number);
        if augmentation == Augmentation::None {
            return Self { crop: [(); 3].map(|()| rng.random()), ..Self::NONE };
        }
        let mut change = Self { mirrored: rng.random_bool(0.5), ..Self::NONE };
        match augmentation {
            Augmentation::None | Augmentation::Flip => {}
            Augmentation::Jitter | Augmentation::Affine => {
                change.appearance.brightness = rng.random_range(-0.08f32..0.08);
                change.appearance.contrast = rng.random_range(0.8f32..1.25);
                change.appearance.gamma = rng.random_range(0.8f32..1.25);
            }
            Augmentation::Strong => change.appearance = strong_appearance(&mut rng, 0.4..0.9),
        }
        change.affine = match augmentation {
            Augmentation::Affine => Some(affine(&mut rng, 10.0, [0.8, 1.25], 0.1)),
            Augmentation::Strong => {
                let elastic = rng.random_bool(0.3).then(|| bend(&mut rng));
                Some(Affine { elastic, ..affine(&mut rng, 15.0, [0.65, 1.5], 0.1) })
            }
            _ => None,
        };
        change.crop = [(); 3].map(|()| rng.random());
        change
    }

    /// Draws the change of slice number `number` of a run that learns the class of a slice as a whole.
    pub fn draw_whole(augmentation: Augmentation, seed: u64, number: u64) -> Self {
        let mut change = Self::draw(augmentation, seed, number);
        if augmentation == Augmentation::Strong {
            let mut rng = rng(seed, RngStream::AugmentationWhole, number);
            change.upended = rng.random_bool(0.15);
            change.appearance = strong_appearance(&mut rng, 0.4..1.0);
            // Between 60 and 100 % of the area, anywhere.
            let share: f32 = rng.random_range(0.6f32..1.0).sqrt();
            let room = (1.0 / share - 1.0) / 2.0 + 0.03;
            let elastic = rng.random_bool(0.2).then(|| bend(&mut rng));
            let zoom = 1.0 / share;
            change.affine = Some(Affine { elastic, ..affine(&mut rng, 15.0, [zoom, zoom], room) });
        }
        change
    }

    fn swap(&self, pixels: &mut [u8], width: usize) {
        if self.mirrored {
            pixels.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        if self.upended {
            // Turning the picture around and mirroring it swaps top and bottom.
            pixels.reverse();
            pixels.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
    }

    /// Changes a picture; its size stays.
    pub fn apply(&self, mut slice: CtSlice) -> CtSlice {
        let size = (slice.width, slice.height);
        self.swap(&mut slice.pixels, slice.width);
        if let Some(affine) = &self.affine {
            let places = affine.sources(&Frame::whole(size, size));
            slice.pixels = sample_pixels(&slice.pixels, size, &places, Outside::Edge);
        }
        self.appearance.apply(&mut slice.pixels, size);
        slice
    }

    /// Changes a square picture and scales it to `side`; what comes from outside is black, as around the
    /// picture.
    pub fn apply_square(&self, mut slice: CtSlice, side: usize) -> CtSlice {
        let size = (slice.width, slice.height);
        self.swap(&mut slice.pixels, slice.width);
        let affine = self.affine.unwrap_or(Affine::NONE);
        // Four samples a pixel, or a picture that is reduced would be sharper than inference's.
        let places = affine.sources(&Frame::whole(size, (2 * side, 2 * side)));
        let fine = sample_pixels(&slice.pixels, size, &places, Outside::Black);
        slice.pixels = mean_of_four(&fine, side);
        (slice.width, slice.height) = (side, side);
        self.appearance.apply(&mut slice.pixels, (side, side));
        slice
    }

    /// Changes a slice with its lesions and takes it to the network's scale; of a picture larger than `crop`
    /// network pixels along a side, a part of that size is kept.
    ///
    /// Lesions that leave `minimum_area` network pixels or fewer in the picture, or less than three tenths of
    /// themselves, are no lesions any more but places to be ignored.
    pub fn apply_with_lesions(
        &self,
        read: LesionSlice,
        resize: Resize,
        crop: Option<usize>,
        minimum_area: usize,
    ) -> LesionSlice {
        let LesionSlice { mut slice, mut instances, mut ignored } = read;
        let size = (slice.width, slice.height);
        let (height, width) = resize.size((slice.height, slice.width));
        let affine = self.affine.unwrap_or(Affine::NONE);
        self.swap(&mut slice.pixels, slice.width);
        for instance in instances.iter_mut().chain(&mut ignored) {
            self.swap_instance(instance, size);
        }
        let frame = self.frame(&affine, size, (width, height), crop, &instances);
        let still = self.affine.is_none() && frame == Frame::whole(size, size);
        if !still {
            let places = affine.sources(&frame);
            slice.pixels = sample_pixels(&slice.pixels, size, &places, Outside::Edge);
            (slice.width, slice.height) = frame.crop;
            let [across, down] = frame.scale();
            let growth = across * down * affine.zoom * affine.zoom;
            let left = sample_instances(&instances, &places, frame.crop);
            let mut kept = Vec::with_capacity(instances.len());
            for (before, after) in instances.iter().zip(left) {
                let Some(after) = after else { continue };
                let area = after.mask.area();
                let visible = area as f32 >= VISIBLE * growth * before.mask.area() as f32;
                if visible && area > minimum_area {
                    kept.push(after);
                } else {
                    ignored.push(before.clone());
                }
            }
            instances = kept;
            ignored =
                sample_instances(&ignored, &places, frame.crop).into_iter().flatten().collect();
        }
        self.appearance.apply(&mut slice.pixels, (slice.width, slice.height));
        LesionSlice { slice, instances, ignored }
    }

    /// The part of the network's picture that is kept: around a lesion most times.
    fn frame(
        &self,
        affine: &Affine,
        source: (usize, usize),
        full: (usize, usize),
        crop: Option<usize>,
        instances: &[Instance],
    ) -> Frame {
        let whole = Frame::whole(source, full);
        let Some(side) = crop else { return whole };
        let kept = (full.0.min(side), full.1.min(side));
        let room = [(full.0 - kept.0) as f32, (full.1 - kept.1) as f32];
        let mut bounds = [[0.0, room[0]], [0.0, room[1]]];
        let chosen = (self.crop[2] / AROUND_LESION * instances.len() as f32) as usize;
        if let Some(instance) = instances.get(chosen) {
            let [across, down] = whole.scale();
            let bbox = instance.bbox.scale(across, down);
            let centre = [(bbox.x1 + bbox.x2) / 2.0, (bbox.y1 + bbox.y2) / 2.0];
            let centre = affine.forward(centre, full);
            for axis in 0..2 {
                let side = [kept.0, kept.1][axis] as f32;
                bounds[axis] = [centre[axis] - 0.9 * side, centre[axis] - 0.1 * side]
                    .map(|bound| bound.clamp(0.0, room[axis]));
            }
        }
        let place = |axis: usize| {
            let [low, high] = bounds[axis];
            (low + self.crop[axis] * (high - low)).round()
        };
        Frame { offset: [place(0), place(1)], crop: kept, ..whole }
    }

    fn swap_instance(&self, instance: &mut Instance, (width, height): (usize, usize)) {
        let (wide, high) = (width as f32, height as f32);
        if self.mirrored {
            instance.mask.pixels.chunks_exact_mut(width).for_each(<[bool]>::reverse);
            let BBox { x1, y1, x2, y2 } = instance.bbox;
            instance.bbox = BBox::new(wide - x2, y1, wide - x1, y2);
        }
        if self.upended {
            instance.mask.pixels.reverse();
            instance.mask.pixels.chunks_exact_mut(width).for_each(<[bool]>::reverse);
            let BBox { x1, y1, x2, y2 } = instance.bbox;
            instance.bbox = BBox::new(x1, high - y2, x2, high - y1);
        }
    }
}

fn affine(rng: &mut ChaCha8Rng, degrees: f32, zoom: [f32; 2], shift: f32) -> Affine {
    let [low, high] = zoom.map(f32::ln);
    Affine {
        rotation: rng.random_range(-degrees..degrees).to_radians(),
        zoom: if low < high { rng.random_range(low..high).exp() } else { zoom[0] },
        shift: [(); 2].map(|()| rng.random_range(-shift..shift)),
        elastic: None,
    }
}

fn bend(rng: &mut ChaCha8Rng) -> Elastic {
    Elastic::draw(|| rng.random_range(-0.025f32..0.025))
}

/// Windows, scanners and publishers as different as those of several sources.
fn strong_appearance(rng: &mut ChaCha8Rng, resolution: std::ops::Range<f32>) -> Appearance {
    Appearance {
        gamma: rng.random_range(-0.5f32..0.5).exp(),
        contrast: rng.random_range(0.7f32..1.4),
        brightness: rng.random_range(-0.15f32..0.15),
        clahe: rng.random_bool(0.15).then(|| rng.random_range(1.5f32..4.0)),
        resolution: rng.random_bool(0.3).then(|| rng.random_range(resolution)),
        blur: rng.random_bool(0.3).then(|| rng.random_range(0.3f32..1.5)),
        noise: rng.random_bool(0.3).then(|| (rng.random_range(0.005f32..0.05), rng.random())),
    }
}

/// Reduces a square of twice `side` to `side`.
fn mean_of_four(pixels: &[u8], side: usize) -> Vec<u8> {
    let sum = |row: usize, column: usize| {
        let at = 2 * row * 2 * side + 2 * column;
        let quad = [at, at + 1, at + 2 * side, at + 2 * side + 1];
        quad.iter().map(|at| u16::from(pixels[*at])).sum::<u16>()
    };
    let place = |at: usize| (at / side, at % side);
    (0..side * side).map(place).map(|(row, column)| ((sum(row, column) + 2) / 4) as u8).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::classes::SliceClass;
    use crate::dataset::instances::{LesionTargets, instances};
    use crate::detection::Mask;
    use crate::detection::mask::connected_components::bounding_box;
    use crate::image::phantom::{Phantom, draw};

    const RESIZE: Resize = Resize::ShortSide;

    fn slice() -> LesionSlice {
        static DRAWN: LazyLock<LesionSlice> = LazyLock::new(|| {
            let Phantom { slice, mask, .. } = draw(SliceClass::Covid19, 2);
            let size = (slice.width, slice.height);
            let instances = instances(&mask, size, LesionTargets::Merge, 100);
            LesionSlice { slice, instances, ignored: Vec::new() }
        });
        DRAWN.clone()
    }

    #[test]
    fn no_change_changes_nothing_and_two_swaps_neither() {
        let original = slice();
        let swap = Transform { mirrored: true, upended: true, ..Transform::NONE };
        let apply =
            |change: Transform, to: LesionSlice| change.apply_with_lesions(to, RESIZE, None, 100);
        for changed in
            [apply(Transform::NONE, original.clone()), apply(swap, apply(swap, original.clone()))]
        {
            assert_eq!(changed.slice, original.slice);
            assert_eq!(changed.instances, original.instances);
        }
    }

    #[test]
    fn boxes_fit_masks_after_every_change() {
        for number in 0..40 {
            let change = Transform::draw(Augmentation::Strong, 5, number);
            let change = Transform { upended: number % 3 == 0, ..change };
            let crop = (number % 2 == 0).then_some(384);
            let changed = change.apply_with_lesions(slice(), RESIZE, crop, 100);
            let size = (changed.slice.width, changed.slice.height);
            assert_eq!(size, if crop.is_some() { (384, 384) } else { (512, 512) });
            for lesion in changed.instances.iter().chain(&changed.ignored) {
                assert_eq!(bounding_box(&lesion.mask), Some(lesion.bbox));
            }
        }
    }

    #[test]
    fn most_crops_show_a_lesion() {
        let shown = (0..60).filter(|number| {
            let change = Transform::draw(Augmentation::Strong, 1, *number);
            !change.apply_with_lesions(slice(), RESIZE, Some(256), 100).instances.is_empty()
        });
        assert!(shown.count() > 45);
    }

    #[test]
    fn every_number_has_its_own_change() {
        let of = |number| Transform::draw(Augmentation::Strong, 3, number);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
        assert_ne!(of(5), Transform::draw_whole(Augmentation::Strong, 3, 5));
    }

    /// Picture and mask move together: a slice that is white exactly where its lesion is stays so.
    #[test]
    fn lesions_move_with_the_picture() {
        let (width, height) = (64, 48);
        let mut mask = Mask::empty(width, height);
        let mut white = slice().slice;
        (white.width, white.height) = (width, height);
        for (index, pixel) in mask.pixels.iter_mut().enumerate() {
            *pixel = (20..35).contains(&(index % width)) && (10..22).contains(&(index / width));
        }
        white.pixels = mask.pixels.iter().map(|set| if *set { 255 } else { 0 }).collect();
        let bbox = bounding_box(&mask).unwrap();
        let instances = vec![Instance { class: 1, bbox, mask }];
        let original = LesionSlice { slice: white, instances, ignored: Vec::new() };
        for number in 0..50 {
            let affine = Transform::draw(Augmentation::Strong, 1, number).affine;
            let change = Transform { affine, mirrored: number % 2 == 0, ..Transform::NONE };
            let moved = change.apply_with_lesions(original.clone(), RESIZE, None, 100);
            let Some(lesion) = moved.instances.first() else { continue };
            let differ = lesion.mask.pixels.iter().zip(&moved.slice.pixels);
            let differ = differ.filter(|(set, pixel)| **set != (**pixel > 127)).count();
            assert!(differ * 20 < lesion.mask.area(), "{differ} of {}", lesion.mask.area());
        }
    }

    #[test]
    fn a_lesion_that_leaves_the_picture_is_no_lesion_any_more() {
        let shift = |by: f32| Transform {
            affine: Some(Affine { shift: [by, 0.0], ..Affine::NONE }),
            ..Transform::NONE
        };
        let gone = shift(2.0).apply_with_lesions(slice(), RESIZE, None, 100);
        assert!(gone.instances.is_empty() && gone.ignored.is_empty());
        let lesions = slice().instances.len();
        let sliver = (1..100).map(|by| shift(by as f32 / 100.0)).map(|change| {
            let left = change.apply_with_lesions(slice(), RESIZE, None, 100);
            assert!(left.instances.len() + left.ignored.len() <= lesions);
            left.ignored.len()
        });
        assert!(sliver.max() > Some(0), "what is left of a lesion at the edge is ignored");
    }
}
