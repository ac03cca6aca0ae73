//! The reader: opens the user's files, decodes slices, writes exports. It knows no network.

mod export;
mod files;
mod kind;

use std::cell::RefCell;

use thiserror::Error;
use web_time::{Duration, Instant};

pub use kind::{FindingsKind, Kind};

use self::files::{BrowserFile, head};
use crate::export::Options;
use crate::export::findings_file::KnownSlice;
use crate::export::session_file::{self, SessionFile, SliceKey};
use crate::image::slice::RawSlice;
use crate::image::study::Opening;
use crate::image::volume::{Volume, VolumeError};
use crate::image::{ImageError, Series, SeriesSlice, Study, Window};
use crate::report::FileError;
use crate::web::messages::reader::{
    Event, OpenedSeries, OpenedStudy, Request, ShownSlice, value_bytes,
};
use crate::web::messages::{Envelope, Transfer};
use crate::web::worker_scope;

/// Starts listening. `K` is what this binary reads.
pub fn run<K: Kind>() {
    let reader = Reader::<K>::default();
    let on_message = move |envelope| reader.on_message(envelope);
    worker_scope::listen(on_message, &Event::Started, |message| Event::Failed { message });
}

fn post(event: &Event, transfer: Transfer<'_>) {
    worker_scope::post(event, transfer);
}

/// How long slices are read for planes before others may ask.
const MOMENT: Duration = Duration::from_millis(150);

/// Files that were opened.
struct OpenBatch<K: Kind> {
    batch: u32,
    study: Study<BrowserFile<K>>,
}

impl<K: Kind> Default for OpenBatch<K> {
    fn default() -> Self {
        Self { batch: 0, study: Study { series: Vec::new(), refused: Vec::new() } }
    }
}

impl<K: Kind> OpenBatch<K> {
    fn slice_of(&self, batch: u32, number: usize) -> Option<&SeriesSlice<BrowserFile<K>>> {
        let mut slices = self.study.series.iter().flat_map(|series| &series.slices);
        slices.nth(number).filter(|_| self.batch == batch)
    }

    /// The series of a slice, and the number of its first slice.
    fn series_of(&self, batch: u32, number: usize) -> Option<(usize, &Series<BrowserFile<K>>)> {
        let mut first = 0;
        self.study.series.iter().filter(|_| self.batch == batch).find_map(|series| {
            let begin = first;
            first += series.slices.len();
            (number < first).then_some((begin, series))
        })
    }

    /// All slices with what identifies each.
    fn known(&self, keys: Vec<SliceKey>) -> Vec<KnownSlice<'_>> {
        let slices = self.study.series.iter().flat_map(|series| &series.slices);
        let slice = |(slice, key)| {
            let SeriesSlice { name, header, .. }: &SeriesSlice<_> = slice;
            let size = (header.width, header.height);
            let position_mm = header.plane.map(|plane| plane.origin[2]);
            KnownSlice { name, size, spacing_mm: header.spacing_mm, position_mm, key }
        };
        slices.zip(keys).map(slice).collect()
    }

    fn contents(&self) -> OpenedStudy {
        let series = self.study.series.iter().map(|series| OpenedSeries {
            name: series.name.clone(),
            slices: series.slices.iter().map(|slice| slice.name.clone()).collect(),
            checksums: series.slices.iter().map(|slice| slice.checksum).collect(),
            distance_mm: series.distance_mm,
            is_dicom: series.slices.first().is_some_and(|slice| slice.header.instance.is_some()),
            warnings: series.warnings.clone(),
        });
        let refused = self.study.refused.iter().map(|(source, error)| FileError {
            source: source.clone(),
            message: error.to_string(),
        });
        OpenedStudy { series: series.collect(), refused: refused.collect() }
    }
}

/// Why elements of a slice's file cannot be listed. That a file cannot be read does not say that it holds nothing.
#[derive(Debug, Error)]
enum ListError {
    #[error("{NO_SLICE}")]
    NoSlice,
    #[error("{name}: {error}")]
    File { name: String, error: ImageError },
}

