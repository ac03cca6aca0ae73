//! What the session asks of the reader: files, pictures, slices for the network, exports.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use web_sys::File;

use crate::image::Window;
use crate::web::environment;
use crate::web::options::Reader;
use crate::web::pictures::Pictures;
use crate::web::protocol::Beside;
use crate::web::protocol::reader::{Contents, Event, Request};
use crate::web::session::Session;
use crate::web::session::program::Program;
use crate::web::session::silence::Silence;
use crate::web::state::{Action, Picture};
use crate::web::texts::text;

/// Readers that files, or a slice, may break before they are given up.
const MOST_FAILURES: u32 = 2;
/// A reader that says nothing for so long while it owes an answer is taken for dead.
const SILENCE_MS: u32 = 30_000;
/// The same while it writes a file, which may hold hundreds of slices.
const EXPORT_MS: u32 = 300_000;
/// The same once its answer is not wanted any more.
const CANCEL_PATIENCE_MS: u32 = 3000;
/// Files over this size are refused, in bytes.
const LARGEST_BYTES: f64 = 1e9;
/// Added for each megabyte of a file that is opened.
const MEGABYTE_MS: f64 = 1000.0;

/// Files that the visitor opened; kept, so that another reader can take over.
struct Batch {
    number: u32,
    names: Vec<String>,
    files: Vec<File>,
    /// Files that broke a reader, by place, and why.
    refused: Vec<(usize, String)>,
    /// What is in them, once the reader has said so.
    contents: Option<Rc<Contents>>,
    /// Another reader found something else in them: they changed on the disk.
    is_stale: bool,
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
    /// The file that it is about to open.
    opening: Cell<Option<usize>>,
    /// Runs out if it says nothing while it owes an answer.
    silence: RefCell<Option<Silence>>,
    /// The slice to look at, and its window.
    shown: Cell<(usize, Option<Window>)>,
    pictures: Pictures,
    /// Whether a slice was asked for and has not come, and whether another is wanted since: windows and
    /// slices change faster than they are decoded.
    awaiting: Cell<Option<bool>>,
    /// Files that it is asked to write.
    exporting: Cell<u32>,
    /// Whether what it owes is not wanted any more, so that it has little time left for it.
    is_cancelled: Cell<bool>,
    /// Readers in a row that did not even start.
    unstarted: Cell<u32>,
    /// Readers that broke while they opened the files.
    failures: Cell<u32>,
    /// Readers that broke while they were asked for a slice.
    failures_of: RefCell<BTreeMap<usize, u32>>,
    /// Readers that broke at a file that had been opened before, by its place.
    failures_at: RefCell<BTreeMap<usize, u32>>,
    /// Slices that it was asked for, in order, and has not answered.
    asked: RefCell<VecDeque<usize>>,
}

