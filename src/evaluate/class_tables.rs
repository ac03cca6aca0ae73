//! Tables of slices with their class: logits, or probabilities.

use serde::{Deserialize, Serialize};

use crate::classes::{CLASSES, SliceClass};
use crate::detection::postprocess::softmax;
use crate::evaluate::classification::Classified;

/// A row of a table of slices with three numbers each.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    file: String,
    source: String,
    patient: String,
    class: usize,
    control: f32,
    common_pneumonia: f32,
    covid19: f32,
}

fn table(
    slices: &[Classified],
    numbers: impl Fn(&Classified) -> [f32; CLASSES],
) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if slices.is_empty() {
        // Rows would bring their header.
        let columns = ["file", "source", "patient", "class"];
        writer.write_record(columns.into_iter().chain(SliceClass::ALL.map(SliceClass::key)))?;
    }
    for slice in slices {
        let [control, common_pneumonia, covid19] = numbers(slice);
        let Classified { name: file, source, patient, class, .. } = slice.clone();
        let class = class.index();
        let row = Row { file, source, patient, class, control, common_pneumonia, covid19 };
        writer.serialize(row)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// Reads a table; `fits` says which numbers can be.
fn read_table(
    bytes: &[u8],
    fits: fn(f32) -> bool,
) -> Result<Vec<(Classified, [f32; CLASSES])>, csv::Error> {
    let rows = csv::Reader::from_reader(bytes).into_deserialize::<Row>().map(|row| {
        let Row { file, source, patient, class, control, common_pneumonia, covid19 } = row?;
        let numbers = [control, common_pneumonia, covid19];
        let known = SliceClass::from_index(class);
        let Some(class) = known.filter(|_| numbers.iter().all(|number| fits(*number))) else {
            let what = format!("{file}: class {class} with {numbers:?} cannot be");
            return Err(csv::Error::from(std::io::Error::other(what)));
        };
        let zeros = [0.0; CLASSES];
        let slice =
            Classified { name: file, patient, source, class, logits: zeros, probabilities: zeros };
        Ok((slice, numbers))
    });
    rows.collect()
}

/// A table of logits, for `groundglass calibrate`.
///
/// # Errors
/// If it cannot be written.
pub fn logits_csv(slices: &[Classified]) -> Result<Vec<u8>, csv::Error> {
    table(slices, |slice| slice.logits)
}

/// Reads such a table; there are no probabilities in it.
///
/// # Errors
/// If it is another table, or holds a class that cannot be or a logit that is no number.
pub fn read_logits(bytes: &[u8]) -> Result<Vec<Classified>, csv::Error> {
    let rows = read_table(bytes, f32::is_finite)?.into_iter();
    Ok(rows.map(|(slice, logits)| Classified { logits, ..slice }).collect())
}

/// A table of probabilities, for `groundglass evaluate compare`.
///
/// # Errors
/// If it cannot be written.
pub fn probabilities_csv(slices: &[Classified]) -> Result<Vec<u8>, csv::Error> {
    table(slices, |slice| slice.probabilities)
}

/// Reads such a table; there are no logits in it.
///
/// # Errors
/// If it is another table, or holds a class or a probability that cannot be.
pub fn read_probabilities(bytes: &[u8]) -> Result<Vec<Classified>, csv::Error> {
    let rows = read_table(bytes, |share| (0.0..=1.0).contains(&share))?.into_iter();
    Ok(rows.map(|(slice, probabilities)| Classified { probabilities, ..slice }).collect())
}

/// Reads a table of probabilities, or one of logits with the probabilities that softmax makes of them.
///
/// # Errors
/// If it is neither.
pub fn read_either(bytes: &[u8]) -> Result<Vec<Classified>, csv::Error> {
    let of_logits = |slice: Classified| {
        let shares = softmax(&slice.logits);
        Classified { probabilities: std::array::from_fn(|class| shares[class]), ..slice }
    };
    let logits = read_logits(bytes)?;
    match are_probabilities(&logits) {
        true => read_probabilities(bytes),
        false => Ok(logits.into_iter().map(of_logits).collect()),
    }
}

/// Whether what was read as logits adds up to 1 on every row, as logits do by accident on one.
pub fn are_probabilities(slices: &[Classified]) -> bool {
    let is_sum = |slice: &Classified| (slice.logits.iter().sum::<f32>() - 1.0).abs() < 1e-3;
    !slices.is_empty() && slices.iter().all(is_sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_as_they_were_written_and_impossible_ones_are_refused() {
        let slice = Classified {
            name: "a, \"b\".png".into(),
            patient: "1".into(),
            source: String::new(),
            class: SliceClass::Covid19,
            logits: [-1.5, 0.25, 3.0],
            probabilities: [0.125, 0.25, 0.625],
        };
        let slices = std::slice::from_ref(&slice);
        let logits = read_logits(&logits_csv(slices).unwrap()).unwrap();
        assert_eq!((logits[0].logits, &logits[0].name), (slice.logits, &slice.name));
        let read = read_probabilities(&probabilities_csv(slices).unwrap()).unwrap();
        assert_eq!((read[0].probabilities, read[0].class), (slice.probabilities, slice.class));
        assert!(read_probabilities(&logits_csv(slices).unwrap()).is_err());
        let either = |table: Vec<u8>| read_either(&table).unwrap().remove(0).probabilities;
        assert_eq!(either(probabilities_csv(slices).unwrap()), slice.probabilities);
        let [.., covid19] = either(logits_csv(slices).unwrap());
        assert!((covid19 - 0.930_3).abs() < 1e-3, "{covid19}");
        assert!(read_logits(&logits_csv(&[]).unwrap()).unwrap().is_empty());
        let written = String::from_utf8(logits_csv(slices).unwrap()).unwrap();
        let fourth = written.replace(",1,2,", ",1,3,");
        assert!(fourth != written && read_logits(fourth.as_bytes()).is_err());
    }
}
