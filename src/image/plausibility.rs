//! Whether a slice looks like a chest CT at all.
//!
//! The networks answer whatever they are shown. A warning beside the answer says when the picture is
//! plainly something else. A slice that passes may still be wrong: this looks for lungs, not for
//! quality.

use super::CtSlice;
use crate::geometry::Mask;
use crate::geometry::components::components;

/// Fields of view of chest CT in millimetres, with margin.
const FIELD_OF_VIEW_MM: std::ops::RangeInclusive<f64> = 150.0..=700.0;
/// Smallest share of the picture that lungs take up.
const LUNG_SHARE: f64 = 0.02;
/// Smallest distance between the mean intensities of air and tissue.
const CONTRAST: f64 = 40.0;

/// What is wrong with the slice, in words; empty for one that looks like a chest CT.
pub fn doubts(slice: &CtSlice) -> Vec<String> {
    let mut doubts = Vec::new();
    if let Some([rows, columns]) = slice.spacing_mm {
        let size = [rows * slice.height as f64, columns * slice.width as f64];
        if size.iter().any(|side| !FIELD_OF_VIEW_MM.contains(side)) {
            doubts.push(format!(
                "the field of view is {:.0} x {:.0} mm, which is unusual for a chest CT",
                size[1], size[0]
            ));
        }
    }
    if !shows_lungs(slice) {
        doubts.push(
            "hardly any lung was found: the slice lies at the edge of the lungs, or is no axial chest CT in a lung window; do not rely on the result"
                .into(),
        );
    }
    doubts
}

/// Whether dark regions surrounded by brighter ones take up enough of the picture.
fn shows_lungs(slice: &CtSlice) -> bool {
    let Some(threshold) = air_threshold(&slice.pixels) else { return false };
    let (width, height) = (slice.width, slice.height);
    let dark =
        Mask { width, height, pixels: slice.pixels.iter().map(|p| *p <= threshold).collect() };
    let smallest = (width * height) / 400;
    let surrounded: usize = components(&dark, smallest)
        .iter()
        .filter(|found| {
            let b = found.bbox;
            // A cropped picture may cut a lung; what touches two sides or more is the air around.
            let sides = [b.x1 <= 0.0, b.y1 <= 0.0, b.x2 >= width as f32, b.y2 >= height as f32];
            sides.iter().filter(|touches| **touches).count() < 2
        })
        .map(|found| found.area)
        .sum();
    surrounded as f64 >= LUNG_SHARE * (width * height) as f64
}

/// The intensity that parts dark from bright best (Otsu 1979); `None` where nothing is to be parted.
fn air_threshold(pixels: &[u8]) -> Option<u8> {
    let mut histogram = [0u64; 256];
    pixels.iter().for_each(|pixel| histogram[usize::from(*pixel)] += 1);
    let count = pixels.len() as f64;
    let all: f64 = histogram.iter().enumerate().map(|(v, n)| v as f64 * *n as f64).sum();
    let (mut below, mut sum) = (0.0, 0.0);
    let mut best = (0.0, 0u8, 0.0);
    for (value, number) in histogram.iter().enumerate() {
        below += *number as f64;
        sum += value as f64 * *number as f64;
        let above = count - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let difference = (all - sum) / above - sum / below;
        let variance = below * above * difference * difference;
        if variance > best.0 {
            best = (variance, value as u8, difference);
        }
    }
    (best.2 >= CONTRAST).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::phantom::{SliceClass, draw};

    fn slice(side: usize, pixels: impl Fn(usize, usize) -> u8) -> CtSlice {
        CtSlice {
            source: String::new(),
            width: side,
            height: side,
            pixels: (0..side * side).map(|i| pixels(i % side, i / side)).collect(),
            spacing_mm: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn phantoms_look_like_a_chest() {
        for class in [SliceClass::Control, SliceClass::CommonPneumonia, SliceClass::Covid19] {
            for seed in 0..5 {
                assert_eq!(doubts(&draw(class, seed).slice), Vec::<String>::new());
            }
        }
    }

    #[test]
    fn blank_pictures_gradients_stripes_and_noise_do_not() {
        let noise = |x: usize, y: usize| (((x * 7919 + y * 104_729) * 2_654_435_761) >> 7) as u8;
        let pictures = [
            slice(200, |_, _| 0),
            slice(200, |_, _| 255),
            slice(200, |x, _| x as u8),
            slice(200, |x, _| if x % 40 < 20 { 0 } else { 255 }),
            slice(200, noise),
        ];
        for (index, picture) in pictures.iter().enumerate() {
            assert_eq!(doubts(picture).len(), 1, "picture {index}");
        }
    }

    #[test]
    fn a_head_sized_field_of_view_is_doubted() {
        let mut chest = draw(SliceClass::Control, 1).slice;
        chest.spacing_mm = Some([0.2, 0.2]);
        assert!(doubts(&chest)[0].contains("102 x 102 mm"), "{:?}", doubts(&chest));
    }
}
