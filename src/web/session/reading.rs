//! What the session asks of the reader: files, pictures, slices for the network, exports.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use web_sys::File;

use super::Session;
use super::program::Program;
use crate::image::Window;
use crate::web::environment;
use crate::web::options::Reader;
use crate::web::pictures::Pictures;
use crate::web::protocol::Beside;
use crate::web::protocol::reader::{Contents, Event, Request};
use crate::web::state::{Action, Picture};
use crate::web::texts::text;

/// Readers that files, or a slice, may break before they are given up.
const MOST_FAILURES: u32 = 2;

/// Files that the visitor opened; kept, so that another reader can take over.
struct Batch {
    number: u32,
    names: Vec<String>,
    files: Vec<File>,
    /// What is in them, once the reader has said so.
    contents: Option<Rc<Contents>>,
}

/// The reader and what it was asked for.
#[derive(Default)]
pub struct Reading {
    program: RefCell<Option<Program>>,
    /// Which reader it is: that of every format once one was needed.
    reader: Cell<Reader>,
    has_started: Cell<bool>,
    batch: RefCell<Option<Batch>>,
    /// Whether the present reader has opened the batch.
    is_opened: Cell<bool>,
    /// The slice to look at, and its window.
    shown: Cell<(usize, Option<Window>)>,
    pictures: Pictures,
    /// Whether a slice was asked for and has not come, and whether another is wanted since: windows and
    /// slices change faster than they are decoded.
    awaiting: Cell<Option<bool>>,
    /// Readers that broke while they opened the files.
    failures: Cell<u32>,
    /// Readers that broke while they were asked for a slice.
    failures_of: RefCell<BTreeMap<usize, u32>>,
}

impl Session {
    pub(super) fn start_reader(&self) {
        let reading = &self.inner.reading;
        reading.has_started.set(false);
        reading.is_opened.set(false);
        reading.awaiting.set(None);
        let (heard, failed) = (self.clone(), self.clone());
        let hear = move |event, bytes| heard.hear_reader(event, bytes);
        match Program::start(reading.reader.get().files()[0], hear, move |reason: &str| {
            failed.reader_failed(reason)
        }) {
            Ok(program) => *reading.program.borrow_mut() = Some(program),
            Err(reason) => {
                let message = text!("session.reader_not_started", reason = reason).to_string();
                self.dispatch(Action::Broken(message));
            }
        }
    }

    pub(super) fn ask_reader(&self, request: &Request) {
        if let Some(program) = self.inner.reading.program.borrow().as_ref() {
            program.send(request, Beside::Nothing);
        }
    }

    /// Opens files instead of those that are open.
    pub(super) fn read_files(&self, files: Vec<(String, File)>) {
        let reading = &self.inner.reading;
        let (names, files): (Vec<String>, Vec<File>) = files.into_iter().unzip();
        let batch = Batch { number: self.number(), names, files, contents: None };
        *reading.batch.borrow_mut() = Some(batch);
        reading.is_opened.set(false);
        reading.shown.set((0, None));
        reading.pictures.clear();
        reading.awaiting.set(None);
        reading.failures.set(0);
        reading.failures_of.borrow_mut().clear();
        self.send_files();
    }

    /// Sends the files to a reader that does not have them.
    fn send_files(&self) {
        let reading = &self.inner.reading;
        if !reading.has_started.get() || reading.is_opened.get() {
            return;
        }
        let (batch, program) = (reading.batch.borrow(), reading.program.borrow());
        if let (Some(batch), Some(program)) = (batch.as_ref(), program.as_ref()) {
            let request = Request::Open { batch: batch.number, names: batch.names.clone() };
            program.send(&request, Beside::Files(&batch.files));
        }
    }

    /// Whether slices can be asked for.
    pub(super) fn has_opened(&self) -> bool {
        self.inner.reading.is_opened.get()
    }

    fn batch_number(&self) -> Option<u32> {
        self.inner.reading.batch.borrow().as_ref().map(|batch| batch.number)
    }

    /// Asks for the picture of a slice, unless it is kept.
    pub(super) fn ask_for_picture(&self, slice: usize, window: Option<Window>) {
        let reading = &self.inner.reading;
        reading.shown.set((slice, window));
        if let Some(picture) = reading.pictures.get((slice, window)) {
            return self.dispatch(Action::Shown(picture));
        }
        match reading.awaiting.get() {
            Some(_) => reading.awaiting.set(Some(true)),
            None => self.ask_for_shown(),
        }
    }

    fn ask_for_shown(&self) {
        let (slice, window) = self.inner.reading.shown.get();
        // A reader that is still opening is asked once it has.
        if let Some(batch) = self.batch_number().filter(|_| self.has_opened()) {
            self.inner.reading.awaiting.set(Some(false));
            self.ask_reader(&Request::Show { batch, slice, window });
        }
    }

    /// What was asked for has come; if something else is wanted since, that is asked for.
    fn has_come(&self) {
        if self.inner.reading.awaiting.replace(None) == Some(true) {
            self.ask_for_shown();
        }
    }

    /// Asks for a slice as the network sees it.
    pub(super) fn ask_for_slice(&self, slice: usize) {
        if let Some(batch) = self.batch_number() {
            self.ask_reader(&Request::Prepare { batch, slice });
        }
    }

    /// Asks what the shown file holds that identifies people.
    pub fn identify(&self) {
        if let Some(batch) = self.batch_number() {
            let slice = self.inner.reading.shown.get().0;
            self.ask_reader(&Request::Identify { batch, slice });
        }
    }

