//! Chest-like slices with known lesions: samples for the page, and data for whoever has none.
//!
//! A phantom is drawn in Hounsfield units: body, lungs with vessels, heart, spine, ribs, noise, and
//! ground-glass and consolidation lesions. It is a drawing, not a simulation of a scanner: good for
//! trying the program, no basis for any claim about patients.

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::classes::{SliceClass, mask_value};
use crate::image::{CtSlice, Window};

/// Side of a phantom in pixels.
pub const SIDE: usize = 512;

/// A drawn slice with its truth.
#[derive(Clone, Debug)]
pub struct Phantom {
    /// The slice in the lung window.
    pub slice: CtSlice,
    /// `SIDE * SIDE` values of [`mask_value`].
    pub mask: Vec<u8>,
    /// What it shows.
    pub class: SliceClass,
}

/// A tilted ellipse.
#[derive(Clone, Copy)]
struct Ellipse {
    x: f32,
    y: f32,
    rx: f32,
    ry: f32,
    /// Sine and cosine of its angle: every pixel asks for them.
    tilt: (f32, f32),
}

/// Sine and cosine of no angle.
const UPRIGHT: (f32, f32) = (0.0, 1.0);

impl Ellipse {
    /// 0 at the centre, 1 on the outline.
    fn radius(&self, x: f32, y: f32) -> f32 {
        let (sin, cos) = self.tilt;
        let (dx, dy) = (x - self.x, y - self.y);
        let u = (dx * cos + dy * sin) / self.rx;
        let v = (dy * cos - dx * sin) / self.ry;
        (u * u + v * v).sqrt()
    }

    /// 1 inside, 0 outside, blurred over about two pixels.
    fn cover(&self, x: f32, y: f32) -> f32 {
        let distance = (1.0 - self.radius(x, y)) * self.rx.min(self.ry);
        (distance / 2.0 + 0.5).clamp(0.0, 1.0)
    }
}

/// Smooth noise in -1..1 with features of about `scale` pixels.
struct SmoothNoise {
    lattice: Vec<f32>,
    side: usize,
    scale: f32,
}

impl SmoothNoise {
    fn new(rng: &mut ChaCha8Rng, scale: f32) -> Self {
        let side = (SIDE as f32 / scale) as usize + 3;
        let lattice = (0..side * side).map(|_| rng.random_range(-1.0f32..1.0)).collect();
        Self { lattice, side, scale }
    }

    fn at(&self, x: f32, y: f32) -> f32 {
        let (u, v) = (x / self.scale, y / self.scale);
        let (column, row) = (u as usize, v as usize);
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let (fu, fv) = (ease(u.fract()), ease(v.fract()));
        let value = |r: usize, c: usize| self.lattice[r * self.side + c];
        let upper = value(row, column) * (1.0 - fu) + value(row, column + 1) * fu;
        let lower = value(row + 1, column) * (1.0 - fu) + value(row + 1, column + 1) * fu;
        upper * (1.0 - fv) + lower * fv
    }
}

struct LesionPlan {
    shape: Ellipse,
    consolidation: bool,
    hounsfield: f32,
}

