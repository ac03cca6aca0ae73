//! Files for the user to save, written where the slices can be read.

use crate::export::dicom::Identity;
use crate::export::{ExportError, Format, Options, Slices, needs_slices};
use crate::image::{CtSlice, Plane, SeriesSlice, Window};
use crate::report::{Report, SliceReport};
use crate::web::messages::Transfer;
use crate::web::messages::reader::Event;
use crate::web::reader::files::BrowserFile;
use crate::web::reader::kind::Kind;
use crate::web::worker_scope;

/// Slices of opened files.
type SliceHandles<'a, K> = &'a [&'a SeriesSlice<BrowserFile<K>>];

/// Slices as exports show them: through the window that was chosen.
struct OpenedSlices<'a, K: Kind> {
    handles: SliceHandles<'a, K>,
    window: Option<Window>,
}

impl<K: Kind> Slices for OpenedSlices<'_, K> {
    fn plane(&self, index: usize) -> Option<Plane> {
        self.handles.get(index)?.header.plane
    }

    fn read(&mut self, index: usize) -> Result<CtSlice, ExportError> {
        // Hundreds of pictures take their time.
        worker_scope::post(&Event::Busy, Transfer::Nothing);
        let handle = self.handles.get(index).ok_or(ExportError::Empty)?;
        Ok(handle.read()?.windowed(&handle.name, self.window))
    }

    fn dicom(
        &self,
        format: Format,
        report: &Report,
        identity: Identity,
    ) -> Result<Vec<u8>, ExportError> {
        let slices: Vec<_> = report.slices.iter().zip(self.handles.iter().copied()).collect();
        K::dicom(format, &slices, &report.model, identity)
    }
}

/// Writes `report`, whose slices come from `handles`, as a file; pictures show CT through `window`.
///
/// # Errors
/// If a slice is gone or another than the report speaks of, or the format does not take the slices.
pub fn write<K: Kind>(
    format: Format,
    report: &Report,
    (handles, window): (SliceHandles<'_, K>, Option<Window>),
    options: Options<'_>,
) -> Result<Vec<u8>, ExportError> {
    if report.slices.is_empty() {
        return Err(ExportError::Empty);
    }
    // What is found needs no file; what shows or refers to a slice needs the very one.
    let is_same = |(slice, handle): (&SliceReport, &&SeriesSlice<BrowserFile<K>>)| {
        slice.source == handle.name
            && (slice.width, slice.height) == (handle.header.width, handle.header.height)
    };
    let are_same =
        handles.len() == report.slices.len() && report.slices.iter().zip(handles).all(is_same);
    if needs_slices(format) && !are_same {
        return Err(ExportError::Slices(
            "the files are not those any more that the findings belong to; open them again".into(),
        ));
    }
    crate::export::write(format, report, &mut OpenedSlices { handles, window }, options)
}
