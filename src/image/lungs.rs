//! Which pixels of an axial slice are lung, right and left: what is dark and surrounded, with its vessels, and with the
//! consolidations that its smoothed border takes in.
//!
//! Thresholds and shapes, no network: it can be wrong, above all where much of a lung is as dense as what lies around
//! it (docs/method.md, 9).

use serde::{Deserialize, Serialize};

use crate::detection::Mask;
use crate::detection::mask::connected_components::bounding_box;
use crate::detection::mask::holes::without_holes;
use crate::detection::mask::scale_from_512;
use crate::image::CtSlice;
use crate::image::plausibility::{air_threshold, body, surrounded};

/// Radius of the disc that smooths a lung's border, in pixels where the longer side has 512.
const RADIUS: f32 = 6.0;
/// Share of a region that must lie beyond the middle for it to be both lungs.
const BOTH: f64 = 0.2;
/// Least part of a row's direction that must lie across the patient: an angle of 30 degrees.
const ACROSS: f64 = 0.866;
/// Part of the picture's width, about its middle, in which both lungs are cut apart.
const CUT: f64 = 0.2;

/// What parts the patient's right from the left in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Midline {
    /// Mean column of the body.
    pub column: usize,
    /// Whether the patient's right lies before it, as slices are usually shown.
    pub right_first: bool,
}

impl Midline {
    /// Whether a column lies on the patient's right.
    pub fn is_right(&self, column: usize) -> bool {
        (column < self.column) == self.right_first
    }
}

/// The lungs on a slice, as masks of the whole picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lungs {
    /// The patient's right lung.
    pub right: Mask,
    /// The patient's left lung.
    pub left: Mask,
    /// What lies between them.
    pub midline: Midline,
}

/// The lungs on a slice; `None` where there is nothing like one, or where the rows do not run from one side of the patient
/// to the other. Without a plane the patient's right is taken to be on the left of the picture, as slices are shown.
pub fn segment(slice: &CtSlice) -> Option<Lungs> {
    let (width, height) = (slice.width, slice.height);
    // Towards the patient's left, in a slice as it is usually shown.
    let along_row = slice.plane.map_or(1.0, |plane| plane.along_row[0]);
    if along_row.abs() < ACROSS {
        return None;
    }
    let threshold = air_threshold(&slice.pixels)?;
    let body = body(slice, threshold)?;
    let mut regions = surrounded(slice, threshold);
    // The table's hollows are none.
    regions.retain(|region| {
        let b = region.bbox;
        let (x, y) = ((b.x1 + b.x2) / 2.0, (b.y1 + b.y2) / 2.0);
        (body.x1..body.x2).contains(&x) && (body.y1..body.y2).contains(&y)
    });
    let middle = middle_of_body(slice, threshold)?;
    let radius = (f64::from(RADIUS) * scale_from_512((width, height))).round() as usize;
    let mut sides = [Mask::empty(width, height), Mask::empty(width, height)];
    for region in &regions {
        let column = cut(&region.mask, middle);
        for (side, range) in [0..column, column..width].into_iter().enumerate() {
            let mut part = region.mask.clone();
            for (place, inside) in part.pixels.iter_mut().enumerate() {
                *inside &= range.contains(&(place % width));
            }
            smooth(&part, radius, &mut sides[side]);
        }
    }
    if sides.iter().all(|side| side.area() == 0) {
        return None;
    }
    let [on_the_left, on_the_right] = sides;
    let midline = Midline { column: middle, right_first: along_row > 0.0 };
    Some(match midline.right_first {
        true => Lungs { right: on_the_left, left: on_the_right, midline },
        false => Lungs { right: on_the_right, left: on_the_left, midline },
    })
}

/// Mean column of what is brighter than air.
fn middle_of_body(slice: &CtSlice, threshold: u8) -> Option<usize> {
    let bright = slice.pixels.iter().enumerate().filter(|(_, pixel)| **pixel > threshold);
    let (sum, count) =
        bright.fold((0, 0), |(sum, n), (place, _)| (sum + place % slice.width, n + 1));
    (count > 0).then(|| sum / count)
}