/// Draws one phantom; the same `seed` and `class` give the same picture.
pub fn draw(class: SliceClass, seed: u64) -> Phantom {
    let mut rng =
        ChaCha8Rng::seed_from_u64(seed.wrapping_mul(3).wrapping_add(class.index() as u64));
    let mut vary = |value: f32, by: f32| value + rng.random_range(-by..by);

    let body = Ellipse {
        x: vary(256.0, 4.0),
        y: vary(262.0, 5.0),
        rx: vary(238.0, 8.0),
        ry: vary(180.0, 8.0),
        tilt: UPRIGHT,
    };
    let height = vary(128.0, 8.0);
    let lungs = [
        Ellipse {
            x: vary(154.0, 5.0),
            y: vary(256.0, 5.0),
            rx: vary(92.0, 5.0),
            ry: height,
            tilt: vary(0.14, 0.05).sin_cos(),
        },
        Ellipse {
            x: vary(360.0, 5.0),
            y: vary(258.0, 5.0),
            rx: vary(88.0, 5.0),
            ry: height,
            tilt: vary(-0.14, 0.05).sin_cos(),
        },
    ];
    let heart = Ellipse {
        x: vary(285.0, 8.0),
        y: vary(232.0, 8.0),
        rx: vary(56.0, 6.0),
        ry: vary(60.0, 6.0),
        tilt: vary(0.5, 0.2).sin_cos(),
    };
    let spine =
        Ellipse { x: body.x, y: body.y + vary(108.0, 4.0), rx: 27.0, ry: 23.0, tilt: UPRIGHT };
    let canal = Ellipse { x: body.x, y: spine.y + 30.0, rx: 10.0, ry: 9.0, tilt: UPRIGHT };
    let aorta = Ellipse { x: spine.x + 26.0, y: spine.y - 22.0, rx: 14.0, ry: 14.0, tilt: UPRIGHT };
    let sternum =
        Ellipse { x: body.x, y: body.y - body.ry + 22.0, rx: 26.0, ry: 8.0, tilt: UPRIGHT };
    let ribs: Vec<Ellipse> = (0..14)
        .map(|index| {
            let turn = (index as f32 + 0.5) / 14.0 * std::f32::consts::TAU;
            let (sin, cos) = turn.sin_cos();
            Ellipse {
                x: body.x + cos * (body.rx - 24.0),
                y: body.y + sin * (body.ry - 22.0),
                rx: vary(20.0, 6.0),
                ry: vary(6.0, 1.0),
                tilt: (body.ry * cos).atan2(-body.rx * sin).sin_cos(),
            }
        })
        .collect();

    let inside_lung = |x: f32, y: f32| -> f32 {
        let lung = lungs.iter().map(|lung| lung.cover(x, y)).fold(0.0, f32::max);
        let other = [heart, spine, aorta].iter().map(|e| e.cover(x, y)).fold(0.0, f32::max);
        lung * (1.0 - other)
    };
    let lesions = plan_lesions(class, &lungs, &mut rng);
    let vessels = draw_vessels(&lungs, &body, &mut rng);
    let texture = SmoothNoise::new(&mut rng, 24.0);
    let ragged = SmoothNoise::new(&mut rng, 13.0);
    let patchy = SmoothNoise::new(&mut rng, 7.0);
    let fine = SmoothNoise::new(&mut rng, 3.0);

    let mut mask = vec![mask_value::BACKGROUND; SIDE * SIDE];
    let mut hounsfield = Vec::with_capacity(SIDE * SIDE);
    for (index, mask) in mask.iter_mut().enumerate() {
        let (x, y) = ((index % SIDE) as f32, (index / SIDE) as f32);
        // Nothing is measured outside the scanner's round field of view.
        let mut value = if (x - 256.0).hypot(y - 256.0) < 256.0 { -1000.0 } else { -2000.0 };
        let mut mix = |cover: f32, hounsfield: f32| value += (hounsfield - value) * cover;
        mix(body.cover(x, y), -95.0);
        let muscle = Ellipse { rx: body.rx - 14.0, ry: body.ry - 13.0, ..body };
        mix(muscle.cover(x, y), 45.0 + 12.0 * texture.at(x, y));
        for rib in &ribs {
            mix(rib.cover(x, y), 420.0);
        }
        mix(sternum.cover(x, y), 300.0);
        let lung = inside_lung(x, y);
        // Gravity: the back of a lying patient's lung is denser.
        mix(lung, -875.0 + (y - 150.0) * 0.35 + 30.0 * texture.at(x, y));
        mix(vessels[index] * lung * 0.85, -20.0);
        if lung > 0.5 {
            *mask = mask_value::LUNG;
        }
        for lesion in &lesions {
            let edge =
                1.0 - lesion.shape.radius(x, y) + 0.35 * ragged.at(x, y) + 0.25 * patchy.at(x, y);
            let softness = if lesion.consolidation { 0.15 } else { 0.4 };
            let cover = (edge / softness + 0.5).clamp(0.0, 1.0) * lung;
            // Lesions are patchy: aerated and dense lung side by side.
            let patches = if lesion.consolidation { 130.0 } else { 190.0 };
            mix(cover, lesion.hounsfield + patches * patchy.at(x, y) + 60.0 * fine.at(x, y));
            if cover > 0.5 {
                let kind = if lesion.consolidation {
                    mask_value::CONSOLIDATION
                } else {
                    mask_value::GROUND_GLASS
                };
                *mask = (*mask).max(kind);
            }
        }
        mix(heart.cover(x, y) * body.cover(x, y), 42.0);
        mix(aorta.cover(x, y), 48.0);
        mix(spine.cover(x, y), 260.0 + 80.0 * fine.at(x, y));
        mix(canal.cover(x, y), 30.0);
        hounsfield.push(value);
    }
    let pixels = blurred(&hounsfield)
        .into_iter()
        .enumerate()
        .map(|(index, value)| {
            let (x, y) = ((index % SIDE) as f32, (index / SIDE) as f32);
            let grain: f32 = (0..4).map(|_| rng.random_range(-1.0f32..1.0)).sum();
            Window::LUNG.apply(value + 13.0 * grain + 14.0 * fine.at(x, y))
        })
        .collect();
    let slice = CtSlice::new(format!("phantom {seed}"), (SIDE, SIDE), pixels);
    Phantom { slice, mask, class }
}