/// Said where a slice is asked for that is not there: every question has an answer.
const NO_SLICE: &str = "there is no such slice any more";

/// Whether `K` reads all files. Even a head may never come, so each is announced.
fn all_are_taken<K: Kind>(
    batch: u32,
    files: &[web_sys::File],
    refused: &[(usize, String)],
) -> bool {
    files.iter().enumerate().all(|(place, file)| {
        if refused.iter().any(|(broken, _)| *broken == place) {
            return true;
        }
        post(&Event::Opening { batch, file: place }, Transfer::Nothing);
        K::takes(&head(file))
    })
}

/// A file with findings among those that were opened.
struct FindingsSource<K: Kind> {
    name: String,
    kind: FindingsKind,
    file: BrowserFile<K>,
}

/// The findings of the first of these files that can be used on the slices of `opened`, and why the others are not.
fn first_findings<K: Kind>(
    sources: Vec<FindingsSource<K>>,
    opened: &OpenBatch<K>,
) -> (Option<Box<SessionFile>>, Vec<FileError>) {
    let (mut first, mut refused) = (None, Vec::new());
    if sources.is_empty() {
        return (first, refused);
    }
    let contents = opened.contents();
    let known = opened.known(contents.keys());
    for FindingsSource { name: source, kind, file } in sources {
        let message = match (&first, K::findings(kind, &file, &known)) {
            (None, Ok(found)) => {
                first = Some(Box::new(found));
                continue;
            }
            (Some(_), Ok(_)) => {
                "other findings were opened with it: open one file at a time".into()
            }
            (_, Err(error)) => error.to_string(),
        };
        refused.push(FileError { source, message });
    }
    (first, refused)
}

/// Reads slices into a volume for a moment, one at least; says how many it has.
fn read_on<K: Kind>(
    mut volume: Volume,
    series: &Series<BrowserFile<K>>,
) -> Result<(Volume, usize), VolumeError> {
    let begun = Instant::now();
    let mut read = volume.read_next(series)?;
    while !volume.is_complete() && begun.elapsed() < MOMENT {
        read = volume.read_next(series)?;
    }
    Ok((volume, read))
}

struct Reader<K: Kind> {
    opened: RefCell<OpenBatch<K>>,
    /// The slice shown last, with the number of its batch and its own.
    last_shown: RefCell<Option<((u32, usize), RawSlice)>>,
    /// The series cut last, with the number of its first slice.
    volume: RefCell<Option<(usize, Volume)>>,
}

impl<K: Kind> Default for Reader<K> {
    fn default() -> Self {
        Self {
            opened: RefCell::default(),
            last_shown: RefCell::default(),
            volume: RefCell::default(),
        }
    }
}

