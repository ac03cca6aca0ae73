//! A bar of a round length, to judge sizes by.

use crate::image::plane::is_same_spacing;
use crate::web::messages::reader::ShownSlice;
use crate::web::view::View;

/// Largest share of what is seen that a bar covers.
const MOST: f64 = 0.25;

/// Round lengths; slices are neither microscopic nor metres wide.
const LENGTHS_MM: [f64; 12] = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// A horizontal bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaleBar {
    /// Its length in millimetres.
    pub millimetres: f64,
    /// Its length as a share of the width of what is seen.
    pub share: f64,
}

impl ScaleBar {
    /// Digits behind the decimal mark that its length needs.
    pub fn digits(&self) -> usize {
        usize::from(self.millimetres < 1.0)
    }

    /// That of what `view` shows of a slice; `None` if its pixels are not known to be square.
    pub fn of(slice: &ShownSlice, view: View) -> Option<Self> {
        let [between_rows, between_columns] = slice.spacing_mm?;
        let is_square = is_same_spacing(Some([between_rows; 2]), Some([between_columns; 2]));
        is_square.then(|| Self::new(slice.width as f64 * between_columns, view)).flatten()
    }

    /// The longest that covers at most a quarter of what `view` shows of a slice of so many millimetres; `None` if no bar
    /// fits.
    pub fn new(width_mm: f64, view: View) -> Option<Self> {
        let seen = width_mm / view.zoom;
        let fits = |length: &f64| *length <= seen * MOST;
        let millimetres = LENGTHS_MM.into_iter().rev().find(fits)?;
        Some(Self { millimetres, share: millimetres / seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_whole_scan_has_a_bar_of_five_centimetres_and_a_magnified_one_a_shorter() {
        let whole = ScaleBar::new(350.0, View::default()).map(|bar| bar.millimetres);
        assert_eq!(whole, Some(50.0));
        let view = View { zoom: 10.0, ..View::default() };
        assert_eq!(ScaleBar::new(350.0, view).map(|bar| bar.millimetres), Some(5.0));
        assert_eq!(ScaleBar::new(0.0, view), None);
        assert_eq!(ScaleBar::new(f64::NAN, view), None);
    }

    proptest! {
        #[test]
        fn a_bar_covers_between_a_tenth_and_a_quarter(width in 10.0f64..4e3, zoom in 1.0f64..16.0) {
            let bar = ScaleBar::new(width, View { zoom, ..View::default() });
            let share = bar.map_or(0.0, |bar| bar.share);
            prop_assert!((0.1 - 1e-9..=MOST + 1e-9).contains(&share), "{share}");
        }
    }
}