/// The scanner's point spread: weights 1, 2, 1 along both axes.
fn blurred(values: &[f32]) -> Vec<f32> {
    let along = |values: &[f32], step: usize| -> Vec<f32> {
        (0..values.len())
            .map(|index| {
                let before = values[index.saturating_sub(step)];
                let after = values[(index + step).min(values.len() - 1)];
                (before + 2.0 * values[index] + after) / 4.0
            })
            .collect()
    };
    along(&along(values, 1), SIDE)
}

fn plan_lesions(class: SliceClass, lungs: &[Ellipse; 2], rng: &mut ChaCha8Rng) -> Vec<LesionPlan> {
    let (sides, count) = match class {
        SliceClass::Control => return Vec::new(),
        SliceClass::CommonPneumonia => (vec![rng.random_range(0..2usize)], 1..3),
        SliceClass::Covid19 => (vec![0, 1], 1..4),
    };
    let mut lesions = Vec::new();
    for side in sides {
        for _ in 0..rng.random_range(count.clone()) {
            let lung = lungs[side];
            let outward = if side == 0 { -1.0 } else { 1.0 };
            // COVID-19 lies at the outer and rear edge, common pneumonia anywhere.
            let (along, reach) = match class {
                SliceClass::Covid19 => {
                    (rng.random_range(-0.2f32..1.1), rng.random_range(0.62f32..0.9))
                }
                _ => (rng.random_range(-1.2f32..1.2), rng.random_range(0.2f32..0.75)),
            };
            let consolidation = match class {
                SliceClass::CommonPneumonia => rng.random_bool(0.75),
                _ => rng.random_bool(0.25),
            };
            let size = rng.random_range(16.0f32..44.0);
            lesions.push(LesionPlan {
                shape: Ellipse {
                    x: lung.x + outward * along.cos() * lung.rx * reach,
                    y: lung.y + along.sin() * lung.ry * reach,
                    rx: size,
                    ry: size * rng.random_range(0.6f32..1.5),
                    tilt: rng.random_range(-1.0f32..1.0).sin_cos(),
                },
                consolidation,
                hounsfield: if consolidation {
                    rng.random_range(-160.0f32..0.0)
                } else {
                    rng.random_range(-560.0f32..-330.0)
                },
            });
        }
    }
    lesions
}

