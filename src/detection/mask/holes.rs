//! What lies around a mask, and what it encloses.

use crate::detection::mask::Mask;

/// Which neighbours a path may step to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbours {
    /// Those that share an edge.
    Four,
    /// Those that share a corner, too.
    Eight,
}

/// Pixels outside a mask that a path reaches from the border of its picture without crossing the mask.
pub fn around(mask: &Mask, neighbours: Neighbours) -> Mask {
    let (width, height) = (mask.width, mask.height);
    let mut around = Mask::empty(width, height);
    if width == 0 || height == 0 {
        return around;
    }
    let border = (0..width).flat_map(|x| [x, (height - 1) * width + x]);
    let mut stack: Vec<usize> =
        border.chain((0..height).flat_map(|y| [y * width, (y + 1) * width - 1])).collect();
    while let Some(place) = stack.pop() {
        if mask.pixels[place] || std::mem::replace(&mut around.pixels[place], true) {
            continue;
        }
        let (x, y) = (place % width, place / width);
        for ny in y.saturating_sub(1)..(y + 2).min(height) {
            for nx in x.saturating_sub(1)..(x + 2).min(width) {
                let next = ny * width + nx;
                let is_neighbour = neighbours == Neighbours::Eight || nx == x || ny == y;
                if is_neighbour && !mask.pixels[next] && !around.pixels[next] {
                    stack.push(next);
                }
            }
        }
    }
    around
}

/// A mask with what it encloses.
pub fn without_holes(mut mask: Mask) -> Mask {
    let around = around(&mask, Neighbours::Four);
    mask.pixels.iter_mut().zip(around.pixels).for_each(|(inside, around)| *inside = !around);
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let pixels = rows.iter().flat_map(|row| row.bytes().map(|byte| byte == b'#')).collect();
        Mask { width: rows[0].len(), height: rows.len(), pixels }
    }

    #[test]
    fn a_ring_encloses_what_is_inside_and_an_open_one_does_not() {
        let ring = mask(&[".....", ".###.", ".#.#.", ".###.", "....."]);
        assert_eq!(without_holes(ring.clone()).area(), 9);
        let open = mask(&[".....", ".###.", ".#...", ".###.", "....."]);
        assert_eq!(without_holes(open.clone()), open);
        assert_eq!(around(&ring, Neighbours::Four).area(), 16);
    }

    #[test]
    fn a_path_over_corners_leaves_a_ring_that_is_open_at_one() {
        let diamond = mask(&[".....", "..#..", ".#.#.", "..#..", "....."]);
        assert_eq!(without_holes(diamond.clone()).area(), 5);
        assert_eq!(around(&diamond, Neighbours::Eight).area(), 21);
    }

    #[test]
    fn an_empty_picture_has_nothing_around() {
        assert_eq!(around(&Mask::empty(0, 0), Neighbours::Four).area(), 0);
        assert_eq!(without_holes(Mask::empty(3, 1)).area(), 0);
    }
}
