//! Whether a slice looks like a chest CT at all.
//!
//! The networks answer whatever they are shown, so what is plainly something else is not shown to them. A slice
//! that passes may still be wrong: this looks for lungs, not for quality.

use crate::detection::mask::connected_components::{Component, connected_components};
use crate::detection::mask::holes::{Neighbours, around};
use crate::detection::{BBox, Mask};
use crate::image::{CtSlice, Refusal};

/// Fields of view of chest CT in millimetres, with margin.
const FIELD_OF_VIEW_MM: std::ops::RangeInclusive<f64> = 150.0..=700.0;
/// The longer side of the smallest chest of an adult in millimetres, with margin; a head's is below.
const BODY_MM: f64 = 230.0;
/// Share of the picture that lungs take up where a class can be told.
const LUNG_SHARE: f64 = 0.02;
/// Share under which there is nothing like a lung at all. Between the two lie the slices at the edge of the lungs,
/// which may well show a lesion.
const NO_LUNG_SHARE: f64 = 0.002;
/// Intensity up to which a pixel is black.
const BLACK: u8 = 3;
/// Share of the lungs that is black in a soft-tissue window, where nothing is seen of them. In a lung window next to
/// nothing is.
const BLACK_SHARE: f64 = 0.5;
/// Smallest distance between the mean intensities of air and tissue.
const CONTRAST: f64 = 40.0;

/// Why nothing should be said of the slice; none for one that may be an axial slice of a chest CT.
pub fn refusal(slice: &CtSlice) -> Option<Refusal> {
    if let Some(reason) = &slice.not_chest_ct {
        return Some(Refusal::NotChestCt(reason.clone()));
    }
    if let Some([rows, columns]) = slice.spacing_mm {
        let [height, width] = [rows * slice.height as f64, columns * slice.width as f64];
        if ![height, width].iter().all(|side| FIELD_OF_VIEW_MM.contains(side)) {
            let [width_mm, height_mm] = [width.round() as u32, height.round() as u32];
            return Some(Refusal::FieldOfView { width_mm, height_mm });
        }
    }
    let Some(threshold) = air_threshold(&slice.pixels) else {
        return Some(Refusal::NoContrast);
    };
    if let Some(size) = body_mm(slice, threshold).filter(|size| *size < BODY_MM) {
        return Some(Refusal::SmallBody(size.round() as u32));
    }
    (lung_share(slice, threshold) < NO_LUNG_SHARE).then_some(Refusal::NoLung)
}

/// Why no class should be given for a slice that is looked at.
pub fn class_refusal(slice: &CtSlice) -> Option<Refusal> {
    let regions = air_threshold(&slice.pixels).map(|air| surrounded(slice, air));
    let regions = regions.unwrap_or_default();
    let area: usize = regions.iter().map(|found| found.area).sum();
    if (area as f64) < LUNG_SHARE * (slice.width * slice.height) as f64 {
        return Some(Refusal::LittleLung);
    }
    let is_black = |(pixel, inside): (&u8, &bool)| *inside && *pixel <= BLACK;
    let black = |found: &Component| {
        slice.pixels.iter().zip(&found.mask.pixels).filter(|pair| is_black(*pair)).count()
    };
    let black: usize = regions.iter().map(black).sum();
    (black as f64 > BLACK_SHARE * area as f64).then_some(Refusal::BlackLungs)
}

/// The longer side of the largest bright region, if the file tells millimetres and the region does not touch
/// the border, where it may be cut off.
fn body_mm(slice: &CtSlice, threshold: u8) -> Option<f64> {
    let [row, column] = slice.spacing_mm?;
    let (width, height) = (slice.width, slice.height);
    let b = body(slice, threshold)?;
    let is_whole = b.x1 > 0.0 && b.y1 > 0.0 && b.x2 < width as f32 && b.y2 < height as f32;
    let [across, down] = [f64::from(b.x2 - b.x1) * column, f64::from(b.y2 - b.y1) * row];
    is_whole.then_some(across.max(down))
}

/// The box around the largest bright region: the body, without what lies beside it.
pub(super) fn body(slice: &CtSlice, threshold: u8) -> Option<BBox> {
    let (width, height) = (slice.width, slice.height);
    let pixels = slice.pixels.iter().map(|pixel| *pixel > threshold).collect();
    let bright = connected_components(&Mask { width, height, pixels }, width * height / 100);
    Some(bright.iter().max_by_key(|found| found.area)?.bbox)
}

/// Dark regions that are surrounded by brighter ones; none where air and tissue cannot be told apart.
pub fn lungs(slice: &CtSlice) -> Option<Mask> {
    let mut mask = Mask::empty(slice.width, slice.height);
    for region in surrounded(slice, air_threshold(&slice.pixels)?) {
        mask.pixels.iter_mut().zip(region.mask.pixels).for_each(|(lung, own)| *lung |= own);
    }
    Some(mask)
}

/// Share of the picture that they take up.
fn lung_share(slice: &CtSlice, threshold: u8) -> f64 {
    let area: usize = surrounded(slice, threshold).iter().map(|found| found.area).sum();
    area as f64 / (slice.width * slice.height) as f64
}

