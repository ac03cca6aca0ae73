//! Planes across a volume, against what its values are known to be at every place in the patient.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;

use common::files::nifti;
use groundglass::image::sections::Cut;
use groundglass::image::volume::{Volume, VolumeError};
use groundglass::image::{Plane, Study, Window};
use proptest::prelude::*;

const SIZE: [i16; 3] = [40, 36, 5];
const SPACING: [f32; 3] = [2.0, 3.0, 5.0];

/// Directions of a volume's axes in the patient, as DICOM counts: along the patient's own, either way.
fn directions() -> impl Strategy<Value = [[f64; 3]; 3]> {
    let axes = Just(vec![0, 1, 2]).prop_shuffle();
    (axes, prop::array::uniform3(prop::bool::ANY)).prop_map(|(axes, back)| {
        [0, 1, 2].map(|k| {
            let mut direction = [0.0; 3];
            direction[axes[k]] = if back[k] { -1.0 } else { 1.0 };
            direction
        })
    })
}

/// What lies at a place: another value at each.
fn value_at(place: [f64; 3]) -> f64 {
    (place[0] + 2.0 * place[1] - 3.0 * place[2]).round()
}

/// The place after so many steps along each of three directions.
fn walked(origin: [f64; 3], steps: [f64; 3], directions: [[f64; 3]; 3]) -> [f64; 3] {
    [0, 1, 2].map(|axis| {
        let way = steps.iter().zip(directions).map(|(step, direction)| step * direction[axis]);
        origin[axis] + way.sum::<f64>()
    })
}

fn opened(directions: [[f64; 3]; 3]) -> Study<Vec<u8>> {
    // NIfTI counts towards the right and the front.
    let affine = [0, 1, 2].map(|axis| {
        let sign = if axis < 2 { -1.0 } else { 1.0 };
        let part = |k: usize| (sign * directions[k][axis]) as f32 * SPACING[k];
        [part(0), part(1), part(2), 0.0]
    });
    let mut values = Vec::new();
    for k in 0..SIZE[2] {
        for j in 0..SIZE[1] {
            for i in 0..SIZE[0] {
                let steps = [i, j, k].map(f64::from);
                let steps = [0, 1, 2].map(|axis| steps[axis] * f64::from(SPACING[axis]));
                values.push(value_at(walked([0.0; 3], steps, directions)) as i16);
            }
        }
    }
    let bytes = nifti(SIZE, SPACING, Some(affine), values);
    Study::open([("volume.nii".to_owned(), bytes)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_pixel_of_a_plane_shows_what_lies_at_its_place_in_the_patient(
        directions in directions(), at in (0usize..36, 0usize..36),
    ) {
        let study = opened(directions);
        prop_assert!(study.refused.is_empty(), "{:?}", study.refused);
        let series = &study.series[0];
        let volume = Volume::read(series, || {}).expect("a volume");
        let sections = volume.sections(at);
        prop_assert_eq!(sections.at, at);
        let Plane { along_row, along_column, .. } = sections.plane;
        // As wide as all values.
        let window = Window { center: 0.0, width: 1020.0 };
        for cut in sections.cuts() {
            let picture = volume.picture(cut, Some(window));
            let (width, height) = sections.picture_size(cut);
            prop_assert_eq!(picture.len(), width * height);
            let plane_of = |row: usize| {
                series.slices[sections.flipped(row)].header.plane.expect("a place")
            };
            for row in 0..height {
                let origin = plane_of(row).origin;
                for place in 0..width {
                    let (column, line) = match cut {
                        Cut::Row(line) => (place, line),
                        Cut::Column(column) => (column, place),
                    };
                    let [down, across] = sections.spacing_mm;
                    let steps = [column as f64 * across, line as f64 * down, 0.0];
                    let there = walked(origin, steps, [along_row, along_column, [0.0; 3]]);
                    let expected = window.apply(value_at(there) as f32);
                    prop_assert_eq!(picture[row * width + place], expected);
                }
            }
            // What is written at the upper edge lies above.
            let [_, _, above, _] = sections.edges(cut);
            let (axis, sign) = match above.as_str() {
                "L" => (0, 1.0),
                "R" => (0, -1.0),
                "P" => (1, 1.0),
                "A" => (1, -1.0),
                "H" => (2, 1.0),
                _ => (2, -1.0),
            };
            let (upper, lower) = (plane_of(0).origin, plane_of(height - 1).origin);
            prop_assert!(sign * (upper[axis] - lower[axis]) > 0.0, "{}", above);
        }
    }
}

#[test]
fn what_does_not_lie_evenly_is_no_volume() {
    let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let mut study = opened(axes);
    let volume = Volume::read(&study.series[0], || {}).expect("a volume");
    assert_eq!(volume.sections((99, 99)).at, (39, 35), "places beside it are moved to its edge");
    study.series[0].distance_mm = None;
    assert!(matches!(Volume::read(&study.series[0], || {}), Err(VolumeError::Uneven)));
    study.series[0].slices.clear();
    assert!(matches!(Volume::read(&study.series[0], || {}), Err(VolumeError::Uneven)));
}
