//! Turning, magnifying, shifting, bending and cropping pictures together with their lesions.

use crate::dataset::instances::Instance;
use crate::detection::bilinear::{Sample, blend};
use crate::detection::mask::connected_components::bounding_box;
use crate::detection::{BBox, Mask};

/// Knots along each side of an [`Elastic`].
const KNOTS: usize = 5;

/// Turn and zoom around the centre, then shift; before them, perhaps, a smooth bend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Radians, from the x axis towards the y axis.
    pub rotation: f32,
    /// Factor of lengths.
    pub zoom: f32,
    /// Shift along x and y, as shares of width and height.
    pub shift: [f32; 2],
    /// Bend.
    pub elastic: Option<Elastic>,
}

/// Displacements along x and y on a grid over the picture, as shares of its sides; smooth in between.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Elastic(pub [[[f32; 2]; KNOTS]; KNOTS]);

impl Elastic {
    /// Displacements that `draw` gives; the border stays where it is.
    pub fn draw(mut draw: impl FnMut() -> f32) -> Self {
        let mut knots = [[[0.0; 2]; KNOTS]; KNOTS];
        for row in &mut knots[1..KNOTS - 1] {
            for knot in &mut row[1..KNOTS - 1] {
                *knot = [draw(), draw()];
            }
        }
        Self(knots)
    }

    /// The displacement at a place given in shares of the sides.
    fn at(&self, x: f32, y: f32) -> [f32; 2] {
        let place = |at: f32| {
            let at = at.clamp(0.0, 1.0) * (KNOTS - 1) as f32;
            let low = (at as usize).min(KNOTS - 2);
            let fraction = at - low as f32;
            // Smooth steps, so that straight lines bend and do not break.
            Sample { low, high: low + 1, fraction: fraction * fraction * (3.0 - 2.0 * fraction) }
        };
        let (row, column) = (place(y), place(x));
        [0, 1].map(|axis| blend(|y, x| self.0[y][x][axis], row, column))
    }
}

/// What comes from outside the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// The nearest pixel of its edge.
    Edge,
    /// Black.
    Black,
}

/// From a file's pixels to the pixels of a network's picture: the whole scaled to `full`, of which `crop` is
/// kept from `offset` on. Widths before heights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    /// Size of the file's picture.
    pub source: (usize, usize),
    /// Size that the whole picture is scaled to.
    pub full: (usize, usize),
    /// First column and row that are kept.
    pub offset: [f32; 2],
    /// Size of what is kept.
    pub crop: (usize, usize),
}

impl Frame {
    /// The whole picture.
    pub fn whole(source: (usize, usize), full: (usize, usize)) -> Self {
        Self { source, full, offset: [0.0; 2], crop: full }
    }

    /// Network pixels of the whole picture per pixel of the file.
    pub fn scale(&self) -> [f32; 2] {
        [self.full.0 as f32 / self.source.0 as f32, self.full.1 as f32 / self.source.1 as f32]
    }
}

impl Affine {
    /// Nothing moves.
    pub const NONE: Self = Self { rotation: 0.0, zoom: 1.0, shift: [0.0; 2], elastic: None };

    /// Where a point of the whole network picture goes (the bend aside).
    pub fn forward(&self, [x, y]: [f32; 2], (width, height): (usize, usize)) -> [f32; 2] {
        let (width, height) = (width as f32, height as f32);
        let (sin, cos) = self.rotation.sin_cos();
        let (dx, dy) = ((x - width / 2.0) * self.zoom, (y - height / 2.0) * self.zoom);
        [
            cos * dx - sin * dy + width * (0.5 + self.shift[0]),
            sin * dx + cos * dy + height * (0.5 + self.shift[1]),
        ]
    }

    /// The place in the file's picture of every pixel that is kept, row by row.
    pub fn sources(&self, frame: &Frame) -> Vec<[f32; 2]> {
        let (width, height) = (frame.full.0 as f32, frame.full.1 as f32);
        let (sin, cos) = self.rotation.sin_cos();
        let [across, down] = frame.scale();
        let mut places = Vec::with_capacity(frame.crop.0 * frame.crop.1);
        for y in 0..frame.crop.1 {
            for x in 0..frame.crop.0 {
                let dx = x as f32 + 0.5 + frame.offset[0] - width * (0.5 + self.shift[0]);
                let dy = y as f32 + 0.5 + frame.offset[1] - height * (0.5 + self.shift[1]);
                let mut sx = (cos * dx + sin * dy) / self.zoom + width / 2.0;
                let mut sy = (cos * dy - sin * dx) / self.zoom + height / 2.0;
                if let Some(elastic) = &self.elastic {
                    let [mx, my] = elastic.at(sx / width, sy / height);
                    sx += mx * width;
                    sy += my * height;
                }
                places.push([sx / across - 0.5, sy / down - 0.5]);
            }
        }
        places
    }
}

