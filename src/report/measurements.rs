//! What a reader measures on a slice: distances, and values within ellipses.

use serde::{Deserialize, Serialize};

/// What is measured. Places are columns and rows of the slice, the middle of its first pixel at (0.5, 0.5).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// A distance between two places.
    Ruler([(f64, f64); 2]),
    /// An ellipse, upright within the rectangle of two corners.
    Ellipse([(f64, f64); 2]),
}

/// What the values of a slice are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Hounsfield units.
    Hounsfield,
    /// Values of a file that does not say that they are Hounsfield units.
    Plain,
    /// Grey of a picture, 0 to 255.
    Grey,
}

/// Values within an ellipse.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// What they are.
    pub unit: Unit,
    /// Pixels whose middles lie within the ellipse.
    pub pixels: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, by their own number.
    pub deviation: f64,
}

/// A shape with what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The shape.
    pub shape: Shape,
    /// Length of a ruler in pixels.
    pub length_px: Option<f64>,
    /// The same in millimetres, if the pixel spacing is known.
    pub length_mm: Option<f64>,
    /// Area of an ellipse in pixels.
    pub area_px: Option<f64>,
    /// The same in square millimetres, if the pixel spacing is known.
    pub area_mm2: Option<f64>,
    /// Values within an ellipse; `None` if it holds the middle of no pixel.
    pub values: Option<Values>,
}

impl Measurement {
    /// Measures on a slice of `size` (columns, rows), whose pixels are `spacing_mm` apart (between rows, between columns) and
    /// hold what `value` says of their place, row by row.
    pub fn of(
        shape: Shape,
        size: (usize, usize),
        spacing_mm: Option<[f64; 2]>,
        unit: Unit,
        value: impl Fn(usize) -> Option<f64>,
    ) -> Self {
        // A pointer may end beside the slice, where nothing is.
        let inside =
            |(x, y): (f64, f64)| (x.clamp(0.0, size.0 as f64), y.clamp(0.0, size.1 as f64));
        let shape = match shape {
            Shape::Ruler(ends) => Shape::Ruler(ends.map(inside)),
            Shape::Ellipse(corners) => Shape::Ellipse(corners.map(inside)),
        };
        let nothing = Self {
            shape,
            length_px: None,
            length_mm: None,
            area_px: None,
            area_mm2: None,
            values: None,
        };
        match shape {
            Shape::Ruler([from, to]) => {
                let (across, down) = (to.0 - from.0, to.1 - from.1);
                let in_mm = |[rows, columns]: [f64; 2]| (across * columns).hypot(down * rows);
                let length_px = Some(across.hypot(down));
                Self { length_px, length_mm: spacing_mm.map(in_mm), ..nothing }
            }
            Shape::Ellipse(corners) => {
                let [(x, y), (radius_x, radius_y)] = axes(corners);
                let area = std::f64::consts::PI * radius_x * radius_y;
                let is_inside = |index: usize| {
                    let column = (index % size.0) as f64 + 0.5;
                    let row = (index / size.0) as f64 + 0.5;
                    ((column - x) / radius_x).powi(2) + ((row - y) / radius_y).powi(2) <= 1.0
                };
                let inside = (0..size.0 * size.1).filter(|index| is_inside(*index));
                let found: Vec<f64> = inside.filter_map(value).collect();
                let area_mm2 = spacing_mm.map(|[rows, columns]| area * rows * columns);
                Self { area_px: Some(area), area_mm2, values: spread(&found, unit), ..nothing }
            }
        }
    }

    /// In words.
    pub fn summary(&self) -> String {
        let either = |mm: Option<f64>, px: Option<f64>, unit: &str| match (mm, px) {
            (Some(mm), _) => format!("{mm:.1} {unit}"),
            (None, px) => format!("{:.1} px", px.unwrap_or_default()),
        };
        match self.shape {
            Shape::Ruler(_) => format!("ruler: {}", either(self.length_mm, self.length_px, "mm")),
            Shape::Ellipse(_) => {
                let area = either(self.area_mm2, self.area_px, "mm\u{b2}");
                let values = self.values.map(|values| {
                    let unit = match values.unit {
                        Unit::Hounsfield => " HU",
                        Unit::Plain => "",
                        Unit::Grey => " (grey of 255)",
                    };
                    format!(", mean {:.1}{unit}, deviation {:.1}", values.mean, values.deviation)
                });
                format!("ellipse: {area}{}", values.unwrap_or_default())
            }
        }
    }
}

