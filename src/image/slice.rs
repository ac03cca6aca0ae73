//! One CT slice as the rest of the program sees it.

/// A slice: 8-bit intensities after windowing, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct CtSlice {
    /// File name or path, for messages and reports.
    pub source: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width` intensities, row-major.
    pub pixels: Vec<u8>,
    /// Millimetres between rows and between columns, if the file tells.
    pub spacing_mm: Option<[f64; 2]>,
    /// What the reader should know about how the file was read.
    pub warnings: Vec<String>,
}