/// The picture at `places`, bilinear.
pub fn sample_pixels(
    pixels: &[u8],
    (width, height): (usize, usize),
    places: &[[f32; 2]],
    outside: Outside,
) -> Vec<u8> {
    let inside = |at: f32, length: usize| (-0.5..length as f32 - 0.5).contains(&at);
    places
        .iter()
        .map(|[x, y]| {
            if outside == Outside::Black && !(inside(*x, width) && inside(*y, height)) {
                return 0;
            }
            let at = |row: usize, column: usize| f32::from(pixels[row * width + column]);
            blend(at, Sample::at(*y, height), Sample::at(*x, width)).round() as u8
        })
        .collect()
}

/// The parts of `instances` at `places`, a picture of `crop` pixels, in their order; `None` for one of which
/// nothing is left.
pub fn sample_instances(
    instances: &[Instance],
    places: &[[f32; 2]],
    (width, height): (usize, usize),
) -> Vec<Option<Instance>> {
    instances
        .iter()
        .map(|instance| {
            // Nothing outside the box needs a look.
            let BBox { x1, y1, x2, y2 } = instance.bbox;
            let pixels = places
                .iter()
                .map(|[x, y]| {
                    let near = *x >= x1 - 1.0 && *x <= x2 && *y >= y1 - 1.0 && *y <= y2;
                    near && instance.mask.get(x.round() as isize, y.round() as isize)
                })
                .collect();
            let mask = Mask { width, height, pixels };
            let bbox = bounding_box(&mask)?;
            Some(Instance { class: instance.class, bbox, mask })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(affine: Affine, pixels: &[u8], size: (usize, usize), outside: Outside) -> Vec<u8> {
        sample_pixels(pixels, size, &affine.sources(&Frame::whole(size, size)), outside)
    }

    #[test]
    fn a_quarter_turn_takes_the_first_row_to_the_last_column() {
        let affine = Affine { rotation: std::f32::consts::FRAC_PI_2, ..Affine::NONE };
        let pixels = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(moved(affine, &pixels, (3, 3), Outside::Black), [7, 4, 1, 8, 5, 2, 9, 6, 3]);
    }

    #[test]
    fn what_is_shifted_in_is_black_or_the_edge() {
        let affine = Affine { shift: [0.5, 0.0], ..Affine::NONE };
        let pixels = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(moved(affine, &pixels, (4, 2), Outside::Black), [0, 0, 1, 2, 0, 0, 5, 6]);
        assert_eq!(moved(affine, &pixels, (4, 2), Outside::Edge), [1, 1, 1, 2, 5, 5, 5, 6]);
    }

    #[test]
    fn a_crop_is_a_part_of_the_scaled_whole() {
        let pixels: Vec<u8> = (0..64).collect();
        let whole = Frame::whole((8, 8), (16, 16));
        let all = sample_pixels(&pixels, (8, 8), &Affine::NONE.sources(&whole), Outside::Edge);
        let crop = Frame { offset: [4.0, 10.0], crop: (5, 3), ..whole };
        let part = sample_pixels(&pixels, (8, 8), &Affine::NONE.sources(&crop), Outside::Edge);
        for y in 0..3 {
            assert_eq!(part[y * 5..][..5], all[(y + 10) * 16 + 4..][..5]);
        }
    }

    #[test]
    fn forward_is_the_inverse_of_sources() {
        let affine = Affine { rotation: 0.3, zoom: 1.2, shift: [0.1, -0.05], elastic: None };
        let frame = Frame::whole((40, 30), (40, 30));
        let places = affine.sources(&frame);
        let [x, y] = places[17 * 40 + 22];
        let back = affine.forward([x + 0.5, y + 0.5], (40, 30));
        assert!((back[0] - 22.5).abs() < 1e-3 && (back[1] - 17.5).abs() < 1e-3, "{back:?}");
    }
}
