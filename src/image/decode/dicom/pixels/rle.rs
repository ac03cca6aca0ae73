//! RLE: a segment for each byte of the values, packed by PackBits (PS3.5 annex G).

use crate::image::ImageError;
use crate::image::decode::dicom::damaged_because;
use crate::image::decode::dicom::pixels::Layout;

/// Bytes of the table of segments.
const TABLE: usize = 64;

/// The words of a frame, little endian.
pub fn decode(bytes: &[u8], layout: &Layout) -> Result<Vec<u8>, ImageError> {
    let broken = |reason: String| damaged_because(format!("RLE: {reason}"));
    let table: Vec<usize> = bytes
        .get(..TABLE)
        .ok_or_else(|| broken("the table of segments is cut off".into()))?
        .as_chunks::<4>()
        .0
        .iter()
        .map(|number| u32::from_le_bytes(*number) as usize)
        .collect();
    let planes = layout.allocated as usize / 8;
    if table[0] != planes {
        return Err(broken(format!("{} segments for values of {planes} bytes", table[0])));
    }
    let mut words = vec![0; layout.frame_bytes()];
    for plane in 0..planes {
        let start = table[1 + plane];
        let end = if plane + 1 < planes { table[2 + plane] } else { bytes.len() };
        let packed = (start >= TABLE).then(|| bytes.get(start..end)).flatten();
        let packed = packed.ok_or_else(|| broken(format!("segment {} lies outside", plane + 1)))?;
        let plain = unpack(packed, layout.pixels())
            .map_err(|reason| broken(format!("segment {}: {reason}", plane + 1)))?;
        // The first segment holds the highest bytes.
        let place = planes - 1 - plane;
        for (word, byte) in words.chunks_exact_mut(planes).zip(plain) {
            word[place] = byte;
        }
    }
    Ok(words)
}

fn unpack(packed: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    let mut plain = Vec::with_capacity(length);
    let mut rest = packed;
    while plain.len() < length {
        let (control, after) = rest.split_first().ok_or("it ends too early")?;
        let count = usize::from(*control);
        match count {
            0..128 => {
                let run = after.get(..=count).ok_or("it ends too early")?;
                plain.extend_from_slice(run);
                rest = &after[count + 1..];
            }
            128 => rest = after,
            _ => {
                let (byte, after) = after.split_first().ok_or("it ends too early")?;
                plain.resize(plain.len() + 257 - count, *byte);
                rest = after;
            }
        }
    }
    if plain.len() > length || rest.iter().any(|byte| *byte != 0) {
        return Err("it holds more than the picture");
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        columns: 2,
        rows: 2,
        frames: 1,
        allocated: 16,
        stored: 16,
        high_bit: 15,
        is_signed: false,
    };

    fn frame(segments: u32, starts: [u32; 2], rest: &[u8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = [segments, starts[0], starts[1]].map(u32::to_le_bytes).concat();
        bytes.resize(TABLE, 0);
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn runs_and_literals_become_words() {
        // High bytes: 1 four times. Low bytes: 2, 3, then 4 twice.
        let bytes = frame(2, [64, 66], &[253, 1, 1, 2, 3, 255, 4, 0]);
        assert_eq!(decode(&bytes, &LAYOUT).unwrap(), [2, 1, 3, 1, 4, 1, 4, 1]);
    }

    #[test]
    fn tables_and_segments_that_contradict_the_picture_are_refused() {
        for bytes in [
            vec![2, 0, 0, 0],
            frame(1, [64, 66], &[253, 1, 253, 1]),
            frame(2, [64, 900], &[253, 1, 253, 1]),
            frame(2, [64, 3], &[253, 1, 253, 1]),
            frame(2, [66, 64], &[253, 1, 253, 1]),
            frame(2, [64, 66], &[253, 1, 253]),
            frame(2, [64, 66], &[252, 1, 253, 1]),
            frame(2, [64, 66], &[253, 1, 253, 1, 9]),
        ] {
            assert!(decode(&bytes, &LAYOUT).is_err(), "{bytes:?}");
        }
    }
}