    /// Name of a slice of the open files.
    pub(super) fn name_if_open(&self, number: u32, slice: usize) -> Option<String> {
        let batch = self.inner.reading.batch.borrow();
        let batch = batch.as_ref().filter(|batch| batch.number == number)?;
        let contents = batch.contents.as_ref()?;
        (slice < contents.slices()).then(|| contents.name(slice).to_owned())
    }

    /// Name of a slice, for messages.
    pub(super) fn slice_name(&self, slice: usize) -> String {
        self.batch_number().and_then(|number| self.name_if_open(number, slice)).unwrap_or_default()
    }

    fn opened(&self, number: u32, contents: Contents) {
        let reading = &self.inner.reading;
        let contents = Rc::new(contents);
        let is_first = match reading.batch.borrow_mut().as_mut() {
            Some(batch) if batch.number == number => {
                batch.contents.replace(contents.clone()).is_none()
            }
            _ => return,
        };
        reading.is_opened.set(true);
        reading.failures.set(0);
        if !is_first {
            // Another reader took over: it may not have shown the slice yet, and what waited goes on.
            let (slice, window) = reading.shown.get();
            if !self.is_unreadable(slice) {
                self.show(slice, window);
            }
            return self.go_on();
        }
        self.dispatch(Action::Opened(contents.clone()));
        if let Some(middle) = contents.middle() {
            self.show(middle, None);
            self.run([middle]);
        }
    }

    fn hear_reader(&self, event: Event, buffer: Vec<u8>) {
        let reading = &self.inner.reading;
        match event {
            Event::Started => {
                if let Some(program) = reading.program.borrow_mut().as_mut() {
                    program.has_started();
                }
                reading.has_started.set(true);
                self.send_files();
            }
            Event::NeedsAllFormats { batch } => {
                if self.batch_number() == Some(batch) {
                    reading.reader.set(Reader::AllFormats);
                    self.start_reader();
                }
            }
            Event::Opened { batch, contents } => self.opened(batch, contents),
            Event::Shown { batch, slice, width, height, chosen, window, given } => {
                if let Some(source) = self.name_if_open(batch, slice) {
                    let pixels = Rc::new(buffer);
                    let picture = Picture { source, slice, width, height, pixels, window, given };
                    // While one drags, each picture that comes is shown, but not over the wanted one.
                    if reading.pictures.get(reading.shown.get()).is_none() {
                        self.dispatch(Action::Shown(picture.clone()));
                    }
                    reading.pictures.keep((slice, chosen), picture);
                    self.has_come();
                }
            }
            Event::NotShown { batch, slice, message } => {
                self.has_come();
                if let Some(source) = self.name_if_open(batch, slice) {
                    self.dispatch(Action::Failed(format!("{source}: {message}")));
                }
            }
            Event::Prepared { batch, slice, prepared } => {
                if self.batch_number() == Some(batch) {
                    self.take_prepared(slice, prepared, buffer);
                }
            }
            Event::NotPrepared { batch, slice, message } => {
                if let Some(source) = self.name_if_open(batch, slice) {
                    self.give_up(slice, format!("{source}: {message}"));
                }
            }
            Event::Identified { batch, elements } => {
                if self.batch_number() == Some(batch) {
                    self.dispatch(Action::Identified(elements));
                }
            }
            Event::Exported { name, media_type } => {
                if let Err(error) = environment::save(&name, &media_type, &buffer) {
                    let message = environment::describe(&error);
                    self.dispatch(Action::Failed(
                        text!("session.not_saved", name = name, reason = message).to_string(),
                    ));
                }
            }
            Event::NotExported { message } => self.dispatch(Action::Failed(message)),
            Event::Failed { message } => self.reader_failed(&message),
        }
    }

    /// Another reader takes over. A slice that broke two of them is given up, files that cannot even be
    /// opened are closed; what was computed stays.
    fn reader_failed(&self, reason: &str) {
        let reading = &self.inner.reading;
        if reading.program.borrow_mut().take().is_none() {
            return;
        }
        let reason = reason.trim_end_matches('.');
        let unreadable = || text!("session.unreadable", reason = reason).to_string();
        if reading.is_opened.get() {
            let looked_at = reading.awaiting.get().map(|_| reading.shown.get().0);
            for slice in looked_at.into_iter().chain(self.first_unprepared()) {
                *reading.failures_of.borrow_mut().entry(slice).or_default() += 1;
            }
        } else {
            reading.failures.set(reading.failures.get() + 1);
        }
        self.take_back_unprepared(|slice| {
            let name = self.slice_name(slice);
            self.is_unreadable(slice).then(|| format!("{name}: {}", unreadable()))
        });
        if reading.failures.get() < MOST_FAILURES {
            self.dispatch(Action::Notice(
                text!("session.reader_restarted", reason = reason).to_string(),
            ));
        } else {
            self.cancel();
            reading.failures.set(0);
            let batch = reading.batch.borrow_mut().take();
            if batch.is_some_and(|batch| batch.contents.is_none()) {
                self.dispatch(Action::Submitted { files: 0 });
            }
            self.dispatch(Action::Refused(unreadable()));
        }
        self.start_reader();
    }

    /// Whether a slice has broken too many readers.
    fn is_unreadable(&self, slice: usize) -> bool {
        let failures_of = self.inner.reading.failures_of.borrow();
        failures_of.get(&slice).is_some_and(|failures| *failures >= MOST_FAILURES)
    }
}
