//! The visitor's files, read when they are needed.

use std::borrow::Cow;

use js_sys::Uint8Array;
use web_sys::{File, FileReaderSync};

use crate::image::examination::FileBytes;
use crate::web::environment::describe;

/// Largest file read: it must fit the memory of a tab.
const MAX_BYTES: f64 = (1u64 << 30) as f64;

/// A file that stays where it is.
#[derive(Debug)]
pub struct BrowserFile(pub File);

impl FileBytes for BrowserFile {
    fn bytes(&self) -> Result<Cow<'_, [u8]>, String> {
        if self.0.size() > MAX_BYTES {
            let (size, limit) = (self.0.size() / 1e6, MAX_BYTES / 1e6);
            return Err(format!("it has {size:.0} MB; at most {limit:.0} MB are read here"));
        }
        let buffer = FileReaderSync::new().and_then(|reader| reader.read_as_array_buffer(&self.0));
        buffer
            .map(|buffer| Cow::Owned(Uint8Array::new(&buffer).to_vec()))
            .map_err(|error| describe(&error))
    }
}