/// Dark regions that brighter ones surround, none of them a ring.
pub(super) fn surrounded(slice: &CtSlice, threshold: u8) -> Vec<Component> {
    let (width, height) = (slice.width, slice.height);
    let dark =
        Mask { width, height, pixels: slice.pixels.iter().map(|p| *p <= threshold).collect() };
    let smallest = (width * height) / 400;
    let mut found = connected_components(&dark, smallest);
    found.retain(|found| {
        let b = found.bbox;
        // A cropped picture may cut a lung; what touches two sides or more is the air around.
        let sides = [b.x1 <= 0.0, b.y1 <= 0.0, b.x2 >= width as f32, b.y2 >= height as f32];
        sides.iter().filter(|touches| **touches).count() < 2
    });
    found.retain(|found| 2 * enclosed_area(found) <= found.area);
    found
}

/// Pixels that a region encloses: what it runs around. Lungs have vessels in them; a ring has a good part of its own
/// size inside.
fn enclosed_area(region: &Component) -> usize {
    let b = region.bbox;
    let (left, top) = (b.x1 as usize, b.y1 as usize);
    let (width, height) = ((b.x2 - b.x1) as usize, (b.y2 - b.y1) as usize);
    let mut cropped = Mask::empty(width, height);
    for (place, inside) in cropped.pixels.iter_mut().enumerate() {
        let (x, y) = (place % width + left, place / width + top);
        *inside = region.mask.pixels[y * region.mask.width + x];
    }
    // What is reached from the border of its box lies around it.
    let around = around(&cropped, Neighbours::Eight).area();
    (width * height).saturating_sub(region.area + around)
}

/// The intensity that parts dark from bright best (Otsu 1979); `None` where nothing is to be parted.
pub fn air_threshold(pixels: &[u8]) -> Option<u8> {
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
    use crate::classes::SliceClass;
    use crate::image::NotChestCt;
    use crate::image::phantom::draw;

    fn slice(side: usize, pixels: impl Fn(usize, usize) -> u8) -> CtSlice {
        CtSlice::new(
            "",
            (side, side),
            (0..side * side).map(|i| pixels(i % side, i / side)).collect(),
        )
    }

    #[test]
    fn what_a_region_encloses_is_counted_whatever_is_in_it() {
        let sieve = slice(256, |x, y| {
            let is_inside = (20..236).contains(&x) && (20..236).contains(&y);
            if is_inside && (x % 2 == 1 || y % 2 == 1) { 10 } else { 200 }
        });
        let regions = surrounded(&sieve, 100);
        // A quarter of the square is holes: less than half of the rest.
        assert_eq!(regions.len(), 1);
        let [inside, area] = [enclosed_area(&regions[0]), regions[0].area];
        assert!((inside * 3).abs_diff(area) < area / 20, "{inside} in {area}");
    }

    #[test]
    fn rings_are_no_lungs() {
        let rings = slice(512, |x, y| {
            let radius = (x as f64 - 256.0).hypot(y as f64 - 256.0);
            if radius > 240.0 || radius % 60.0 < 25.0 { 10 } else { 200 }
        });
        let bullseye = slice(512, |x, y| {
            let radius = (x as f64 - 256.0).hypot(y as f64 - 256.0);
            if (150.0..190.0).contains(&radius) { 10 } else { 200 }
        });
        assert!(refusal(&bullseye).is_some());
        // In the middle lies a disc.
        assert!(class_refusal(&rings).is_some());
    }

    #[test]
    fn phantoms_look_like_a_chest() {
        for class in [SliceClass::Control, SliceClass::CommonPneumonia, SliceClass::Covid19] {
            for seed in 0..5 {
                let mut chest = draw(class, seed).slice;
                assert_eq!((refusal(&chest), class_refusal(&chest)), (None, None));
                chest.spacing_mm = Some([0.7, 0.7]);
                assert_eq!(refusal(&chest), None);
            }
        }
    }

    #[test]
    fn lungs_that_a_soft_tissue_window_blackens_have_no_class() {
        let mut chest = draw(SliceClass::Covid19, 3).slice;
        // From -1350..150 HU to -160..240.
        let darkened = |pixel: u8| {
            let hu = f64::from(pixel) / 255.0 * 1500.0 - 1350.0;
            ((hu + 160.0) / 400.0 * 255.0).clamp(0.0, 255.0) as u8
        };
        chest.pixels.iter_mut().for_each(|pixel| *pixel = darkened(*pixel));
        assert_eq!((refusal(&chest), class_refusal(&chest)), (None, Some(Refusal::BlackLungs)));
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
            assert!(class_refusal(picture).is_some(), "picture {index}");
            // Noise has dark regions of any shape.
            assert!(refusal(picture).is_some() || index == 4, "picture {index}");
        }
    }

    #[test]
    fn what_is_too_small_for_a_chest_or_says_that_it_is_none_is_refused() {
        let chest = draw(SliceClass::Control, 1).slice;
        let of = |spacing: f64| {
            refusal(&CtSlice { spacing_mm: Some([spacing; 2]), ..chest.clone() }).unwrap()
        };
        assert_eq!(of(0.2), Refusal::FieldOfView { width_mm: 102, height_mm: 102 });
        // A field of view that a head is scanned with.
        assert!(matches!(of(0.43), Refusal::SmallBody(_)), "{}", of(0.43));
        let scout = CtSlice { not_chest_ct: Some(NotChestCt::Localizer), ..chest };
        assert!(refusal(&scout).unwrap().to_string().contains("localizer"));
    }
}
