//! Planes across a volume, against what its values are known to be at every place in the patient.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "common/mod.rs"]
mod common;

use common::files::nifti;
use groundglass::image::sections::Cut;
use groundglass::image::volume::{Volume, VolumeError};
use groundglass::image::{Plane, Study, Window};
use proptest::prelude::*;

// Any axis may become a side of slices, which have 32 pixels at least.
const SIZE: [i16; 3] = [40, 36, 33];
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

/// All slices of the first series.
fn whole(study: &Study<Vec<u8>>) -> Result<Volume, VolumeError> {
    let series = &study.series[0];
    let mut volume = Volume::of(series)?;
    while !volume.is_complete() {
        volume.read_next(series)?;
    }
    Ok(volume)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_pixel_of_a_plane_shows_what_lies_at_its_place_in_the_patient(
        directions in directions(), at in (0usize..40, 0usize..40),
    ) {
        let study = opened(directions);
        prop_assert!(study.refused.is_empty(), "{:?}", study.refused);
        let series = &study.series[0];
        let volume = whole(&study).expect("a volume");
        let (columns, rows) = volume.sections(at).size;
        let at = (at.0 % columns, at.1 % rows);
        let sections = volume.sections(at);
        prop_assert_eq!(sections.at, at);
        let Plane { along_row, along_column, .. } = sections.plane;
        // As wide as all values.
        let window = Window { center: 0.0, width: 1530.0 };
        for cut in sections.cuts() {
            let picture = volume.picture(cut, Some(window));
            let (width, height) = sections.picture_size(cut);
            prop_assert_eq!(picture.len(), width * height);
            for (index, grey) in picture.iter().enumerate() {
                let slice = &series.slices[sections.flipped(index / width)].header;
                let origin = slice.plane.expect("a place").origin;
                let (column, row) = match cut {
                    Cut::Row(row) => (index % width, row),
                    Cut::Column(column) => (column, index % width),
                };
                let [down, across] = sections.spacing_mm;
                let steps = [column as f64 * across, row as f64 * down, 0.0];
                let there = walked(origin, steps, [along_row, along_column, [0.0; 3]]);
                prop_assert_eq!(*grey, window.apply(value_at(there) as f32));
            }
        }
    }
}

#[test]
fn what_does_not_lie_evenly_is_no_volume_and_what_is_not_read_is_black() {
    let mut study = opened([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
    let volume = whole(&study).expect("a volume");
    assert_eq!(volume.sections((99, 99)).at, (39, 35), "places beside it are moved to its edge");
    let mut begun = Volume::of(&study.series[0]).expect("a volume");
    let cut = begun.sections((5, 5)).cuts()[0];
    assert!(begun.picture(cut, None).iter().all(|grey| *grey == 0));
    assert_eq!(begun.read_next(&study.series[0]).expect("a slice"), 1);
    assert!(!begun.is_complete());
    let (begun, volume) = (begun.picture(cut, None), volume.picture(cut, None));
    let below = begun.len() - 40;
    assert_eq!(begun[below..], volume[below..], "the first slice lies at the feet");
    study.series[0].distance_mm = None;
    assert!(matches!(Volume::of(&study.series[0]), Err(VolumeError::Uneven)));
    study.series[0].slices.clear();
    assert!(matches!(Volume::of(&study.series[0]), Err(VolumeError::Uneven)));
}
