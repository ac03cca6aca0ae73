//! What scanners, windows and publishers do to a picture: tone, contrast within regions, resolution, blur, noise.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::detection::bilinear::{blend, sample};

/// Tiles along each side over which [`equalise`] works.
const TILES: usize = 8;

/// Changes of a picture's intensities, in this order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Appearance {
    /// Exponent of intensities of 0 to 1.
    pub gamma: f32,
    /// Factor around the middle intensity.
    pub contrast: f32,
    /// Added.
    pub brightness: f32,
    /// Contrast-limited adaptive histogram equalisation with this limit, in mean bin heights.
    pub clahe: Option<f32>,
    /// Reduced to this share of its sides and enlarged again.
    pub resolution: Option<f32>,
    /// Gaussian blur of this standard deviation in pixels.
    pub blur: Option<f32>,
    /// Standard deviation of Gaussian noise, and its seed.
    pub noise: Option<(f32, u64)>,
}

impl Appearance {
    /// Nothing changes.
    pub const NONE: Self = Self {
        gamma: 1.0,
        contrast: 1.0,
        brightness: 0.0,
        clahe: None,
        resolution: None,
        blur: None,
        noise: None,
    };

    /// Changes a picture of `width` x `height`.
    pub fn apply(&self, pixels: &mut Vec<u8>, (width, height): (usize, usize)) {
        let table: Vec<u8> = (0..=255u8).map(|value| self.tone(value)).collect();
        pixels.iter_mut().for_each(|pixel| *pixel = table[usize::from(*pixel)]);
        if let Some(limit) = self.clahe {
            *pixels = equalise(pixels, (width, height), limit);
        }
        if self.resolution.is_none() && self.blur.is_none() && self.noise.is_none() {
            return;
        }
        let mut values: Vec<f32> = pixels.iter().map(|pixel| f32::from(*pixel)).collect();
        if let Some(share) = self.resolution {
            let side = |side: usize| ((side as f32 * share).round() as usize).clamp(1, side);
            let small = (side(width), side(height));
            // Blurred first, or the reduction would alias.
            blur(&mut values, (width, height), 0.4 / share);
            values = resize(&resize(&values, (width, height), small), small, (width, height));
        }
        if let Some(deviation) = self.blur {
            blur(&mut values, (width, height), deviation);
        }
        if let Some((deviation, seed)) = self.noise {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for value in &mut values {
                // The sum of eight bytes is normal enough; its deviation is sqrt(8 (256^2 - 1) / 12).
                let bytes = rng.random::<u64>().to_le_bytes();
                let sum: f32 = bytes.iter().map(|byte| f32::from(*byte)).sum();
                *value += (sum - 1020.0) / 209.02 * deviation * 255.0;
            }
        }
        pixels.clear();
        pixels.extend(values.iter().map(|value| value.round().clamp(0.0, 255.0) as u8));
    }

    fn tone(&self, value: u8) -> u8 {
        let bent = (f32::from(value) / 255.0).powf(self.gamma);
        let moved = (bent - 0.5) * self.contrast + 0.5 + self.brightness;
        (moved * 255.0).round().clamp(0.0, 255.0) as u8
    }
}

fn resize(values: &[f32], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let columns: Vec<_> = (0..to.0).map(|x| sample(x, from.0, to.0)).collect();
    let mut resized = Vec::with_capacity(to.0 * to.1);
    for y in 0..to.1 {
        let row = sample(y, from.1, to.1);
        let at = |y: usize, x: usize| values[y * from.0 + x];
        resized.extend(columns.iter().map(|column| blend(at, row, *column)));
    }
    resized
}

/// Gaussian blur; edges are repeated.
fn blur(values: &mut [f32], (width, height): (usize, usize), deviation: f32) {
    let reach = (deviation * 2.5).ceil() as usize;
    if reach == 0 {
        return;
    }
    let weight = |at: usize| (-0.5 * (at as f32 / deviation).powi(2)).exp();
    let weights: Vec<f32> = (0..=2 * reach).map(|at| weight(at.abs_diff(reach))).collect();
    let total: f32 = weights.iter().sum();
    let weights: Vec<f32> = weights.into_iter().map(|weight| weight / total).collect();
    for row in values.chunks_exact_mut(width) {
        let mut padded = vec![row[0]; reach];
        padded.extend_from_slice(row);
        padded.resize(width + 2 * reach, row[width - 1]);
        for (x, value) in row.iter_mut().enumerate() {
            *value = padded[x..].iter().zip(&weights).map(|(v, w)| v * w).sum();
        }
    }
    let source = values.to_vec();
    for (y, row) in values.chunks_exact_mut(width).enumerate() {
        row.fill(0.0);
        for (k, weight) in weights.iter().enumerate() {
            let from = (y + k).saturating_sub(reach).min(height - 1);
            let from = &source[from * width..][..width];
            row.iter_mut().zip(from).for_each(|(value, from)| *value += weight * from);
        }
    }
}