/// The column from which on a region belongs to the lung on the right of the picture: where it is lowest, if it lies on
/// both sides of the `middle`; else before or behind all of it.
fn cut(region: &Mask, middle: usize) -> usize {
    let mut columns = vec![0usize; region.width];
    for (place, _) in region.pixels.iter().enumerate().filter(|(_, inside)| **inside) {
        columns[place % region.width] += 1;
    }
    let area: usize = columns.iter().sum();
    let before: usize = columns[..middle].iter().sum();
    let share = before as f64 / area.max(1) as f64;
    if !(BOTH..=1.0 - BOTH).contains(&share) {
        return if share > 0.5 { region.width } else { 0 };
    }
    let reach = (CUT / 2.0 * region.width as f64) as usize;
    let range = middle.saturating_sub(reach)..(middle + reach + 1).min(region.width);
    range.min_by_key(|column| (columns[*column], column.abs_diff(middle))).unwrap_or(middle)
}

/// Adds `part`, its border closed by a disc and its holes filled, to `whole`.
fn smooth(part: &Mask, radius: usize, whole: &mut Mask) {
    let Some(bbox) = bounding_box(part) else { return };
    let (left, top) = (bbox.x1 as usize, bbox.y1 as usize);
    let margin = radius + 1;
    let (width, height) = (bbox.width() as usize + 2 * margin, bbox.height() as usize + 2 * margin);
    let mut cropped = Mask::empty(width, height);
    for y in 0..height - 2 * margin {
        let from = (top + y) * part.width + left;
        let to = (y + margin) * width + margin;
        let row = &part.pixels[from..][..width - 2 * margin];
        cropped.pixels[to..][..row.len()].copy_from_slice(row);
    }
    let grown = spread(&cropped, radius, true);
    let filled = without_holes(spread(&grown, radius, false));
    for (place, _) in filled.pixels.iter().enumerate().filter(|(_, inside)| **inside) {
        let (x, y) = (place % width + left, place / width + top);
        if (margin..whole.width + margin).contains(&x)
            && (margin..whole.height + margin).contains(&y)
        {
            whole.pixels[(y - margin) * whole.width + x - margin] = true;
        }
    }
}

