//! Planes across a series in colours, and the places on them.

use crate::image::sections::{Cut, Sections};
use crate::report::SliceReport;
use crate::web::state::{Display, RenderedSections};

/// Grey values with the lesions of each slice over them, four bytes a pixel. `reports` has number, counted through all
/// series, and findings of the slices that are done.
pub fn rgba(
    rendered: &RenderedSections,
    which: usize,
    reports: &[(usize, SliceReport)],
    display: Display,
) -> Vec<u8> {
    let RenderedSections { first, sections, pixels, .. } = rendered;
    let cut = sections.cuts()[which];
    let (width, height) = sections.picture_size(cut);
    let mut colours: Vec<Option<[u8; 3]>> = vec![None; width * height];
    for (number, report) in reports.iter().filter(|_| display.overlay) {
        let Some(slice) = number.checked_sub(*first).filter(|slice| *slice < sections.slices)
        else {
            continue;
        };
        let row = &mut colours[sections.flipped(slice) * width..][..width];
        for lesion in &report.lesions {
            let size = [sections.size.1, sections.size.0];
            let masks = lesion.mask.iter().filter(|mask| mask.size == size).map(|mask| match cut {
                Cut::Row(row) => mask.row(row),
                Cut::Column(column) => mask.column(column),
            });
            for mask in masks.flatten() {
                for (pixel, _) in row.iter_mut().zip(mask).filter(|(_, inside)| *inside) {
                    *pixel = Some(lesion.label.rgb());
                }
            }
        }
    }
    let mut bytes = Vec::with_capacity(4 * width * height);
    for (row, greys) in pixels[which].chunks(width.max(1)).enumerate().take(height) {
        for (x, grey) in greys.iter().enumerate() {
            let at = |x: usize| colours.get(row * width + x).copied().flatten();
            let Some(colour) = at(x) else {
                bytes.extend([*grey, *grey, *grey, 255]);
                continue;
            };
            // A slice may be many pixels of the screen high: only its sides are outlined.
            let is_side = x == 0 || x + 1 == width || at(x - 1).is_none() || at(x + 1).is_none();
            let opacity = match (display.filled, is_side) {
                (true, _) => display.opacity,
                (false, true) => 1.0,
                (false, false) => 0.0,
            };
            let over = |part: u8| f64::from(part) * opacity + f64::from(*grey) * (1.0 - opacity);
            bytes.extend(colour.map(|part| over(part).round() as u8));
            bytes.push(255);
        }
    }
    bytes
}

/// Where planes are, or are about to be, whatever came last: within the slices.
pub fn wanted(rendered: &RenderedSections, at: (usize, usize)) -> Sections {
    let (columns, rows) = rendered.sections.size;
    let at = (at.0.min(columns.saturating_sub(1)), at.1.min(rows.saturating_sub(1)));
    Sections { at, ..rendered.sections }
}

/// What a place on a plane's picture, in shares of its width and height, leads to: the column and row where the planes
/// then lie, and the number of the slice in the series.
pub fn pointed_at(sections: &Sections, which: usize, share: (f64, f64)) -> ((usize, usize), usize) {
    let cut = sections.cuts()[which];
    let (width, height) = sections.picture_size(cut);
    let place = |share: f64, count: usize| {
        ((share * count as f64).max(0.0) as usize).min(count.saturating_sub(1))
    };
    let along = place(share.0, width);
    let at = match cut {
        Cut::Row(row) => (along, row),
        Cut::Column(column) => (column, along),
    };
    (at, sections.flipped(place(share.1, height)))
}

