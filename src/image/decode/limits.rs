//! What decoders of untrusted files may use: one set of limits for every decoder, the inner ones too.

use crate::image::decode::ImageError;

/// Longest side accepted; CT slices have 512, sometimes 1024 pixels.
pub const MAX_SIDE: usize = 4096;
/// Shortest side accepted: the coarsest network has a stride of 32 px.
pub const MIN_SIDE: usize = 32;
/// Most frames of a file.
pub const MAX_FRAMES: usize = 10_000;
/// Most elements and items of a DICOM data set, nested ones included.
pub const MAX_ELEMENTS: usize = 500_000;
/// Deepest nesting of DICOM sequences.
pub const MAX_DEPTH: usize = 64;
/// Most files in an archive, or taken from a folder that is dropped on the page.
pub const MAX_FILES: usize = 20_000;
/// Largest file, in bytes. In the browser it must fit into the memory of a tab.
pub const MAX_FILE: u64 = MAX_UNPACKED;
/// Most tiles, and most precincts, of a JPEG 2000 picture.
pub const MAX_TILES: u64 = 4096;
/// Most scans of a progressive JPEG picture.
pub const MAX_SCANS: usize = 100;
/// Seconds that a decoder may take where it can be left behind, and one more for each megabyte of its file.
pub const MAX_SECONDS: u64 = 60;
/// Most bytes of a deflated DICOM file, unpacked, and of a file of an archive: they are held more than once.
pub const MAX_MEMBER: u64 = 512 << 20;
/// Most bytes that compressed data may unpack to, and that archives and volumes may take together. In the
/// browser a program has 4 GiB of memory in all.
pub const MAX_UNPACKED: u64 = if cfg!(target_arch = "wasm32") { 1 << 30 } else { 2 << 30 };

/// What is left of [`MAX_UNPACKED`] for all files that are opened together.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    left: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(MAX_UNPACKED)
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { limit, left: limit }
    }

    /// Bytes that may still be taken.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// If there are not so many left; nothing is taken then.
    pub fn take(&mut self, bytes: u64) -> Result<(), ImageError> {
        let limit = self.limit;
        self.left = self.left.checked_sub(bytes).ok_or(ImageError::TooLarge { limit })?;
        Ok(())
    }

    /// Gives back what was taken for something that is not kept.
    pub fn give_back(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(bytes).min(self.limit);
    }
}

/// Checks the sides of a picture.
///
/// # Errors
/// If one is too short or too long.
pub fn check_size(width: u64, height: u64) -> Result<(), ImageError> {
    let fits = |side: u64| (MIN_SIDE as u64..=MAX_SIDE as u64).contains(&side);
    if fits(width) && fits(height) { Ok(()) } else { Err(ImageError::Size { width, height }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_refuses_what_is_over_it() {
        let mut budget = Budget::new(10);
        assert!(budget.take(6).is_ok());
        assert!(matches!(budget.take(5), Err(ImageError::TooLarge { limit: 10 })));
        assert!(budget.take(4).is_ok());
        budget.give_back(100);
        assert_eq!(budget.left(), 10);
    }
}
