//! Where a slice lies in the patient.

use serde::{Deserialize, Serialize};

use crate::image::Warning;

/// Degrees from the patient's axes beyond which a slice counts as oblique.
const OBLIQUE_DEGREES: f64 = 10.0;

/// A slice's place in patient coordinates: millimetres towards the patient's left, back and head, as in
/// DICOM.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plane {
    /// Centre of the first pixel.
    pub origin: [f64; 3],
    /// Unit vector along a row, from the first column to the next.
    pub along_row: [f64; 3],
    /// Unit vector along a column, from the first row to the next.
    pub along_column: [f64; 3],
}

impl Plane {
    /// Unit vector across the slice; towards the head for an axial slice as usually shown.
    pub fn normal(&self) -> [f64; 3] {
        let (a, b) = (self.along_row, self.along_column);
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    }

    /// Millimetres from the coordinates' origin along the normal: what slices are sorted by.
    pub fn offset(&self) -> f64 {
        dot(self.origin, self.normal())
    }

    /// Degrees between the slice and an axial one.
    pub fn degrees_from_axial(&self) -> f64 {
        self.normal()[2].abs().clamp(0.0, 1.0).acos().to_degrees()
    }

    /// What is to be said about a slice that is not axial.
    pub fn warning(&self) -> Option<Warning> {
        let degrees = self.degrees_from_axial();
        (degrees > OBLIQUE_DEGREES).then_some(Warning::Turned(degrees))
    }

    /// What lies beyond the slice's left, right, upper and lower edge, in the letters of DICOM's Patient Orientation.
    pub fn edges(&self) -> [String; 4] {
        let back = |direction: [f64; 3]| direction.map(|part| -part);
        [back(self.along_row), self.along_row, back(self.along_column), self.along_column]
            .map(letters)
    }

    /// What lies beyond the first and the last of slices that are sorted along the normal.
    pub fn ends(&self) -> [String; 2] {
        let normal = self.normal();
        [normal.map(|part| -part), normal].map(letters)
    }

    /// Whether two slices are parallel and turned alike.
    pub fn is_parallel_to(&self, other: &Self) -> bool {
        let alike = |a, b| dot(a, b) > 0.9999;
        alike(self.along_row, other.along_row) && alike(self.along_column, other.along_column)
    }

    /// Millimetres by which the corner of another slice lies beside this one's, seen along the normal.
    pub fn shift_to(&self, other: &Self) -> f64 {
        let way = [0, 1, 2].map(|k| other.origin[k] - self.origin[k]);
        dot(way, self.along_row).hypot(dot(way, self.along_column))
    }
}

/// Where a unit vector points: left or right, posterior or anterior, head or feet; what it points to most comes first,
/// and what it hardly points to is left out.
fn letters(direction: [f64; 3]) -> String {
    let least = OBLIQUE_DEGREES.to_radians().sin();
    let mut rest = direction;
    let mut found = String::new();
    for _ in 0..rest.len() {
        let longest = (1..rest.len()).fold(0, |longest, axis| {
            if rest[axis].abs() > rest[longest].abs() { axis } else { longest }
        });
        let part = std::mem::take(&mut rest[longest]);
        if part.abs() > least {
            let [ahead, behind] = [['L', 'R'], ['P', 'A'], ['H', 'F']][longest];
            found.push(if part > 0.0 { ahead } else { behind });
        }
    }
    found
}

/// Whether pixels are of one size, but for what writers round.
pub fn is_same_spacing(a: Option<[f64; 2]>, b: Option<[f64; 2]>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 0.001 * a.max(b)),
        (a, b) => a == b,
    }
}

/// Scalar product.
pub fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A vector of length 1; `None` if it has no direction.
pub fn unit(v: [f64; 3]) -> Option<[f64; 3]> {
    let length = dot(v, v).sqrt();
    (length.is_finite() && length > 1e-9).then(|| v.map(|x| x / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_of_an_axial_slice_points_to_the_head() {
        let plane = Plane {
            origin: [-200.0, -180.0, 35.0],
            along_row: [1.0, 0.0, 0.0],
            along_column: [0.0, 1.0, 0.0],
        };
        assert_eq!(plane.normal(), [0.0, 0.0, 1.0]);
        assert_eq!(plane.offset(), 35.0);
        assert_eq!(plane.warning(), None);
    }

    #[test]
    fn edges_are_called_by_what_lies_beyond_them() {
        let plane = |along_row, along_column| Plane { origin: [0.0; 3], along_row, along_column };
        let axial = plane([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        assert_eq!(axial.edges(), ["R", "L", "A", "P"]);
        let prone = plane([-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]);
        assert_eq!(prone.edges(), ["L", "R", "P", "A"]);
        let coronal = plane([1.0, 0.0, 0.0], [0.0, 0.0, -1.0]);
        assert_eq!(coronal.edges(), ["R", "L", "H", "F"]);
        let (sin, cos) = 30f64.to_radians().sin_cos();
        let turned = plane([cos, sin, 0.0], [-sin, cos, 0.0]);
        assert_eq!(turned.edges(), ["RA", "LP", "AL", "PR"]);
        let (sin, cos) = 5f64.to_radians().sin_cos();
        let tilted = plane([1.0, 0.0, 0.0], [0.0, cos, sin]);
        assert_eq!(tilted.edges(), ["R", "L", "A", "P"]);
    }

    #[test]
    fn a_coronal_slice_is_no_axial_one() {
        let plane =
            Plane { origin: [0.0; 3], along_row: [1.0, 0.0, 0.0], along_column: [0.0, 0.0, -1.0] };
        assert!(plane.warning().is_some_and(|warning| warning.to_string().contains("90°")));
    }
}