/// Where on a plane's picture the other plane crosses it, and where the slice of this number in the series: the middle of
/// that column and row of its pixels.
pub fn cross(sections: &Sections, which: usize, slice: usize) -> (f64, f64) {
    let along = match sections.cuts()[which] {
        Cut::Row(_) => sections.at.0,
        Cut::Column(_) => sections.at.1,
    };
    (along as f64 + 0.5, sections.flipped(slice) as f64 + 0.5)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::rc::Rc;

    use super::*;
    use crate::classes::LesionKind;
    use crate::detection::mask::rle::Rle;
    use crate::detection::{BBox, Mask};
    use crate::image::{CtSlice, Plane, Refusal};
    use crate::report::{Lesion, Origin};
    use proptest::prelude::*;

    const FIRST: usize = 7;

    fn rendered(at: (usize, usize)) -> RenderedSections {
        let plane =
            Plane { origin: [0.0; 3], along_row: [1.0, 0.0, 0.0], along_column: [0.0, 1.0, 0.0] };
        let (size, slices) = ((10, 8), 6);
        let sections = Sections { at, size, slices, spacing_mm: [1.0; 2], distance_mm: 2.0, plane };
        let pixels = [Rc::new(vec![100; 60]), Rc::new(vec![50; 48])];
        RenderedSections { first: FIRST, read: slices, sections, pixels }
    }

    /// A slice whose lesion covers columns 3 to 6 and rows 2 to 5.
    fn report() -> SliceReport {
        let mut mask = Mask::empty(10, 8);
        for row in 2..=5 {
            mask.pixels[row * 10 + 3..=row * 10 + 6].fill(true);
        }
        let slice = CtSlice::new("slice", (10, 8), vec![0; 80]);
        let mut report = SliceReport::refused(&slice, Refusal::NoLung, BTreeMap::new());
        report.lesions = vec![Lesion {
            label: LesionKind::Lesion,
            score: 0.9,
            bbox: BBox::new(3.0, 2.0, 7.0, 6.0),
            area_px: 16,
            area_mm2: None,
            mask: Some(Rle::encode(&mask)),
            origin: Origin::Model,
        }];
        report
    }

    #[test]
    fn lesions_lie_where_their_slices_do() {
        let reports: Vec<_> = (FIRST + 1..FIRST + 4).map(|slice| (slice, report())).collect();
        let rendered = rendered((4, 2));
        let lesion = LesionKind::Lesion.rgb();
        let coronal = rgba(&rendered, 0, &reports, Display::default());
        let sagittal = rgba(&rendered, 1, &reports, Display::default());
        assert_eq!((coronal.len(), sagittal.len()), (4 * 60, 4 * 48));
        let pixel = |picture: &[u8], width: usize, x: usize, y: usize| -> [u8; 4] {
            picture[4 * (y * width + x)..][..4].try_into().unwrap()
        };
        // Slices 1 to 3 of six, the head above: rows 2 to 4.
        for (x, y) in [(3, 2), (6, 4), (4, 2)] {
            let [red, green, ..] = pixel(&coronal, 10, x, y);
            assert!(red > 100 && red < lesion[0] && green < 100, "{x} {y}");
        }
        for (x, y) in [(2, 3), (7, 3), (4, 1), (4, 5)] {
            assert_eq!(pixel(&coronal, 10, x, y), [100, 100, 100, 255], "{x} {y}");
        }
        assert_eq!(pixel(&sagittal, 8, 1, 3), [50, 50, 50, 255]);
        assert_ne!(pixel(&sagittal, 8, 2, 3), [50, 50, 50, 255]);
        let hidden = Display { overlay: false, ..Display::default() };
        assert!(rgba(&rendered, 0, &reports, hidden).chunks(4).all(|p| p == [100, 100, 100, 255]));
        let outlined = Display { filled: false, ..Display::default() };
        let outlined = rgba(&rendered, 0, &reports, outlined);
        assert_eq!(pixel(&outlined, 10, 4, 2)[..3], [100; 3], "a slice is no line");
        assert_eq!(
            (&pixel(&outlined, 10, 3, 2)[..3], &pixel(&outlined, 10, 6, 4)[..3]),
            (&lesion[..], &lesion[..])
        );
    }

    #[test]
    fn findings_of_other_series_and_other_sizes_are_left_out() {
        let rendered = rendered((4, 2));
        let mut small = report();
        let full = Mask { width: 3, height: 3, pixels: vec![true; 9] };
        small.lesions[0].mask = Some(Rle::encode(&full));
        let reports = vec![(FIRST - 1, report()), (FIRST + 6, report()), (FIRST, small)];
        let picture = rgba(&rendered, 0, &reports, Display::default());
        assert!(picture.chunks(4).all(|pixel| pixel == [100, 100, 100, 255]));
    }

    #[test]
    fn a_place_of_another_series_is_moved_into_this_one() {
        assert_eq!(wanted(&rendered((0, 0)), (500, 3)).at, (9, 3));
    }

    proptest! {
        #[test]
        fn where_one_points_the_planes_cross(
            at in (0usize..10, 0usize..8), which in 0usize..2, share in (-0.2f64..1.2, -0.2f64..1.2),
        ) {
            let before = rendered(at).sections;
            let (at, slice) = pointed_at(&before, which, share);
            prop_assert!(at.0 < 10 && at.1 < 8 && slice < 6);
            let after = wanted(&rendered((0, 0)), at);
            prop_assert_eq!(after.at, at);
            prop_assert_eq!(after.cuts()[which], before.cuts()[which]);
            let (x, y) = cross(&after, which, slice);
            let (width, height) = after.picture_size(after.cuts()[which]);
            let (wanted_x, wanted_y) =
                ((share.0 * width as f64).clamp(0.0, width as f64), (share.1 * height as f64).clamp(0.0, height as f64));
            prop_assert!((x - wanted_x).abs() <= 0.5 + 1e-9 && (y - wanted_y).abs() <= 0.5 + 1e-9);
        }
    }
}
