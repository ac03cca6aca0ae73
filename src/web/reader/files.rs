//! The user's files, read when they are needed.

use std::borrow::Cow;
use std::marker::PhantomData;

use js_sys::Uint8Array;
use web_sys::{File, FileReaderSync};

use crate::export::session_file;
use crate::image::FileBytes;
use crate::image::ImageError;
use crate::image::decode::Formats;
use crate::image::decode::limits::MAX_FILE;
use crate::web::browser::describe;

/// Bytes that tell a format, or a session file.
const HEAD: i32 = session_file::HEAD as i32;

/// A file that stays where it is, read as one of the formats `D`.
#[derive(Debug)]
pub struct BrowserFile<D> {
    file: File,
    formats: PhantomData<D>,
}

impl<D> BrowserFile<D> {
    /// A file of the user's.
    pub fn new(file: File) -> Self {
        Self { file, formats: PhantomData }
    }
}

/// The first bytes of a file; none if it cannot be read.
pub fn head(file: &File) -> Vec<u8> {
    let head = file.slice_with_i32_and_i32(0, HEAD).and_then(|head| {
        FileReaderSync::new().and_then(|reader| reader.read_as_array_buffer(&head))
    });
    head.map(|head| Uint8Array::new(&head).to_vec()).unwrap_or_default()
}

impl<D: Formats> FileBytes for BrowserFile<D> {
    type Formats = D;

    fn bytes(&self) -> Result<Cow<'_, [u8]>, ImageError> {
        if self.file.size() > MAX_FILE as f64 {
            let (size, limit) = (self.file.size() / 1e6, MAX_FILE as f64 / 1e6);
            let reason = format!("it has {size:.0} MB; at most {limit:.0} MB are read here");
            return Err(ImageError::Unreadable { reason });
        }
        let buffer =
            FileReaderSync::new().and_then(|reader| reader.read_as_array_buffer(&self.file));
        buffer
            .map(|buffer| Cow::Owned(Uint8Array::new(&buffer).to_vec()))
            .map_err(|error| ImageError::Unreadable { reason: describe(&error) })
    }
}
