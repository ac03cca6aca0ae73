//! What lies under the pointer, and under what is measured.

use crate::report::measurements::{Measurement, Shape, Unit};
use crate::web::state::RenderedSlice;
use crate::web::view::View;

/// A pixel of the shown slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReadOut {
    /// Column, from 0.
    pub column: usize,
    /// Row, from 0.
    pub row: usize,
    /// Its middle in millimetres from the slice's upper left corner, to the right and down.
    pub place_mm: Option<[f64; 2]>,
    /// What the pixel holds.
    pub value: PixelValue,
}

/// The value of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PixelValue {
    /// Hounsfield units.
    Hounsfield(i16),
    /// A value of a file that does not say that it is one.
    Plain(i16),
    /// Grey of a picture, 0 to 255.
    Grey(u8),
}

impl ReadOut {
    /// What lies at `at`, in widths and heights of what `view` shows of the slice; `None` beside it.
    pub fn at(slice: &RenderedSlice, view: View, at: (f64, f64)) -> Option<Self> {
        let index = |edge: f64, at: f64, length: usize| {
            let place = (edge + at / view.zoom) * length as f64;
            (place >= 0.0 && place < length as f64).then_some(place as usize)
        };
        let column = index(view.left, at.0, slice.shown.width)?;
        let row = index(view.top, at.1, slice.shown.height)?;
        let pixel = row * slice.shown.width + column;
        let value = match &slice.values {
            Some(values) if slice.shown.says_hounsfield => {
                PixelValue::Hounsfield(*values.get(pixel)?)
            }
            Some(values) => PixelValue::Plain(*values.get(pixel)?),
            None => PixelValue::Grey(*slice.pixels.get(pixel)?),
        };
        let place_mm = slice.shown.spacing_mm.map(|[between_rows, between_columns]| {
            [(column as f64 + 0.5) * between_columns, (row as f64 + 0.5) * between_rows]
        });
        Some(Self { column, row, place_mm, value })
    }
}

/// A shape on a slice with what it measures there.
pub fn measure(shape: Shape, slice: &RenderedSlice) -> Measurement {
    let shown = &slice.shown;
    let unit = match &slice.values {
        Some(_) if shown.says_hounsfield => Unit::Hounsfield,
        Some(_) => Unit::Plain,
        None => Unit::Grey,
    };
    let value = |index: usize| match &slice.values {
        Some(values) => values.get(index).copied().map(f64::from),
        None => slice.pixels.get(index).copied().map(f64::from),
    };
    Measurement::of(shape, (shown.width, shown.height), shown.spacing_mm, unit, value)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::web::messages::reader::ShownSlice;

    fn slice() -> RenderedSlice {
        RenderedSlice {
            source: String::new(),
            slice: 0,
            pixels: Rc::new((0..8).collect()),
            values: None,
            shown: ShownSlice {
                width: 4,
                height: 2,
                window: None,
                file_window: None,
                spacing_mm: Some([2.0, 0.5]),
                says_hounsfield: false,
                plane: None,
            },
        }
    }

    #[test]
    fn an_ellipse_measures_what_the_slice_holds() {
        // Clamped to the 4 x 2 pixels: the middles of all lie within.
        let all = Shape::Ellipse([(-9.0, -9.0), (13.0, 11.0)]);
        let grey = measure(all, &slice()).values.unwrap();
        assert_eq!((grey.unit, grey.pixels, grey.mean), (Unit::Grey, 8, 3.5));
        let mut ct = slice();
        ct.values = Some(Rc::new(vec![-800; 8]));
        ct.shown.says_hounsfield = true;
        let hounsfield = measure(all, &ct).values.unwrap();
        assert_eq!((hounsfield.unit, hounsfield.mean), (Unit::Hounsfield, -800.0));
    }

    #[test]
    fn a_pixel_is_told_with_its_place_and_value() {
        let slice = slice();
        let found = ReadOut::at(&slice, View::default(), (0.6, 0.9));
        let expected =
            ReadOut { column: 2, row: 1, place_mm: Some([1.25, 3.0]), value: PixelValue::Grey(6) };
        assert_eq!(found, Some(expected));
        let values = Some(Rc::new((-4..4).collect()));
        for (says_hounsfield, expected) in
            [(true, PixelValue::Hounsfield(2)), (false, PixelValue::Plain(2))]
        {
            let shown = ShownSlice { says_hounsfield, ..slice.shown };
            let slice = RenderedSlice { values: values.clone(), shown, ..slice.clone() };
            let found = ReadOut::at(&slice, View::default(), (0.6, 0.9)).map(|found| found.value);
            assert_eq!(found, Some(expected));
        }
    }

    #[test]
    fn a_magnified_slice_shows_its_part_and_nothing_lies_beside_it() {
        let view = View { zoom: 2.0, left: 0.5, top: 0.0 };
        let found = ReadOut::at(&slice(), view, (0.0, 0.99)).map(|found| (found.column, found.row));
        assert_eq!(found, Some((2, 0)));
        for beside in [(-0.1, 0.0), (0.0, -0.1), (1.0, 0.5)] {
            assert_eq!(ReadOut::at(&slice(), View::default(), beside), None, "{beside:?}");
        }
    }
}