/// Middle and radii of the ellipse within the rectangle of two corners.
pub fn axes([from, to]: [(f64, f64); 2]) -> [(f64, f64); 2] {
    let middle = ((from.0 + to.0) / 2.0, (from.1 + to.1) / 2.0);
    [middle, ((to.0 - from.0).abs() / 2.0, (to.1 - from.1).abs() / 2.0)]
}

/// Corners of a polygon that looks like the ellipse within the rectangle of two corners.
pub fn ellipse_outline(corners: [(f64, f64); 2]) -> impl Iterator<Item = (f64, f64)> {
    const SIDES: u32 = 72;
    let [(x, y), (radius_x, radius_y)] = axes(corners);
    (0..SIDES).map(move |side| {
        let angle = std::f64::consts::TAU * f64::from(side) / f64::from(SIDES);
        (x + radius_x * angle.cos(), y + radius_y * angle.sin())
    })
}

fn spread(values: &[f64], unit: Unit) -> Option<Values> {
    let pixels = values.len();
    if pixels == 0 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / pixels as f64;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    Some(Values { unit, pixels, mean, deviation: (squares / pixels as f64).sqrt() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(shape: Shape, spacing_mm: Option<[f64; 2]>) -> Measurement {
        // Left half 0, right half 100.
        let value = |index: usize| Some(if index % 40 < 20 { 0.0 } else { 100.0 });
        Measurement::of(shape, (40, 30), spacing_mm, Unit::Hounsfield, value)
    }

    #[test]
    fn a_ruler_knows_that_rows_and_columns_lie_differently_far_apart() {
        let shape = Shape::Ruler([(1.0, 2.0), (4.0, 6.0)]);
        let ruler = measured(shape, Some([2.0, 0.5]));
        assert_eq!(ruler.length_px, Some(5.0));
        assert_eq!(ruler.length_mm, Some((1.5f64 * 1.5 + 64.0).sqrt()));
        assert_eq!(ruler.summary(), "ruler: 8.1 mm");
        assert_eq!(measured(shape, None).summary(), "ruler: 5.0 px");
    }

    #[test]
    fn an_ellipse_over_two_halves_has_their_mean() {
        let ellipse = measured(Shape::Ellipse([(10.0, 5.0), (30.0, 25.0)]), Some([0.5, 0.5]));
        let values = ellipse.values.unwrap();
        assert_eq!((values.mean, values.deviation), (50.0, 50.0));
        // As many pixels as the area, but for its border.
        assert!((values.pixels as f64 - ellipse.area_px.unwrap()).abs() < 10.0);
        assert!((ellipse.area_mm2.unwrap() - std::f64::consts::PI * 25.0).abs() < 1e-9);
        let said = "ellipse: 78.5 mm\u{b2}, mean 50.0 HU, deviation 50.0";
        assert_eq!(ellipse.summary(), said);
    }

    #[test]
    fn an_ellipse_without_a_pixel_has_no_mean() {
        for corners in [[(3.0, 3.0), (3.0, 3.0)], [(-9.0, -9.0), (-5.0, -5.0)]] {
            let ellipse = measured(Shape::Ellipse(corners), None);
            assert_eq!(ellipse.values, None, "{corners:?}");
            assert!(!ellipse.summary().contains("NaN"));
        }
    }

    #[test]
    fn what_lies_beside_the_slice_is_not_measured() {
        let ruler = measured(Shape::Ruler([(-100.0, 15.0), (100.0, 15.0)]), None);
        assert_eq!(
            (ruler.length_px, ruler.shape),
            (Some(40.0), Shape::Ruler([(0.0, 15.0), (40.0, 15.0)]))
        );
    }
}
