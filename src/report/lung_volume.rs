//! How much of the lungs lesions cover in a series.

use serde::{Deserialize, Serialize};

use crate::report::lungs::LungSlice;
use crate::report::slice::SliceReport;

/// Share of the largest slice's lungs from which on a slice counts for their height.
const SUBSTANTIAL: f64 = 0.15;

/// A part of the lungs in a series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LungVolume {
    /// Millilitres.
    pub volume_ml: f64,
    /// Millilitres that lesions cover.
    pub affected_ml: f64,
}

impl LungVolume {
    /// Share that lesions cover, from 0 to 1; `None` of nothing.
    pub fn affected_share(&self) -> Option<f64> {
        (self.volume_ml > 0.0).then(|| self.affected_ml / self.volume_ml)
    }

    fn add(&mut self, other: Self) {
        self.volume_ml += other.volume_ml;
        self.affected_ml += other.affected_ml;
    }
}

/// The lungs in a series: area times distance of the slices on which lungs were found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LungsSeries {
    /// Slices on which lungs were found.
    pub slices: usize,
    /// The patient's right lung.
    pub right: LungVolume,
    /// The patient's left lung.
    pub left: LungVolume,
    /// Thirds of the height over which lungs were found: upper, middle, lower. `None` if the files do not tell where
    /// the head is.
    pub thirds: Option<[LungVolume; 3]>,
}

impl LungsSeries {
    /// Sums up slices that lie `distance_mm` apart; `None` without lungs or without spacing.
    pub fn new(slices: &[SliceReport], distance_mm: f64) -> Option<Self> {
        let (mut right, mut left) = (LungVolume::default(), LungVolume::default());
        let mut found = Vec::new();
        for slice in slices {
            let Some(lungs) = &slice.lungs else { continue };
            let [row, column] = slice.spacing_mm?;
            let voxel_ml = row * column * distance_mm / 1000.0;
            let volume = |lung: &LungSlice| LungVolume {
                volume_ml: lung.area_px as f64 * voxel_ml,
                affected_ml: lung.affected_px as f64 * voxel_ml,
            };
            let mut both = volume(&lungs.right);
            both.add(volume(&lungs.left));
            right.add(volume(&lungs.right));
            left.add(volume(&lungs.left));
            found.push((slice.position_mm, both));
        }
        (!found.is_empty()).then(|| Self {
            slices: found.len(),
            right,
            left,
            thirds: thirds(&found),
        })
    }

    /// Both lungs.
    pub fn both(&self) -> LungVolume {
        let mut both = self.right;
        both.add(self.left);
        both
    }

    /// In words.
    pub fn summary(&self) -> String {
        let percent = |part: LungVolume| match part.affected_share() {
            Some(share) => format!("{:.1} %", share * 100.0),
            None => "not found".into(),
        };
        let both = self.both();
        let mut words = format!(
            "Lungs {:.0} ml on {} slices, of which lesions cover {:.1} ml ({}); right {}, left {}. The lungs are found by thresholds, which can be wrong.",
            both.volume_ml,
            self.slices,
            both.affected_ml,
            percent(both),
            percent(self.right),
            percent(self.left)
        );
        if let Some(thirds) = self.thirds {
            let [upper, middle, lower] = thirds.map(percent);
            words += &format!(" Upper third {upper}, middle {middle}, lower {lower}.");
        }
        words
    }
}

/// Parts of the lungs by thirds of the height over which they have a substantial area; positions are millimetres towards
/// the head. Windpipe and bowel, which look alike, are small above and below.
fn thirds(found: &[(Option<f64>, LungVolume)]) -> Option<[LungVolume; 3]> {
    let positions: Vec<f64> = found.iter().map(|(position, _)| *position).collect::<Option<_>>()?;
    let largest = found.iter().map(|(_, volume)| volume.volume_ml).fold(0.0, f64::max);
    let substantial = found
        .iter()
        .zip(&positions)
        .filter(|((_, volume), _)| volume.volume_ml >= SUBSTANTIAL * largest);
    let (low, high) = substantial
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, at)| {
            (low.min(*at), high.max(*at))
        });
    if high <= low {
        return None;
    }
    let mut parts = [LungVolume::default(); 3];
    for (position, (_, volume)) in positions.iter().zip(found) {
        let from_above = (high - position) / (high - low) * 3.0;
        // Below 0 the cast saturates.
        parts[(from_above as usize).min(2)].add(*volume);
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::SliceClass;
    use crate::detection::Mask;
    use crate::image::Refusal;
    use crate::image::lungs::{Lungs, Midline};
    use crate::image::phantom::draw;
    use crate::report::lungs::LungsSlice;

    fn mask(columns: std::ops::Range<usize>) -> Mask {
        let pixels = (0..40).map(|place| columns.contains(&(place % 10))).collect();
        Mask { width: 10, height: 4, pixels }
    }

    fn slice(position: Option<f64>, affected: usize) -> SliceReport {
        let phantom = draw(SliceClass::Control, 1).slice;
        let mut lesions = vec![0; 40];
        mask(1..4)
            .pixels
            .iter()
            .enumerate()
            .filter(|(_, lung)| **lung)
            .take(affected)
            .for_each(|(place, _)| lesions[place] = 1);
        let midline = Midline { column: 5, right_first: true };
        let lungs = Lungs { right: mask(1..4), left: mask(6..9), midline };
        SliceReport {
            spacing_mm: Some([10.0, 10.0]),
            position_mm: position,
            lungs: Some(LungsSlice::new(&lungs, &lesions)),
            ..SliceReport::refused(&phantom, Refusal::NoLung, Default::default())
        }
    }

    #[test]
    fn a_series_sums_up_sides_and_thirds_from_the_head() {
        let slices: Vec<SliceReport> =
            (0..6).map(|n| slice(Some(f64::from(n)), if n < 2 { 12 } else { 0 })).collect();
        let found = LungsSeries::new(&slices, 10.0).unwrap();
        // A pixel is a millilitre.
        assert_eq!((found.right.volume_ml, found.right.affected_ml), (72.0, 24.0));
        assert_eq!((found.left.volume_ml, found.left.affected_ml), (72.0, 0.0));
        let shares = found.thirds.unwrap().map(|third| third.affected_share().unwrap());
        assert_eq!(shares, [0.0, 0.0, 0.5]);
        assert!(found.summary().contains("lower 50.0 %"), "{}", found.summary());
    }

    #[test]
    fn without_positions_there_are_no_thirds_and_without_lungs_nothing() {
        let mut slices = vec![slice(None, 0), slice(None, 3)];
        assert_eq!(LungsSeries::new(&slices, 1.0).unwrap().thirds, None);
        slices[0].spacing_mm = None;
        assert_eq!(LungsSeries::new(&slices, 1.0), None);
        slices.iter_mut().for_each(|slice| slice.lungs = None);
        assert_eq!(LungsSeries::new(&slices, 1.0), None);
    }
}
