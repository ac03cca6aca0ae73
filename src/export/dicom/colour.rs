//! Colours as DICOM writes them: CIELab of the profile connection space, scaled to 16 bits (PS3.3 C.10.7.1.1).

/// The white of sRGB, D65, seen under D50, as ICC profiles have it (Bradford): rows of XYZ from linear RGB.
const XYZ_D50: [[f64; 3]; 3] = [
    [0.436_074_7, 0.385_064_9, 0.143_080_4],
    [0.222_504_5, 0.716_878_6, 0.060_616_9],
    [0.013_932_2, 0.097_104_5, 0.714_173_3],
];
/// XYZ of D50.
const WHITE: [f64; 3] = [0.964_22, 1.0, 0.825_21];

/// An sRGB colour as CIELab: L of 0 to 100 becomes 0 to 65535, a and b of -128 to 127 likewise.
pub fn cielab(rgb: [u8; 3]) -> [u16; 3] {
    let linear = rgb.map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let [x, y, z]: [f64; 3] = std::array::from_fn(|row| {
        let sum: f64 = XYZ_D50[row].iter().zip(linear).map(|(factor, value)| factor * value).sum();
        let share = sum / WHITE[row];
        if share > (6.0f64 / 29.0).powi(3) {
            share.cbrt()
        } else {
            share * (29.0f64 / 6.0).powi(2) / 3.0 + 4.0 / 29.0
        }
    });
    let scaled = |value: f64, low: f64, high: f64| {
        ((value - low) / (high - low) * 65535.0).round().clamp(0.0, 65535.0) as u16
    };
    [
        scaled(116.0 * y - 16.0, 0.0, 100.0),
        scaled(500.0 * (x - y), -128.0, 127.0),
        scaled(200.0 * (y - z), -128.0, 127.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_black_and_red_are_those_of_the_icc() {
        assert_eq!(cielab([0, 0, 0]), [0, 32896, 32896]);
        let [lightness, a, b] = cielab([255, 255, 255]);
        assert!(lightness > 65530 && a.abs_diff(32896) < 3 && b.abs_diff(32896) < 3);
        // sRGB red is L 54.29, a 80.81, b 69.89 under D50.
        let [lightness, a, b] = cielab([255, 0, 0]);
        assert!(lightness.abs_diff(35579) < 10 && a.abs_diff(53664) < 20 && b.abs_diff(50857) < 20);
    }
}