/// A mask in which every pixel within `radius` of one of `value` has that value.
fn spread(mask: &Mask, radius: usize, value: bool) -> Mask {
    let (width, height) = (mask.width, mask.height);
    // Sums along the rows tell how many of a run of pixels have the value.
    let mut sums = vec![0u32; (width + 1) * height];
    for y in 0..height {
        for x in 0..width {
            let own = u32::from(mask.pixels[y * width + x] == value);
            sums[y * (width + 1) + x + 1] = sums[y * (width + 1) + x] + own;
        }
    }
    let mut out = Mask { width, height, pixels: vec![!value; width * height] };
    for y in 0..height {
        for row in y.saturating_sub(radius)..(y + radius + 1).min(height) {
            let down = row.abs_diff(y);
            let half = ((radius * radius - down * down) as f64).sqrt() as usize;
            let sums = &sums[row * (width + 1)..][..width + 1];
            for x in 0..width {
                if sums[(x + half + 1).min(width)] > sums[x.saturating_sub(half)] {
                    out.pixels[y * width + x] = value;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::SliceClass;
    use crate::image::Plane;
    use crate::image::phantom::draw;

    /// A body with two lungs, the left of the picture smaller, joined by a bridge of `bridge` rows.
    fn chest(bridge: usize) -> CtSlice {
        let mut slice = draw(SliceClass::Control, 1).slice;
        (slice.width, slice.height) = (200, 160);
        let inside = |x: f64, y: f64, [cx, cy, rx, ry]: [f64; 4]| {
            ((x - cx) / rx).powi(2) + ((y - cy) / ry).powi(2) < 1.0
        };
        slice.pixels = (0..200 * 160)
            .map(|place| {
                let (x, y) = ((place % 200) as f64, (place / 200) as f64);
                let body = inside(x, y, [100.0, 80.0, 95.0, 70.0]);
                let lung = inside(x, y, [58.0, 80.0, 30.0, 45.0])
                    || inside(x, y, [140.0, 80.0, 34.0, 50.0]);
                let vessel = inside(x, y, [140.0, 80.0, 4.0, 4.0]);
                let joined = (80.0 - y).abs() * 2.0 < bridge as f64 && (60.0..140.0).contains(&x);
                if body && !((lung || joined) && !vessel) { 200 } else { 20 }
            })
            .collect();
        slice
    }

    #[test]
    fn lungs_are_told_apart_whether_they_touch_or_not_and_hold_their_vessels() {
        for bridge in [0, 6] {
            let lungs = segment(&chest(bridge)).unwrap();
            let (right, left) = (lungs.right.area() as f64, lungs.left.area() as f64);
            let ellipse = |rx: f64, ry: f64| std::f64::consts::PI * rx * ry;
            assert!((right / ellipse(30.0, 45.0) - 1.0).abs() < 0.06, "{right}");
            assert!((left / ellipse(34.0, 50.0) - 1.0).abs() < 0.06, "{left}");
            assert!(lungs.left.get(140, 80) && !lungs.right.get(140, 80));
        }
    }

    #[test]
    fn a_hollow_table_is_no_lung() {
        let mut slice = chest(0);
        let expected = segment(&slice).unwrap();
        for (place, pixel) in slice.pixels.iter_mut().enumerate() {
            let (x, y) = (place % 200, place / 200);
            if (50..150).contains(&x) && (152..158).contains(&y) {
                let is_wall = y == 152 || y == 157 || x == 50 || x == 149;
                *pixel = if is_wall { 200 } else { 20 };
            }
        }
        assert!(surrounded(&slice, 100).len() > 2, "it is dark and surrounded");
        let found = segment(&slice).unwrap();
        assert!(found.right == expected.right && found.left == expected.left);
    }

    #[test]
    fn a_mirrored_plane_turns_the_sides() {
        let mut slice = chest(0);
        let usual = segment(&slice).unwrap();
        let along_row = [-1.0, 0.0, 0.0];
        slice.plane = Some(Plane { origin: [0.0; 3], along_row, along_column: [0.0, 1.0, 0.0] });
        let mirrored = segment(&slice).unwrap();
        assert!(usual.right == mirrored.left && usual.left == mirrored.right);
        let (along_row, along_column) = ([0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]);
        slice.plane = Some(Plane { origin: [0.0; 3], along_row, along_column });
        assert!(segment(&slice).is_none(), "the rows run from front to back");
    }

    #[test]
    fn a_notch_in_the_border_is_closed_and_a_bay_is_not() {
        let mut part = Mask::empty(60, 60);
        for (place, inside) in part.pixels.iter_mut().enumerate() {
            let (x, y) = (place % 60, place / 60);
            let notch = (28..32).contains(&x) && y < 20;
            let bay = (20..40).contains(&x) && y > 40;
            *inside = (5..55).contains(&x) && (5..55).contains(&y) && !notch && !bay;
        }
        let mut whole = Mask::empty(60, 60);
        smooth(&part, 4, &mut whole);
        assert!(whole.get(30, 15) && !whole.get(30, 50) && whole.get(10, 10) && !whole.get(2, 30));
    }

    #[test]
    fn where_nothing_is_dark_and_surrounded_there_are_no_lungs() {
        let mut slice = chest(0);
        let body =
            |place: usize| ((place % 200) as f64 - 100.0).hypot((place / 200) as f64 - 80.0) < 70.0;
        let body: Vec<u8> =
            (0..200 * 160).map(|place| if body(place) { 200 } else { 20 }).collect();
        slice.pixels = body;
        assert!(air_threshold(&slice.pixels).is_some(), "air can be told from tissue");
        assert!(segment(&slice).is_none());
    }
}
