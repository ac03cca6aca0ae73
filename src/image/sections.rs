//! Where the planes across the slices of a series lie: coronal and sagittal ones, if the slices are axial.

use serde::{Deserialize, Serialize};

use crate::image::Plane;

/// A plane across the slices of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cut {
    /// Through this row of every slice.
    Row(usize),
    /// Through this column of every slice.
    Column(usize),
}

/// The anatomical planes, by what a plane is nearest to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anatomical {
    /// Across the left-right axis.
    Sagittal,
    /// Across the front-back axis.
    Coronal,
    /// Across the head-feet axis.
    Axial,
}

/// Two planes across an evenly spaced series, one through a row and one through a column of its slices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sections {
    /// The column and the row.
    pub at: (usize, usize),
    /// Columns and rows of a slice.
    pub size: (usize, usize),
    /// Number of slices.
    pub slices: usize,
    /// Millimetres between rows and between columns of a slice.
    pub spacing_mm: [f64; 2],
    /// Millimetres between slices.
    pub distance_mm: f64,
    /// Where the first slice lies.
    pub plane: Plane,
}

impl Sections {
    /// Both planes, that through the row first.
    pub fn cuts(&self) -> [Cut; 2] {
        [Cut::Row(self.at.1), Cut::Column(self.at.0)]
    }

    /// Width and height of a plane's picture: pixels of a slice, and slices.
    pub fn picture_size(&self, cut: Cut) -> (usize, usize) {
        match cut {
            Cut::Row(_) => (self.size.0, self.slices),
            Cut::Column(_) => (self.size.1, self.slices),
        }
    }

    /// Width of what is shown over its height, in millimetres.
    pub fn aspect(&self, cut: Cut) -> f64 {
        let (width, height) = self.picture_size(cut);
        let spacing = match cut {
            Cut::Row(_) => self.spacing_mm[1],
            Cut::Column(_) => self.spacing_mm[0],
        };
        width as f64 * spacing / (height as f64 * self.distance_mm)
    }

    /// What the plane is nearest to; the two are never called the same.
    pub fn anatomical(&self, cut: Cut) -> Anatomical {
        let [row, column, _] = self.closest_axes();
        let across = match cut {
            Cut::Row(_) => column,
            Cut::Column(_) => row,
        };
        [Anatomical::Sagittal, Anatomical::Coronal, Anatomical::Axial][across]
    }

    /// The patient's axes that rows, columns and the normal are nearest to, each another.
    fn closest_axes(&self) -> [usize; 3] {
        const ORDERS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let vectors = [self.plane.along_row, self.plane.along_column, self.plane.normal()];
        let along = |order: &[usize; 3]| -> f64 {
            vectors.iter().zip(order).map(|(vector, axis)| vector[*axis].abs()).sum()
        };
        let better =
            |best: [usize; 3], order| if along(&order) > along(&best) { order } else { best };
        ORDERS.into_iter().fold(ORDERS[0], better)
    }

    /// Whether the last slice is the uppermost of the picture: heads are shown above, as are fronts.
    pub fn is_last_on_top(&self) -> bool {
        let normal = self.plane.normal();
        match self.closest_axes()[2] {
            2 => normal[2] > 0.0,
            axis => normal[axis] < 0.0,
        }
    }

    /// The picture's row in which a slice of the series lies, and the slice that lies in a row.
    pub fn flipped(&self, slice_or_row: usize) -> usize {
        let last = self.slices.saturating_sub(1);
        let bounded = slice_or_row.min(last);
        if self.is_last_on_top() { last - bounded } else { bounded }
    }

    /// What lies beyond the picture's left, right, upper and lower edge.
    pub fn edges(&self, cut: Cut) -> [String; 4] {
        let [left, right, upper, lower] = self.plane.edges();
        let [below, above] = match self.is_last_on_top() {
            true => self.plane.ends(),
            false => {
                let [first, last] = self.plane.ends();
                [last, first]
            }
        };
        match cut {
            Cut::Row(_) => [left, right, above, below],
            Cut::Column(_) => [upper, lower, above, below],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(along_row: [f64; 3], along_column: [f64; 3]) -> Sections {
        Sections {
            at: (3, 5),
            size: (100, 80),
            slices: 20,
            spacing_mm: [0.5, 0.8],
            distance_mm: 4.0,
            plane: Plane { origin: [0.0; 3], along_row, along_column },
        }
    }

    #[test]
    fn axial_slices_are_cut_into_a_coronal_and_a_sagittal_plane_with_the_head_above() {
        let axial = sections([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        let [coronal, sagittal] = axial.cuts();
        assert_eq!((coronal, sagittal), (Cut::Row(5), Cut::Column(3)));
        assert_eq!(axial.anatomical(coronal), Anatomical::Coronal);
        assert_eq!(axial.anatomical(sagittal), Anatomical::Sagittal);
        assert_eq!(axial.edges(coronal), ["R", "L", "H", "F"]);
        assert_eq!(axial.edges(sagittal), ["A", "P", "H", "F"]);
        assert_eq!((axial.flipped(0), axial.flipped(19), axial.flipped(99)), (19, 0, 0));
        assert_eq!(
            (axial.picture_size(coronal), axial.picture_size(sagittal)),
            ((100, 20), (80, 20))
        );
        assert_eq!((axial.aspect(coronal), axial.aspect(sagittal)), (1.0, 0.5));
    }

    #[test]
    fn the_head_is_above_when_the_slices_go_to_the_feet() {
        let prone = sections([1.0, 0.0, 0.0], [0.0, -1.0, 0.0]);
        let [coronal, _] = prone.cuts();
        assert_eq!(prone.edges(coronal), ["R", "L", "H", "F"]);
        assert_eq!(prone.flipped(0), 0);
    }

    #[test]
    fn planes_of_slices_turned_by_half_a_right_angle_have_two_names() {
        let part = std::f64::consts::FRAC_1_SQRT_2;
        for turn in [1.0, 0.999, 1.001] {
            let turned = sections([part * turn, part, 0.0], [-part, part * turn, 0.0]);
            let [one, other] = turned.cuts().map(|cut| turned.anatomical(cut));
            assert_ne!(one, other);
            assert!(turned.is_last_on_top());
        }
    }

    #[test]
    fn other_series_are_cut_into_what_is_left() {
        let coronal = sections([1.0, 0.0, 0.0], [0.0, 0.0, -1.0]);
        let [axial, sagittal] = coronal.cuts();
        assert_eq!(coronal.anatomical(axial), Anatomical::Axial);
        assert_eq!(coronal.anatomical(sagittal), Anatomical::Sagittal);
        assert_eq!(coronal.edges(axial), ["R", "L", "A", "P"]);
        let sagittal = sections([0.0, 1.0, 0.0], [0.0, 0.0, -1.0]);
        let [axial, coronal] = sagittal.cuts();
        assert_eq!(sagittal.anatomical(axial), Anatomical::Axial);
        assert_eq!(sagittal.anatomical(coronal), Anatomical::Coronal);
        assert_eq!(sagittal.edges(coronal), ["H", "F", "R", "L"]);
    }
}