impl Session {
    pub(super) fn start_reader(&self) {
        let reading = &self.inner.reading;
        reading.has_started.set(false);
        reading.is_opened.set(false);
        reading.opening.set(None);
        reading.awaiting.set(None);
        if reading.exporting.replace(0) > 0 {
            let reason = text!("session.replaced");
            self.dispatch(Action::Failed(
                text!("session.not_written", reason = reason).to_string(),
            ));
        }
        reading.asked.borrow_mut().clear();
        reading.is_cancelled.set(false);
        *reading.silence.borrow_mut() = None;
        let (heard, failed) = (self.clone(), self.clone());
        let hear = move |event, bytes| heard.hear_reader(event, bytes);
        match Program::start(reading.reader.get().files(), hear, move |reason: &str| {
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
        let reading = &self.inner.reading;
        match request {
            Request::Export { .. } => reading.exporting.set(reading.exporting.get() + 1),
            Request::Show { slice, .. } | Request::Prepare { slice, .. } => {
                reading.asked.borrow_mut().push_back(*slice);
            }
            _ => {}
        }
        self.listen();
    }

    /// Takes the reader for dead if nothing is heard of it for as long as what it does may take.
    fn listen(&self) {
        let reading = &self.inner.reading;
        let size = |batch: &Batch| batch.files.get(reading.opening.get()?).map(|file| file.size());
        let size = reading.batch.borrow().as_ref().and_then(size).unwrap_or_default();
        let patience = match (reading.exporting.get(), reading.is_cancelled.get()) {
            (1.., _) => EXPORT_MS,
            (0, true) => CANCEL_PATIENCE_MS,
            // Larger files are refused unread.
            (0, false) => SILENCE_MS + (size.min(LARGEST_BYTES) / 1e6 * MEGABYTE_MS) as u32,
        };
        self.listen_for(patience);
    }

    /// Takes the reader for dead if nothing is heard of it for so long.
    fn listen_for(&self, milliseconds: u32) {
        let session = self.clone();
        let silence_over = Silence::new(milliseconds, move || {
            session.reader_failed(&text!("session.silent"));
        });
        *self.inner.reading.silence.borrow_mut() = Some(silence_over);
    }

    /// Whether the reader is at work: opening files, or decoding a slice that was asked for.
    fn owes(&self) -> bool {
        let reading = &self.inner.reading;
        let is_opening = reading.batch.borrow().as_ref().is_some_and(|batch| !batch.is_stale)
            && reading.has_started.get()
            && !reading.is_opened.get();
        is_opening
            || reading.awaiting.get().is_some()
            || reading.exporting.get() > 0
            || self.first_unprepared().is_some()
    }

    /// Whether the files changed while they were open.
    pub(super) fn is_stale(&self) -> bool {
        self.inner.reading.batch.borrow().as_ref().is_some_and(|batch| batch.is_stale)
    }

    /// Ends the opening of files, which cannot be asked to stop; a slice that is being decoded has a moment to
    /// come. Says whether files were being opened.
    pub(super) fn cancel_reading(&self, is_preparing: bool) -> bool {
        let reading = &self.inner.reading;
        let is_opening =
            reading.batch.borrow().as_ref().is_some_and(|batch| batch.contents.is_none());
        if is_opening {
            reading.batch.borrow_mut().take();
            if reading.has_started.get() {
                self.start_reader();
            }
        } else if is_preparing || reading.awaiting.get().is_some() {
            reading.is_cancelled.set(true);
            self.listen();
        }
        is_opening
    }

    /// Opens files instead of those that are open.
    pub(super) fn read_files(&self, files: Vec<(String, File)>) {
        let reading = &self.inner.reading;
        let (names, files): (Vec<String>, Vec<File>) = files.into_iter().unzip();
        // A reader at work on something that nobody wants any more is not waited for.
        // A file that it writes is waited for: its findings are there no more.
        let is_busy = reading.exporting.get() == 0 && (self.owes() || reading.is_cancelled.get());
        reading.opening.set(None);
        let number = self.number();
        let batch =
            Batch { number, names, files, refused: Vec::new(), contents: None, is_stale: false };
        *reading.batch.borrow_mut() = Some(batch);
        self.inner.work.forced.borrow_mut().clear();
        if is_busy || reading.program.borrow().is_none() {
            self.start_reader();
        }
        reading.is_opened.set(false);
        reading.shown.set((0, None));
        reading.pictures.clear();
        reading.awaiting.set(None);
        reading.failures.set(0);
        reading.failures_of.borrow_mut().clear();
        reading.failures_at.borrow_mut().clear();
        self.send_files();
    }

    /// Sends the files to a reader that does not have them.
    fn send_files(&self) {
        let reading = &self.inner.reading;
        if !reading.has_started.get() || reading.is_opened.get() || self.is_stale() {
            return;
        }
        let (batch, program) = (reading.batch.borrow(), reading.program.borrow());
        if let (Some(batch), Some(program)) = (batch.as_ref(), program.as_ref()) {
            let request = Request::Open {
                batch: batch.number,
                names: batch.names.clone(),
                refused: batch.refused.clone(),
            };
            program.send(&request, Beside::Files(&batch.files));
        }
        self.listen();
    }

    /// Whether slices can be asked for.
    pub(super) fn has_opened(&self) -> bool {
        self.inner.reading.is_opened.get()
    }

    pub(super) fn batch_number(&self) -> Option<u32> {
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

    /// Whether a reader is there and listens.
    pub(super) fn has_reader(&self) -> bool {
        self.inner.reading.program.borrow().is_some() && self.inner.reading.has_started.get()
    }

    /// Another try after its program could not be had.
    pub(super) fn start_reader_if_there_is_none(&self) {
        if self.inner.reading.program.borrow().is_none() {
            self.start_reader();
        }
    }

    fn ask_for_shown(&self) {
        let (slice, window) = self.inner.reading.shown.get();
        self.start_reader_if_there_is_none();
        if self.is_unreadable(slice) {
            let message = format!("{}: {}", self.slice_name(slice), text!("session.breaks"));
            return self.dispatch(Action::Failed(message));
        }
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
        if let Some(batch) = self.batch_number().filter(|_| self.has_opened()) {
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
            Some(batch) if batch.number == number => match &batch.contents {
                Some(known) if known.series != contents.series => {
                    batch.is_stale = true;
                    false
                }
                known => {
                    let is_first = known.is_none();
                    batch.contents = Some(contents.clone());
                    is_first
                }
            },
            _ => return,
        };
        if self.is_stale() {
            // Slices are known by number: with other files behind the numbers, none may be shown or saved.
            self.inner.work.forget_queue();
            let message = match self.broken_files() {
                Some(files) => text!("session.no_longer_opened", files = files).to_string(),
                None => text!("session.changed").to_string(),
            };
            return self.dispatch(Action::Refused(message));
        }
        reading.is_opened.set(true);
        reading.failures.set(0);
        if !is_first {
            // Another reader took over: it may not have shown the slice yet, and what waited goes on.
            self.dispatch(Action::Settled);
            let (slice, window) = reading.shown.get();
            if !self.is_unreadable(slice) && slice < contents.slices() {
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

    /// Names of the files that broke a reader, with the reasons.
    fn broken_files(&self) -> Option<String> {
        let batch = self.inner.reading.batch.borrow();
        let batch = batch.as_ref()?;
        let known = batch.contents.as_ref().map(|contents| contents.refused.as_slice());
        let named = batch.refused.iter().filter_map(|(file, reason)| {
            let name = batch.names.get(*file)?;
            // Those that were refused at once are no news.
            let is_known = known.unwrap_or_default().iter().any(|error| error.source == *name);
            (!is_known).then(|| format!("{name} ({reason})"))
        });
        let named: Vec<String> = named.collect();
        (!named.is_empty()).then(|| named.join(", "))
    }

    fn hear_reader(&self, event: Event, buffer: Vec<u8>) {
        if let Event::Shown { slice, .. }
        | Event::NotShown { slice, .. }
        | Event::Prepared { slice, .. }
        | Event::NotPrepared { slice, .. } = &event
        {
            let reading = &self.inner.reading;
            let mut asked = reading.asked.borrow_mut();
            if let Some(place) = asked.iter().position(|known| known == slice) {
                asked.remove(place);
            }
            // What was cancelled has come: what follows has all its time.
            reading.is_cancelled.set(false);
        }
        self.take_in(event, buffer);
        if self.owes() {
            return self.listen();
        }
        // What was not wanted any more has come all the same.
        self.inner.reading.is_cancelled.set(false);
        *self.inner.reading.silence.borrow_mut() = None;
    }

    fn take_in(&self, event: Event, buffer: Vec<u8>) {
        let reading = &self.inner.reading;
        match event {
            Event::Started => {
                if let Some(program) = reading.program.borrow_mut().as_mut() {
                    program.has_started();
                }
                reading.has_started.set(true);
                reading.unstarted.set(0);
                self.send_files();
            }
            Event::NeedsAllFormats { batch } => {
                if self.batch_number() == Some(batch) {
                    reading.reader.set(Reader::AllFormats);
                    self.start_reader();
                }
            }
            Event::Busy => {}
            Event::Opening { batch, file } => {
                let count = reading.batch.borrow().as_ref().map_or(0, |batch| batch.files.len());
                if self.batch_number() == Some(batch) {
                    // Once all are open, none of them is to blame for what follows.
                    reading.opening.set(Some(file).filter(|file| *file < count));
                    self.dispatch(Action::Opening { file, files: count });
                }
            }
            Event::Opened { batch, contents } => {
                reading.opening.set(None);
                self.opened(batch, contents);
            }
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
            Event::Identified { batch, slice, elements } => {
                if self.batch_number() == Some(batch) {
                    self.dispatch(Action::Identified { slice, elements });
                }
            }
            Event::NotIdentified { message } => self.dispatch(Action::Failed(message)),
            Event::Exported { name, media_type } => {
                reading.exporting.set(reading.exporting.get().saturating_sub(1));
                if let Err(error) = environment::save(&name, &media_type, &buffer) {
                    let message = environment::describe(&error);
                    self.dispatch(Action::Failed(
                        text!("session.not_saved", name = name, reason = message).to_string(),
                    ));
                }
            }
            Event::NotExported { message } => {
                reading.exporting.set(reading.exporting.get().saturating_sub(1));
                self.dispatch(Action::Failed(message));
            }
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
        if !reading.has_started.get() {
            reading.unstarted.set(reading.unstarted.get() + 1);
            if reading.unstarted.get() >= MOST_FAILURES {
                // Its program cannot be had: tried again when files are opened.
                reading.unstarted.set(0);
                // The smaller one may be there, and is enough for pictures.
                reading.reader.set(Reader::default());
                let message = text!("session.reader_not_started", reason = reason).to_string();
                return self.dispatch(Action::Refused(message));
            }
            return self.start_reader();
        }
        let was_exporting = reading.exporting.replace(0) > 0;
        if was_exporting {
            self.dispatch(Action::Failed(
                text!("session.not_written", reason = reason).to_string(),
            ));
        }
        let unreadable = || text!("session.unreadable", reason = reason).to_string();
        if reading.is_opened.get() {
            // It answers in order, so it was at the first that has no answer, unless it wrote a file.
            let blamed = reading.asked.borrow().front().copied();
            if let Some(slice) = blamed.filter(|_| !reading.is_cancelled.get() && !was_exporting) {
                *reading.failures_of.borrow_mut().entry(slice).or_default() += 1;
            }
        } else if let (Some(file), Some(batch)) =
            (reading.opening.take(), reading.batch.borrow_mut().as_mut())
        {
            // It was at this file: refused by name, it costs the others nothing. One that had been opened before
            // has another chance: refusing it takes away what is open.
            let mut failures_at = reading.failures_at.borrow_mut();
            let failures = failures_at.entry(file).or_default();
            *failures += 1;
            if batch.contents.is_none() || *failures >= MOST_FAILURES {
                batch.refused.push((file, reason.to_owned()));
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
            reading.failures.set(0);
            let batch = reading.batch.borrow_mut().take();
            self.cancel();
            match batch {
                // What was computed stays, and can be saved where no file is needed.
                Some(batch) if batch.contents.is_some() => {
                    *reading.batch.borrow_mut() = Some(Batch { is_stale: true, ..batch });
                }
                _ => self.dispatch(Action::Submitted { files: 0 }),
            }
            self.dispatch(Action::Refused(unreadable()));
        }
        self.start_reader();
    }

    /// Whether a slice has broken too many readers.
    pub(super) fn is_unreadable(&self, slice: usize) -> bool {
        let failures_of = self.inner.reading.failures_of.borrow();
        failures_of.get(&slice).is_some_and(|failures| *failures >= MOST_FAILURES)
    }
}