impl<K: Kind> Reader<K> {
    fn on_message(&self, Envelope { message, files, .. }: Envelope<Request>) {
        match message {
            Request::Open { batch, names, refused } => {
                if !K::TAKES_ALL && !all_are_taken::<K>(batch, &files, &refused) {
                    return post(&Event::NeedsAllFormats { batch }, Transfer::Nothing);
                }
                *self.volume.borrow_mut() = None;
                let count = files.len();
                let mut opening = Opening::default();
                let mut sources = Vec::new();
                for (place, (name, file)) in names.into_iter().zip(files).enumerate() {
                    if let Some((_, reason)) = refused.iter().find(|(broken, _)| *broken == place) {
                        opening.refuse(name, ImageError::broken(reason.clone()));
                        continue;
                    }
                    // Should this file break the reader, the page knows which it was.
                    post(&Event::Opening { batch, file: place }, Transfer::Nothing);
                    let head = head(&file);
                    let file = BrowserFile::<K>::new(file);
                    match K::findings_kind(&head) {
                        None => opening.add(name, file),
                        Some(kind) => sources.push(FindingsSource { name, kind, file }),
                    }
                }
                post(&Event::Opening { batch, file: count }, Transfer::Nothing);
                let opened = OpenBatch { batch, study: opening.finish() };
                let (session, refused) = first_findings(sources, &opened);
                let mut contents = opened.contents();
                contents.refused.extend(refused);
                post(&Event::Opened { batch, contents, session }, Transfer::Nothing);
                *self.opened.borrow_mut() = opened;
            }
            Request::Reslice { batch, slice, at, window } => {
                if !K::TAKES_ALL {
                    // Pictures have no place in a patient.
                    return post(&Event::NeedsAllFormats { batch }, Transfer::Nothing);
                }
                self.reslice(batch, slice, at, window);
            }
            Request::EndReslicing => *self.volume.borrow_mut() = None,
            Request::Show { batch, slice, window } => self.show(batch, slice, window),
            Request::Prepare { batch, slice } => self.prepare(batch, slice),
            Request::Identify { batch, slice } => {
                let identifying = |place: &SeriesSlice<_>| Ok(place.dicom_source()?.identifying);
                let answer = match self.list(batch, slice, identifying) {
                    Ok(elements) => Event::Identified { batch, slice, elements },
                    Err(error) => Event::NotListed { batch, slice, message: error.to_string() },
                };
                post(&answer, Transfer::Nothing);
            }
            Request::ListHeader { batch, slice } => {
                let answer = match self.list(batch, slice, SeriesSlice::header_elements) {
                    Ok(elements) => Event::Header { batch, slice, elements },
                    Err(error) => Event::NotListed { batch, slice, message: error.to_string() },
                };
                post(&answer, Transfer::Nothing);
            }
            Request::OpenSession { batch, name } => {
                let Some(file) = files.into_iter().next() else { return };
                let head = head(&file);
                let refused = |message: String| {
                    let message = format!("{name}: {message}");
                    Event::SessionRefused { batch, message }
                };
                let answer = match K::findings_kind(&head) {
                    Some(kind) => {
                        let opened = self.opened.borrow();
                        let known = opened.known(opened.contents().keys());
                        match K::findings(kind, &BrowserFile::<K>::new(file), &known) {
                            Ok(found) => Event::SessionOpened { batch, session: Box::new(found) },
                            Err(error) => refused(error.to_string()),
                        }
                    }
                    None if K::TAKES_ALL => refused("this file holds no findings".into()),
                    None => Event::NeedsAllFormats { batch },
                };
                post(&answer, Transfer::Nothing);
            }
            Request::SaveSession { batch, session, name } => match K::session_file(&session) {
                None => post(&Event::NeedsAllFormats { batch }, Transfer::Nothing),
                Some(Ok(bytes)) => {
                    let name = session_file::file_name(&name);
                    let media_type = session_file::MEDIA_TYPE.into();
                    post(&Event::Exported { name, media_type }, Transfer::Bytes(&bytes));
                }
                Some(Err(error)) => {
                    let message = error.to_string();
                    post(&Event::NotExported { message }, Transfer::Nothing);
                }
            },
            Request::Export { batch, format, report, slices, name, identity, card, window } => {
                let opened = self.opened.borrow();
                let places: Option<Vec<_>> =
                    slices.iter().map(|number| opened.slice_of(batch, *number)).collect();
                let places = places.unwrap_or_default();
                let options = Options { identity, card: card.as_deref() };
                match export::write(format, &report, (&places, window), options) {
                    Ok(bytes) => {
                        let name = format.file_name(&name);
                        let media_type = format.media_type().into();
                        post(&Event::Exported { name, media_type }, Transfer::Bytes(&bytes));
                    }
                    Err(error) => {
                        let message = error.to_string();
                        post(&Event::NotExported { message }, Transfer::Nothing);
                    }
                }
            }
        }
    }

    /// Elements of the file of a slice; `None` for files other than DICOM.
    fn list<T>(
        &self,
        batch: u32,
        slice: usize,
        elements: impl Fn(&SeriesSlice<BrowserFile<K>>) -> Result<T, ImageError>,
    ) -> Result<Option<T>, ListError> {
        let opened = self.opened.borrow();
        let place = opened.slice_of(batch, slice).ok_or(ListError::NoSlice)?;
        match elements(place) {
            Ok(elements) => Ok(Some(elements)),
            Err(ImageError::NotDicom) => Ok(None),
            Err(error) => Err(ListError::File { name: place.name.clone(), error }),
        }
    }

