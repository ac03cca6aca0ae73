//! Random changes of training slices.

use rand::RngExt;

use super::config::Augmentation;
use super::dataset::lesions::{Instance, LesionSlice};
use super::loader::{purpose, rng};
use crate::geometry::BBox;
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
}

impl Change {
    /// None at all.
    pub const NONE: Self = Self { mirrored: false, brightness: 0.0, contrast: 1.0, gamma: 1.0 };

    /// Draws the change of slice number `number` of a run.
    pub fn draw(augmentation: Augmentation, seed: u64, number: u64) -> Self {
        let mut rng = rng(seed, purpose::AUGMENTATION, number);
        match augmentation {
            Augmentation::None => Self::NONE,
            Augmentation::Flip => Self { mirrored: rng.random_bool(0.5), ..Self::NONE },
            Augmentation::Jitter => Self {
                mirrored: rng.random_bool(0.5),
                brightness: rng.random_range(-0.08f32..0.08),
                contrast: rng.random_range(0.8f32..1.25),
                gamma: rng.random_range(0.8f32..1.25),
            },
        }
    }

    /// Changes a picture.
    pub fn apply(&self, mut slice: CtSlice) -> CtSlice {
        if self.mirrored {
            slice.pixels.chunks_exact_mut(slice.width).for_each(<[u8]>::reverse);
        }
        let table: Vec<u8> = (0..=255u8).map(|value| self.intensity(value)).collect();
        slice.pixels.iter_mut().for_each(|pixel| *pixel = table[usize::from(*pixel)]);
        slice
    }

    fn intensity(&self, value: u8) -> u8 {
        let bent = (f32::from(value) / 255.0).powf(self.gamma);
        let moved = (bent - 0.5) * self.contrast + 0.5 + self.brightness;
        (moved * 255.0).round().clamp(0.0, 255.0) as u8
    }

    /// Changes a slice with its lesions.
    pub fn apply_with_lesions(&self, read: LesionSlice) -> LesionSlice {
        let LesionSlice { slice, instances } = read;
        let width = slice.width;
        let mirror = |Instance { class, bbox, mut mask }| {
            mask.pixels.chunks_exact_mut(width).for_each(<[bool]>::reverse);
            let side = width as f32;
            let bbox = BBox::new(side - bbox.x2, bbox.y1, side - bbox.x1, bbox.y2);
            Instance { class, bbox, mask }
        };
        let instances =
            if self.mirrored { instances.into_iter().map(mirror).collect() } else { instances };
        LesionSlice { slice: self.apply(slice), instances }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::components::bounding_box;
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
            Change::NONE.apply_with_lesions(original.clone()),
            mirror.apply_with_lesions(mirror.apply_with_lesions(original.clone())),
        ] {
            assert_eq!(changed.slice, original.slice);
            assert_eq!(changed.instances, original.instances);
        }
    }

    #[test]
    fn mirrored_boxes_fit_mirrored_masks() {
        let mirror = Change { mirrored: true, ..Change::NONE };
        for lesion in mirror.apply_with_lesions(slice()).instances {
            assert_eq!(bounding_box(&lesion.mask), Some(lesion.bbox));
        }
    }

    #[test]
    fn every_number_has_its_own_change() {
        let of = |number| Change::draw(Augmentation::Jitter, 3, number);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }
}
