//! Masks that are drawn by hand.

use crate::detection::Mask;

impl Mask {
    /// Sets every pixel whose middle lies within `radius` of the line through `points`, and those that the points lie in, to
    /// `value`. Points are columns and rows of the mask, the middle of its first pixel at (0.5, 0.5); they may lie beside it.
    pub fn paint(&mut self, points: &[(f64, f64)], radius: f64, value: bool) {
        let ends = points.iter().copied().skip(1).chain(points.last().copied());
        for (from, to) in points.iter().copied().zip(ends) {
            self.paint_line(from, to, radius, value);
        }
    }

    fn paint_line(&mut self, from: (f64, f64), to: (f64, f64), radius: f64, value: bool) {
        // Casts of numbers out of range end at the range's end.
        let range = |a: f64, b: f64, length: usize| {
            let first = (a.min(b) - radius).floor().max(0.0) as usize;
            first..((a.max(b) + radius).ceil().max(0.0) as usize).min(length)
        };
        for row in range(from.1, to.1, self.height) {
            for column in range(from.0, to.0, self.width) {
                let middle = (column as f64 + 0.5, row as f64 + 0.5);
                let holds =
                    |(x, y): (f64, f64)| x.floor() == column as f64 && y.floor() == row as f64;
                if distance(middle, from, to) <= radius || holds(from) || holds(to) {
                    self.pixels[row * self.width + column] = value;
                }
            }
        }
    }

    /// Adds what another mask of the same size holds.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.pixels.iter_mut().zip(&other.pixels) {
            *own |= *other;
        }
    }
}

/// Distance of a point from the line between two others.
fn distance(point: (f64, f64), from: (f64, f64), to: (f64, f64)) -> f64 {
    let (along_x, along_y) = (to.0 - from.0, to.1 - from.1);
    let (x, y) = (point.0 - from.0, point.1 - from.1);
    let length = along_x * along_x + along_y * along_y;
    let share = if length > 0.0 { (x * along_x + y * along_y) / length } else { 0.0 };
    let share = share.clamp(0.0, 1.0);
    (x - share * along_x).hypot(y - share * along_y)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(mask: &Mask) -> Vec<String> {
        let row = |row: &[bool]| row.iter().map(|set| if *set { '#' } else { '.' }).collect();
        mask.pixels.chunks(mask.width).map(row).collect()
    }

    #[test]
    fn a_stroke_is_as_wide_as_its_brush_and_an_eraser_takes_it_away() {
        let mut mask = Mask::empty(7, 5);
        mask.paint(&[(1.5, 2.5), (5.5, 2.5)], 1.0, true);
        assert_eq!(rows(&mask), [".......", ".#####.", "#######", ".#####.", "......."]);
        mask.paint(&[(3.5, 2.5)], 0.5, false);
        assert_eq!(rows(&mask)[2], "###.###");
    }

    proptest! {
        #[test]
        fn a_point_paints_a_disc_wherever_it_lies(
            x in -20f64..40.0, y in -20f64..40.0, radius in 0.5f64..15.0
        ) {
            let mut mask = Mask::empty(23, 17);
            mask.paint(&[(x, y)], radius, true);
            for (index, set) in mask.pixels.iter().enumerate() {
                let (column, row) = ((index % 23) as f64 + 0.5, (index / 23) as f64 + 0.5);
                let holds = x.floor() + 0.5 == column && y.floor() + 0.5 == row;
                prop_assert_eq!(*set, (column - x).hypot(row - y) <= radius || holds);
            }
        }
    }
}