/// Vessels: a few branches at each hilum, and the many that cross the slice as short strokes,
/// thinner with the distance from the hilum; cover per pixel.
fn draw_vessels(lungs: &[Ellipse; 2], body: &Ellipse, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let mut cover = vec![0.0f32; SIDE * SIDE];
    for lung in lungs {
        let hilum = (lung.x + (body.x - lung.x) * 0.55, lung.y + 5.0);
        let outward = if lung.x < body.x { std::f32::consts::PI } else { 0.0 };
        for _ in 0..4 {
            let heading = outward + rng.random_range(-1.4f32..1.4);
            let (length, radius) = (rng.random_range(18.0f32..50.0), rng.random_range(2.0f32..4.0));
            stroke(&mut cover, hilum, heading, length, radius, rng);
        }
        for _ in 0..150 {
            let turn = rng.random_range(0.0..std::f32::consts::TAU);
            let reach = rng.random_range(0.0f32..0.92).sqrt();
            let start =
                (lung.x + turn.cos() * lung.rx * reach, lung.y + turn.sin() * lung.ry * reach);
            let (dx, dy) = (start.0 - hilum.0, start.1 - hilum.1);
            let radius = 1.9 - dx.hypot(dy) / 130.0 + rng.random_range(-0.3f32..0.3);
            let heading = dy.atan2(dx) + rng.random_range(-0.5f32..0.5);
            stroke(
                &mut cover,
                start,
                heading,
                rng.random_range(0.0f32..13.0),
                radius.max(0.5),
                rng,
            );
        }
    }
    cover
}

fn stroke(
    cover: &mut [f32],
    (mut x, mut y): (f32, f32),
    mut heading: f32,
    length: f32,
    radius: f32,
    rng: &mut ChaCha8Rng,
) {
    let steps = length.ceil() as usize + 1;
    for step in 0..steps {
        draw_disc(cover, x, y, radius * (1.0 - 0.5 * step as f32 / steps as f32));
        heading += rng.random_range(-0.12f32..0.12);
        x += heading.cos();
        y += heading.sin();
    }
}

fn draw_disc(cover: &mut [f32], x: f32, y: f32, radius: f32) {
    let reach = radius.ceil() as i32 + 1;
    for dy in -reach..=reach {
        for dx in -reach..=reach {
            let (px, py) = (x as i32 + dx, y as i32 + dy);
            if (0..SIDE as i32).contains(&px) && (0..SIDE as i32).contains(&py) {
                let distance = (px as f32 - x).hypot(py as f32 - y);
                let value = (radius - distance + 0.5).clamp(0.0, 1.0);
                let cell = &mut cover[py as usize * SIDE + px as usize];
                *cell = cell.max(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(phantom: &Phantom, value: u8) -> usize {
        phantom.mask.iter().filter(|v| **v == value).count()
    }

    #[test]
    fn the_same_seed_gives_the_same_picture_and_another_seed_another() {
        let first = draw(SliceClass::Covid19, 7);
        assert_eq!(first.slice.pixels, draw(SliceClass::Covid19, 7).slice.pixels);
        assert_ne!(first.slice.pixels, draw(SliceClass::Covid19, 8).slice.pixels);
    }

    #[test]
    fn controls_have_lungs_without_lesions_and_the_others_have_lesions_inside_lungs() {
        for seed in 0..6 {
            let control = draw(SliceClass::Control, seed);
            assert!(count(&control, mask_value::LUNG) > 30_000);
            assert_eq!(count(&control, mask_value::GROUND_GLASS), 0);
            assert_eq!(count(&control, mask_value::CONSOLIDATION), 0);
            for class in [SliceClass::CommonPneumonia, SliceClass::Covid19] {
                let phantom = draw(class, seed);
                let lesion = count(&phantom, 2) + count(&phantom, 3);
                assert!(lesion > 100, "{class:?} {seed}: {lesion}");
            }
        }
    }
}