    fn prepare(&self, batch: u32, slice: usize) {
        let opened = self.opened.borrow();
        let Some(place) = opened.slice_of(batch, slice) else {
            let message = NO_SLICE.into();
            return post(&Event::NotPrepared { batch, slice, message }, Transfer::Nothing);
        };
        match place.read() {
            Ok(raw) => {
                let mut prepared = raw.windowed(&place.name, None);
                let pixels = std::mem::take(&mut prepared.pixels);
                post(&Event::Prepared { batch, slice, prepared }, Transfer::Bytes(&pixels));
            }
            Err(error) => {
                let message = error.to_string();
                post(&Event::NotPrepared { batch, slice, message }, Transfer::Nothing);
            }
        }
    }

    fn show(&self, batch: u32, slice: usize, window: Option<Window>) {
        let opened = self.opened.borrow();
        let Some(place) = opened.slice_of(batch, slice) else {
            let message = NO_SLICE.into();
            return post(&Event::NotShown { batch, slice, message }, Transfer::Nothing);
        };
        match self.read_to_show((batch, slice), place) {
            Ok(raw) => {
                let chosen = window;
                let window = window.or_else(|| raw.default_window());
                let shown = ShownSlice {
                    width: raw.width,
                    height: raw.height,
                    window,
                    file_window: raw.window,
                    spacing_mm: raw.spacing_mm,
                    says_hounsfield: raw.says_hounsfield,
                    plane: place.header.plane,
                };
                let values = value_bytes(&raw.values);
                let mut bytes = raw.windowed(&place.name, window).pixels;
                bytes.extend(values);
                post(&Event::Shown { batch, slice, chosen, shown }, Transfer::Bytes(&bytes));
            }
            Err(error) => {
                let message = error.to_string();
                post(&Event::NotShown { batch, slice, message }, Transfer::Nothing);
            }
        }
    }

    /// Cuts the series of a slice. Others may ask between two parts of a long one.
    fn reslice(&self, batch: u32, slice: usize, at: (usize, usize), window: Option<Window>) {
        let opened = self.opened.borrow();
        let Some((first, series)) = opened.series_of(batch, slice) else {
            let (first, message) = (slice, NO_SLICE.into());
            return post(&Event::NotResliced { batch, first, message }, Transfer::Nothing);
        };
        let mut kept = self.volume.borrow_mut();
        // One of another series makes room first.
        *kept = kept.take().filter(|(known, _)| *known == first);
        let volume = match kept.take() {
            Some((_, volume)) => Ok(volume),
            None => Volume::of(series),
        };
        match volume.and_then(|volume| read_on(volume, series)) {
            Ok((volume, read)) => {
                // The window of the slice that is looked at, not of the first.
                let last_shown = self.last_shown.borrow();
                let shown = last_shown.as_ref().filter(|(key, _)| *key == (batch, slice));
                let window = window.or_else(|| shown.and_then(|(_, raw)| raw.default_window()));
                let sections = volume.sections(at);
                let bytes = sections.cuts().map(|cut| volume.picture(cut, window)).concat();
                let event = Event::Resliced { batch, first, read, sections };
                post(&event, Transfer::Bytes(&bytes));
                *kept = Some((first, volume));
            }
            Err(error) => {
                let message = error.to_string();
                post(&Event::NotResliced { batch, first, message }, Transfer::Nothing);
            }
        }
    }

    /// Decodes a slice, unless it is the last one shown: windows change many times a second.
    fn read_to_show(
        &self,
        key: (u32, usize),
        place: &SeriesSlice<BrowserFile<K>>,
    ) -> Result<RawSlice, ImageError> {
        if let Some((_, raw)) = self.last_shown.borrow().as_ref().filter(|(k, _)| *k == key) {
            return Ok(raw.clone());
        }
        let raw = place.read()?;
        *self.last_shown.borrow_mut() = Some((key, raw.clone()));
        Ok(raw)
    }
}
