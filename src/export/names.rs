//! Names of the files that are written: one safe component, whatever a stranger's file is called.

use std::collections::HashMap;

use crate::export::Format;

/// Endings of files that slices come from.
const ENDINGS: [&str; 10] =
    [".nii.gz", ".dicom", ".dcm", ".ima", ".png", ".jpeg", ".jpg", ".nii", ".gz", ".zip"];
/// Names that Windows keeps for devices, whatever their ending.
const RESERVED: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8",
    "com9", "lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];
/// Most bytes of a stem; what is added to it stays far below the 255 that file systems take.
const MOST_BYTES: usize = 150;

/// What files about the slice or series `name` are called, before their ending: the last part of its path
/// without the ending, frames by number (`scan_frame3`), and nothing that a file system takes for more than a
/// name.
pub fn safe_stem(name: &str) -> String {
    let (path, frame) = match name.rsplit_once('#') {
        Some((path, frame)) if !frame.is_empty() && frame.bytes().all(|b| b.is_ascii_digit()) => {
            (path, Some(frame))
        }
        _ => (name, None),
    };
    let last =
        path.rsplit(['/', '\\']).find(|part| !matches!(*part, "" | "." | "..")).unwrap_or("");
    let lower = last.to_ascii_lowercase();
    let ending =
        ENDINGS.iter().find(|ending| lower.ends_with(**ending) && lower.len() > ending.len());
    let kept = &last[..last.len() - ending.map_or(0, |ending| ending.len())];
    let mut safe = String::new();
    for c in kept.chars() {
        let c = if is_safe(c) { c } else { '_' };
        if safe.len() + c.len_utf8() > MOST_BYTES {
            break;
        }
        safe.push(c);
    }
    // Windows drops dots and blanks at the end; a dot in front hides a file.
    let mut safe = safe.trim_end_matches(['.', ' ']).trim_start().to_owned();
    if safe.starts_with(['.', '-']) {
        safe.replace_range(..1, "_");
    }
    if safe.is_empty() {
        safe = "slices".into();
    }
    let first = safe.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    if RESERVED.contains(&first.as_str()) {
        safe.insert(0, '_');
    }
    if let Some(frame) = frame {
        safe.push_str("_frame");
        safe.push_str(&frame[..frame.len().min(10)]);
    }
    safe
}

/// Whether a file system, a shell's user and a reader of names can live with a character. The tables that know
/// all letters would be downloaded by every user; those that only control how others are shown are known here.
fn is_safe(c: char) -> bool {
    match c {
        '\0'..='\x7f' => c.is_ascii_alphanumeric() || "-_.()+=, ".contains(c),
        '\u{80}'..='\u{a0}' | '\u{ad}' | '\u{61c}' | '\u{2000}'..='\u{200f}' => false,
        '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{feff}' => false,
        '\u{fff0}'..='\u{ffff}' | '\u{e0000}'.. => false,
        _ => true,
    }
}

/// File names given so far: no two are alike, not even where capitals do not count.
#[derive(Debug, Default)]
pub struct Names {
    /// How often a name was asked for, in small letters.
    asked: HashMap<String, usize>,
}

impl Names {
    /// A name for an export of the slice or series `name` that nothing else has.
    pub fn unique(&mut self, name: &str, format: Format) -> String {
        let stem = safe_stem(name);
        loop {
            let asked = self.asked.entry(stem.to_lowercase()).or_default();
            *asked += 1;
            let number = *asked;
            if number == 1 {
                return format!("{stem}_{}", format.ending());
            }
            let numbered = format!("{stem}_{number}");
            // Something may be called so by itself.
            let asked = self.asked.entry(numbered.to_lowercase()).or_default();
            if *asked == 0 {
                *asked = 1;
                return format!("{numbered}_{}", format.ending());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_tell_frame_and_slice() {
        for (name, expected) in [
            ("mf.dcm#3", "mf_frame3"),
            ("a/b/scan.nii.gz#12", "scan_frame12"),
            ("1.2.840.113.10", "1.2.840.113.10"),
            ("1.2.840.113.11", "1.2.840.113.11"),
            ("C:\\scans\\SLICE.DCM", "SLICE"),
            ("../../victim/..", "victim"),
            (".", "slices"),
            ("", "slices"),
            (".dcm", "_dcm"),
            (".hidden.png", "_hidden"),
            ("CON.png", "_CON"),
            ("nul.txt", "_nul.txt"),
            ("a\0b\nc:d*?\u{202e}", "a_b_c_d___"),
            ("ends. . .", "ends"),
        ] {
            assert_eq!(safe_stem(name), expected, "{name:?}");
        }
    }

    #[test]
    fn no_two_files_have_one_name() {
        let mut names = Names::default();
        let mut give = |name| names.unique(name, Format::MaskPng);
        assert_eq!(give("a/1.png"), "1_mask.png");
        assert_eq!(give("b/1.png"), "1_2_mask.png");
        assert_eq!(give("1_2.png"), "1_2_2_mask.png");
        assert_eq!(give("A.png"), "A_mask.png");
        assert_eq!(give("a.png"), "a_2_mask.png");
    }

    #[test]
    fn thousands_of_equal_names_take_no_time() {
        let mut names = Names::default();
        let given: std::collections::HashSet<String> =
            (0..50_000).map(|_| names.unique("slice.png", Format::MaskPng)).collect();
        assert_eq!(given.len(), 50_000);
    }

    proptest! {
        #[test]
        fn any_text_becomes_one_safe_component(name in any::<String>()) {
            let stem = safe_stem(&name);
            prop_assert!(!stem.is_empty() && stem.len() <= MOST_BYTES + 20);
            prop_assert!(!stem.starts_with(['.', '-', ' ']) && !stem.ends_with(['.', ' ']));
            prop_assert!(!stem.chars().any(|c| c.is_control() || "/\\:*?\"<>|#".contains(c)));
            let folder = std::path::Path::new("folder");
            let file = folder.join(format!("{stem}_mask.png"));
            prop_assert_eq!(file.parent(), Some(folder));
            let first = stem.split('.').next().unwrap_or_default().to_lowercase();
            prop_assert!(!RESERVED.contains(&first.as_str()));
        }

        #[test]
        fn names_are_unique_even_without_capitals(texts in proptest::collection::vec("[aA1_#.]{0,6}", 0..40)) {
            let mut names = Names::default();
            let mut given = std::collections::HashSet::new();
            for text in texts {
                prop_assert!(given.insert(names.unique(&text, Format::MaskPng).to_lowercase()));
            }
        }
    }
}