/// Contrast-limited adaptive histogram equalisation (Zuiderveld 1994) over 8 x 8 tiles.
fn equalise(pixels: &[u8], (width, height): (usize, usize), limit: f32) -> Vec<u8> {
    let bounds = |tile: usize, side: usize| (tile * side / TILES, (tile + 1) * side / TILES);
    let mut tables = vec![[0.0f32; 256]; TILES * TILES];
    for (index, table) in tables.iter_mut().enumerate() {
        let (top, bottom) = bounds(index / TILES, height);
        let (left, right) = bounds(index % TILES, width);
        let count = ((bottom - top) * (right - left)).max(1) as f32;
        for y in top..bottom {
            for pixel in &pixels[y * width + left..y * width + right] {
                table[usize::from(*pixel)] += 1.0;
            }
        }
        let cap = limit * count / 256.0;
        let excess: f32 = table.iter().map(|bin| (bin - cap).max(0.0)).sum();
        let mut sum = 0.0;
        for bin in table.iter_mut() {
            sum += bin.min(cap) + excess / 256.0;
            *bin = sum / count * 255.0;
        }
    }
    let columns: Vec<_> = (0..width).map(|x| sample(x, TILES, width)).collect();
    let mut equalised = Vec::with_capacity(pixels.len());
    for y in 0..height {
        let row = sample(y, TILES, height);
        for (x, column) in columns.iter().enumerate() {
            let value = usize::from(pixels[y * width + x]);
            let at = |tile_row: usize, tile: usize| tables[tile_row * TILES + tile][value];
            equalised.push(blend(at, row, *column).round().clamp(0.0, 255.0) as u8);
        }
    }
    equalised
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Vec<u8> {
        (0..48 * 40).map(|at| ((at % 48) * 5) as u8).collect()
    }

    fn changed(appearance: Appearance) -> Vec<u8> {
        let mut pixels = picture();
        appearance.apply(&mut pixels, (48, 40));
        pixels
    }

    #[test]
    fn no_change_changes_nothing() {
        assert_eq!(changed(Appearance::NONE), picture());
    }

    #[test]
    fn blur_and_lower_resolution_keep_a_ramp_and_soften_an_edge() {
        for appearance in [
            Appearance { blur: Some(1.5), ..Appearance::NONE },
            Appearance { resolution: Some(0.5), ..Appearance::NONE },
        ] {
            let ramp = changed(appearance);
            for (x, (pixel, original)) in ramp.iter().zip(picture()).enumerate() {
                let middle = (6..42).contains(&(x % 48));
                assert!(!middle || pixel.abs_diff(original) <= 1, "{x}: {pixel} {original}");
            }
            let mut edge: Vec<u8> =
                (0..48 * 40).map(|i| if i % 48 < 24 { 0 } else { 200 }).collect();
            appearance.apply(&mut edge, (48, 40));
            assert!(edge[20 * 48 + 23] > 20 && edge[20 * 48 + 24] < 180);
        }
    }

    #[test]
    fn noise_has_the_deviation_that_was_asked_for_and_no_bias() {
        let mut pixels = vec![128u8; 48 * 40];
        Appearance { noise: Some((0.04, 9)), ..Appearance::NONE }.apply(&mut pixels, (48, 40));
        let differences = pixels.iter().map(|pixel| f64::from(*pixel) - 128.0);
        let mean = differences.clone().sum::<f64>() / 1920.0;
        let deviation = (differences.map(|d| d * d).sum::<f64>() / 1920.0).sqrt();
        assert!(mean.abs() < 1.0 && (deviation - 10.2).abs() < 0.7, "{mean} {deviation}");
    }

    #[test]
    fn equalisation_spreads_a_narrow_range_and_keeps_its_order() {
        let narrow: Vec<u8> = (0..48 * 40).map(|at| 100 + ((at * 7) % 20) as u8).collect();
        let spread = equalise(&narrow, (48, 40), 4.0);
        let range = |p: &[u8]| p.iter().max().unwrap() - p.iter().min().unwrap();
        assert!(range(&spread) > 2 * range(&narrow));
        let middle = 20 * 48..20 * 48 + 48;
        for (a, b) in middle.clone().zip(middle.skip(1)) {
            if narrow[a] + 3 < narrow[b] {
                assert!(spread[a] <= spread[b]);
            }
        }
    }
}
