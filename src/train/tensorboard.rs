//! Event files as TensorBoard reads them: records of length, checksum and a protobuf message.

use std::path::Path;

use prost::Message;

use crate::train::checkpoint::{CheckpointError, write_whole};

/// One step's values, of those fields of TensorFlow's `event.proto` that scalars need.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// Writes the values `names` of each step to `events.out.tfevents.NAME` in a run's folder.
///
/// # Errors
/// If it cannot be written.
pub fn write(
    folder: &Path,
    name: &str,
    names: &[String],
    steps: impl IntoIterator<Item = (u64, Vec<f32>)>,
) -> Result<(), CheckpointError> {
    write_whole(&folder.join(format!("events.out.tfevents.{name}")), &bytes(names, steps))
}

fn bytes(names: &[String], steps: impl IntoIterator<Item = (u64, Vec<f32>)>) -> Vec<u8> {
    let mut file = Vec::new();
    let version = Some("brain.Event:2".to_owned());
    append(&mut file, &Event { file_version: version, ..Event::default() });
    for (step, values) in steps {
        let scalar =
            |(tag, value): (&String, f32)| Scalar { tag: tag.clone(), simple_value: value };
        let value = names.iter().zip(values).map(scalar).collect();
        // A resumed run writes the same file: the clock has no part in it.
        append(
            &mut file,
            &Event { step: step as i64, summary: Some(Summary { value }), ..Event::default() },
        );
    }
    file
}

fn append(file: &mut Vec<u8>, event: &Event) {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked_checksum(&length).to_le_bytes());
    file.extend(&message);
    file.extend(masked_checksum(&message).to_le_bytes());
}

/// CRC-32C (Castagnoli), turned and shifted as TFRecord has it.
fn masked_checksum(bytes: &[u8]) -> u32 {
    let checksum = !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    });
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720 B.4: 32 zeros have the CRC-32C 0x8a9136aa.
        let masked = 0x8a91_36aau32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked_checksum(&[0; 32]), masked);
    }

    #[test]
    fn records_hold_the_scalars_of_each_step() {
        let names = ["mask".to_owned(), "objectness".to_owned()];
        let file = bytes(&names, [(7, vec![0.5, 0.25]), (8, vec![0.4, 0.2])]);
        let (mut rest, mut events) = (&file[..], Vec::new());
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_checksum(&rest[..8]).to_le_bytes());
            let message = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], masked_checksum(message).to_le_bytes());
            events.push(Event::decode(message).unwrap());
            rest = &rest[16 + length..];
        }
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(events[2].step, 8);
        let scalars = &events[2].summary.as_ref().unwrap().value;
        assert_eq!((scalars[1].tag.as_str(), scalars[1].simple_value), ("objectness", 0.2));
    }
}
