//! Outlines of a mask as closed polygons along pixel edges, for drawing and export.

use crate::detection::Mask;

/// A closed polygon in pixel corners; the last point joins the first.
pub type Polygon = Vec<(u32, u32)>;

/// All outlines of `mask`: outer ones run clockwise on screen, holes counter-clockwise.
///
/// Filling them with the even-odd rule gives back exactly the mask.
pub fn contours(mask: &Mask) -> Vec<Polygon> {
    // Directed unit edges with the inside on their right; per corner at most two leave.
    let corners = mask.width + 1;
    let mut leaving: Vec<[Option<u8>; 2]> = vec![[None; 2]; corners * (mask.height + 1)];
    let mut push = |x: usize, y: usize, direction: u8| {
        let slot = &mut leaving[y * corners + x];
        let free = usize::from(slot[0].is_some());
        slot[free] = Some(direction);
    };
    for y in 0..mask.height {
        for x in 0..mask.width {
            let (column, row) = (x as isize, y as isize);
            if !mask.get(column, row) {
                continue;
            }
            if !mask.get(column, row - 1) {
                push(x, y, RIGHT);
            }
            if !mask.get(column + 1, row) {
                push(x + 1, y, DOWN);
            }
            if !mask.get(column, row + 1) {
                push(x + 1, y + 1, LEFT);
            }
            if !mask.get(column - 1, row) {
                push(x, y + 1, UP);
            }
        }
    }

    let mut polygons = Vec::new();
    for start in 0..leaving.len() {
        while let Some(first) = take(&mut leaving[start], None) {
            polygons.push(trace(&mut leaving, corners, start, first));
        }
    }
    polygons
}

const RIGHT: u8 = 0;
const DOWN: u8 = 1;
const LEFT: u8 = 2;
const UP: u8 = 3;

/// Takes an edge from a corner; where two leave, the one that turns right from `arriving`.
fn take(slot: &mut [Option<u8>; 2], arriving: Option<u8>) -> Option<u8> {
    let preferred = arriving.map(|direction| (direction + 1) % 4);
    let index = match slot {
        [_, Some(second)] if Some(*second) == preferred => 1,
        [Some(_), _] => 0,
        _ => 1,
    };
    slot[index].take()
}

fn trace(leaving: &mut [[Option<u8>; 2]], corners: usize, start: usize, first: u8) -> Polygon {
    let point = |at: usize| ((at % corners) as u32, (at / corners) as u32);
    let mut polygon = vec![point(start)];
    let (mut at, mut direction) = (start, first);
    loop {
        at = match direction {
            RIGHT => at + 1,
            DOWN => at + corners,
            LEFT => at - 1,
            _ => at - corners,
        };
        if at == start {
            return polygon;
        }
        let Some(next) = take(&mut leaving[at], Some(direction)) else {
            return polygon;
        };
        if next != direction {
            polygon.push(point(at));
        }
        direction = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fill_even_odd(polygons: &[Polygon], width: usize, height: usize) -> Mask {
        let mut mask = Mask::empty(width, height);
        for polygon in polygons {
            for (i, &(x1, y1)) in polygon.iter().enumerate() {
                let (x2, y2) = polygon[(i + 1) % polygon.len()];
                if x1 == x2 {
                    for y in y1.min(y2) as usize..y1.max(y2) as usize {
                        for x in x1 as usize..width {
                            mask.pixels[y * width + x] ^= true;
                        }
                    }
                }
            }
        }
        mask
    }

    #[test]
    fn a_single_pixel_is_a_square() {
        let mut mask = Mask::empty(3, 3);
        mask.pixels[4] = true;
        assert_eq!(contours(&mask), [vec![(1, 1), (2, 1), (2, 2), (1, 2)]]);
    }

    proptest! {
        #[test]
        fn filling_the_outlines_gives_back_the_mask(
            width in 1usize..12,
            bits in prop::collection::vec(any::<bool>(), 144),
        ) {
            let mask = Mask { width, height: 144 / 12, pixels: bits[..width * 12].to_vec() };
            prop_assert_eq!(fill_even_odd(&contours(&mask), width, 12), mask);
        }
    }
}
