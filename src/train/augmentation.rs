//! Random changes of training slices.

use rand::RngExt;

use super::affine::Affine;
use super::config::Augmentation;
use super::dataset::lesions::{Instance, LesionSlice};
use super::loader::{purpose, rng};
use crate::geometry::BBox;
use crate::geometry::components::bounding_box;
use crate::image::CtSlice;

/// What happens to one slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Left and right are swapped.
    pub mirrored: bool,
    /// Added to intensities of 0 to 1.
    pub brightness: f32,
    /// Factor around the middle intensity.
    pub contrast: f32,
    /// Exponent of the intensity.
    pub gamma: f32,
    /// Turn, zoom and shift, after the swap.
    pub affine: Option<Affine>,
}

impl Change {
    /// None at all.
    pub const NONE: Self =
        Self { mirrored: false, brightness: 0.0, contrast: 1.0, gamma: 1.0, affine: None };

    /// Draws the change of slice number `number` of a run.
    pub fn draw(augmentation: Augmentation, seed: u64, number: u64) -> Self {
        let mut rng = rng(seed, purpose::AUGMENTATION, number);
        if augmentation == Augmentation::None {
            return Self::NONE;
        }
        let mut change = Self { mirrored: rng.random_bool(0.5), ..Self::NONE };
        if matches!(augmentation, Augmentation::Jitter | Augmentation::Affine) {
            change.brightness = rng.random_range(-0.08f32..0.08);
            change.contrast = rng.random_range(0.8f32..1.25);
            change.gamma = rng.random_range(0.8f32..1.25);
        }
        if augmentation == Augmentation::Affine {
            change.affine = Some(Affine {
                turn: rng.random_range(-10.0f32..10.0).to_radians(),
                zoom: rng.random_range(0.8f32.ln()..1.25f32.ln()).exp(),
                shift: [(); 2].map(|()| rng.random_range(-0.1f32..0.1)),
            });
        }
        change
    }

    /// Changes a picture.
    pub fn apply(&self, mut slice: CtSlice) -> CtSlice {
        if self.mirrored {
            slice.pixels.chunks_exact_mut(slice.width).for_each(<[u8]>::reverse);
        }
        let table: Vec<u8> = (0..=255u8).map(|value| self.intensity(value)).collect();
        slice.pixels.iter_mut().for_each(|pixel| *pixel = table[usize::from(*pixel)]);
        if let Some(affine) = &self.affine {
            slice.pixels = affine.move_pixels(&slice.pixels, (slice.width, slice.height));
        }
        slice
    }

    fn intensity(&self, value: u8) -> u8 {
        let bent = (f32::from(value) / 255.0).powf(self.gamma);
        let moved = (bent - 0.5) * self.contrast + 0.5 + self.brightness;
        (moved * 255.0).round().clamp(0.0, 255.0) as u8
    }

    /// Changes a slice with its lesions. Lesions of which `minimum_area` pixels or fewer are left in
    /// the picture are gone; if that leaves none, the slice stays where it was.
    pub fn apply_with_lesions(&self, read: LesionSlice, minimum_area: usize) -> LesionSlice {
        let LesionSlice { slice, mut instances } = read;
        if self.mirrored {
            instances.iter_mut().for_each(|instance| mirror(instance, slice.width));
        }
        let Some(affine) = &self.affine else {
            return LesionSlice { slice: self.apply(slice), instances };
        };
        let moved: Vec<Instance> = instances
            .iter()
            .filter_map(|instance| {
                let mask = affine.move_mask(&instance.mask);
                let bbox = bounding_box(&mask)?;
                let left = mask.area() > minimum_area;
                left.then_some(Instance { class: instance.class, bbox, mask })
            })
            .collect();
        if moved.is_empty() && !instances.is_empty() {
            let staying = Self { affine: None, ..*self };
            return LesionSlice { slice: staying.apply(slice), instances };
        }
        LesionSlice { slice: self.apply(slice), instances: moved }
    }
}

fn mirror(instance: &mut Instance, width: usize) {
    instance.mask.pixels.chunks_exact_mut(width).for_each(<[bool]>::reverse);
    let (side, bbox) = (width as f32, instance.bbox);
    instance.bbox = BBox::new(side - bbox.x2, bbox.y1, side - bbox.x1, bbox.y2);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Mask;
    use crate::image::phantom::{Phantom, SliceClass, draw};
    use crate::train::dataset::lesions::{LesionClasses, instances};

    fn slice() -> LesionSlice {
        let Phantom { slice, mask, .. } = draw(SliceClass::Covid19, 2);
        let instances = instances(&mask, (slice.width, slice.height), LesionClasses::Merge, 100);
        LesionSlice { slice, instances }
    }

    #[test]
    fn no_change_changes_nothing_and_two_mirrors_neither() {
        let original = slice();
        let mirror = Change { mirrored: true, ..Change::NONE };
        for changed in [
            Change::NONE.apply_with_lesions(original.clone(), 100),
            mirror.apply_with_lesions(mirror.apply_with_lesions(original.clone(), 100), 100),
        ] {
            assert_eq!(changed.slice, original.slice);
            assert_eq!(changed.instances, original.instances);
        }
    }

    #[test]
    fn mirrored_boxes_fit_mirrored_masks() {
        let mirror = Change { mirrored: true, ..Change::NONE };
        for lesion in mirror.apply_with_lesions(slice(), 100).instances {
            assert_eq!(bounding_box(&lesion.mask), Some(lesion.bbox));
        }
    }

    #[test]
    fn every_number_has_its_own_change() {
        let of = |number| Change::draw(Augmentation::Jitter, 3, number);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
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
        let original =
            LesionSlice { slice: white, instances: vec![Instance { class: 1, bbox, mask }] };
        for number in 0..50 {
            let affine = Change::draw(Augmentation::Affine, 1, number).affine;
            let change = Change { affine, mirrored: number % 2 == 0, ..Change::NONE };
            let moved = change.apply_with_lesions(original.clone(), 100);
            let lesion = &moved.instances[0];
            assert_eq!(bounding_box(&lesion.mask), Some(lesion.bbox));
            let differ = lesion.mask.pixels.iter().zip(&moved.slice.pixels);
            let differ = differ.filter(|(set, pixel)| **set != (**pixel > 127)).count();
            assert!(differ * 20 < lesion.mask.area(), "{differ} of {}", lesion.mask.area());
        }
    }

    #[test]
    fn a_slice_whose_lesions_would_leave_the_picture_stays() {
        let out = Affine { turn: 0.0, zoom: 1.0, shift: [2.0, 0.0] };
        let change = Change { affine: Some(out), ..Change::NONE };
        let original = slice();
        let kept = change.apply_with_lesions(original.clone(), 100);
        assert_eq!(kept.slice, original.slice);
        assert_eq!(kept.instances, original.instances);
    }
}
