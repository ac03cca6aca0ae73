//! What is asked of the reader: files, pictures, slices for the network, exports.

mod answers;
mod sections;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use self::sections::Reslicing;
use crate::export::session_file::SessionFile;
use crate::image::Window;
use crate::image::decode::limits::MAX_FILE;
use crate::web::image_cache::ImageCache;
use crate::web::messages::reader::{OpenedStudy, Request};
use crate::web::options::Reader;
use crate::web::scheduler::{Command, Scheduler, Timer};
use crate::web::state::Action;
use crate::web::texts::text;

/// Readers that files, or a slice, may break before they are skipped.
const MOST_FAILURES: u32 = 2;
/// A reader that says nothing for so long while it owes an answer is considered unresponsive.
const SILENCE_MS: u32 = 30_000;
/// The same while it writes a file, which may hold hundreds of slices.
const EXPORT_MS: u32 = 300_000;
/// The same once its answer is not wanted any more.
const CANCEL_TIMEOUT_MS: u32 = 3000;
/// Added for each megabyte of a file that is opened.
const MEGABYTE_MS: f64 = 1000.0;

/// Files that the user opened; kept, so that another reader can take over.
#[derive(Debug)]
struct Batch {
    number: u32,
    names: Vec<String>,
    /// In bytes.
    sizes: Vec<f64>,
    /// Files that broke a reader, by place, and why.
    refused: Vec<(usize, String)>,
    /// What is in them, once the reader has said so.
    contents: Option<Rc<OpenedStudy>>,
    /// Another reader found something else in them: they changed on the disk.
    is_stale: bool,
}

/// Whether the picture of the shown slice is asked for. Windows and slices change faster than they are decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Awaited {
    /// No picture is.
    #[default]
    Nothing,
    /// It is.
    Shown,
    /// Another was, which is not wanted any more.
    Outdated,
}

/// A question whose answer may break the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// For a slice, to be shown or predicted.
    Slice(usize),
    /// For planes across a series.
    Planes,
}

/// The reader and what it was asked for.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Whether its program was started, and has not broken since.
    is_there: bool,
    /// Which reader it is: that of every format once one was needed.
    reader: Reader,
    has_started: bool,
    batch: Option<Batch>,
    /// Whether the present reader has opened the batch.
    is_opened: bool,
    /// The file that it is about to open.
    opening: Option<usize>,
    /// The slice to look at, and its window.
    shown: (usize, Option<Window>),
    images: ImageCache,
    awaited: Awaited,
    /// The planes across the series that are looked at.
    reslicing: Reslicing,
    /// Name of the session file that it is to read.
    pub(super) session: Option<String>,
    /// The session file that it is to write, and what to call it after.
    pub(super) saving: Option<(Box<SessionFile>, String)>,
    /// Files that it is asked to write.
    exporting: u32,
    /// Whether what it owes is not wanted any more, so that it has little time left for it.
    is_cancelled: bool,
    /// Readers in a row that did not even start.
    unstarted: u32,
    /// Readers that broke while they opened the files.
    failures: u32,
    /// Readers that broke while they were asked for a slice.
    failures_of: BTreeMap<usize, u32>,
    /// Readers that broke at a file that had been opened before, by its place.
    failures_at: BTreeMap<usize, u32>,
    /// What it was asked for, in order, and has not answered.
    asked: VecDeque<Asked>,
    /// Batch and slice whose lists of elements were asked for.
    listed: Option<(u32, usize)>,
}

impl Scheduler {
    pub(super) fn start_reader(&mut self) {
        let reading = &mut self.reading;
        reading.has_started = false;
        reading.is_opened = false;
        reading.opening = None;
        reading.awaited = Awaited::Nothing;
        reading.reslicing.restart();
        reading.asked.clear();
        reading.is_cancelled = false;
        reading.is_there = true;
        reading.listed = None;
        let reader = reading.reader;
        if std::mem::take(&mut reading.exporting) > 0 {
            let reason = text!("session.replaced");
            self.not_written(&reason);
        }
        self.commands.push(Command::ClearTimer(Timer::Reader));
        self.commands.push(Command::StartReader(reader));
    }

    /// The program of the reader could not be started.
    pub fn reader_not_started(&mut self, reason: &str) {
        self.reading.is_there = false;
        let message = text!("session.reader_not_started", reason = reason).to_string();
        self.dispatch(Action::Broken(message));
    }

    fn not_written(&mut self, reason: &str) {
        let message = text!("session.not_written", reason = reason).to_string();
        self.dispatch(Action::Failed(message));
    }

    pub(super) fn ask_reader(&mut self, request: Request) {
        match &request {
            Request::Export { .. } | Request::SaveSession { .. } => self.reading.exporting += 1,
            Request::Show { slice, .. } | Request::Prepare { slice, .. } => {
                self.reading.asked.push_back(Asked::Slice(*slice));
            }
            Request::Reslice { .. } => self.reading.asked.push_back(Asked::Planes),
            _ => {}
        }
        self.commands.push(Command::AskReader(Box::new(request)));
        self.wait_for_reader();
    }

    /// Treats the reader as crashed if it does not answer within the time that its task may take.
    pub(super) fn wait_for_reader(&mut self) {
        let reading = &self.reading;
        let size = |batch: &Batch| batch.sizes.get(reading.opening?).copied();
        let size = reading.batch.as_ref().and_then(size).unwrap_or_default();
        let timeout = match (reading.exporting, reading.is_cancelled) {
            (1.., _) => EXPORT_MS,
            (0, true) => CANCEL_TIMEOUT_MS,
            // Larger files are refused unread.
            (0, false) => SILENCE_MS + (size.min(MAX_FILE as f64) / 1e6 * MEGABYTE_MS) as u32,
        };
        self.commands.push(Command::SetTimer(Timer::Reader, timeout));
    }

    /// Whether the reader is at work: opening files, or decoding a slice that was asked for.
    fn owes(&self) -> bool {
        let reading = &self.reading;
        let is_opening = reading.batch.as_ref().is_some_and(|batch| !batch.is_stale)
            && reading.has_started
            && !reading.is_opened;
        is_opening
            || reading.awaited != Awaited::Nothing
            || reading.reslicing.awaited != Awaited::Nothing
            || reading.exporting > 0
            || (reading.session.is_some() && reading.is_opened)
            || !self.preparing.is_empty()
    }

    /// Whether the files changed while they were open.
    pub(super) fn is_stale(&self) -> bool {
        self.reading.batch.as_ref().is_some_and(|batch| batch.is_stale)
    }

    /// Ends the opening of files, which cannot be asked to stop; a slice that is being decoded has a moment to
    /// come. Says whether files were being opened.
    pub(super) fn cancel_reading(&mut self, is_preparing: bool) -> bool {
        let reading = &mut self.reading;
        let is_opening = reading.batch.as_ref().is_some_and(|batch| batch.contents.is_none());
        if is_opening {
            reading.batch = None;
            if reading.has_started {
                self.start_reader();
            }
        } else if is_preparing || reading.awaited != Awaited::Nothing {
            reading.is_cancelled = true;
            self.wait_for_reader();
        }
        is_opening
    }

    /// Opens files instead of those that are open.
    pub(super) fn read_files(&mut self, names: Vec<String>, sizes: Vec<f64>) -> u32 {
        // A reader at work on work no longer needed is not waited for.
        // A file that it writes is waited for: its findings are there no more.
        let is_busy = self.reading.exporting == 0 && (self.owes() || self.reading.is_cancelled);
        self.reading.opening = None;
        let number = self.number();
        let (refused, contents, is_stale) = (Vec::new(), None, false);
        self.reading.batch = Some(Batch { number, names, sizes, refused, contents, is_stale });
        self.forced.clear();
        self.saved = None;
        if is_busy || !self.reading.is_there {
            self.start_reader();
        }
        let reading = &mut self.reading;
        reading.is_opened = false;
        reading.session = None;
        reading.saving = None;
        reading.shown = (0, None);
        reading.images.clear();
        reading.awaited = Awaited::Nothing;
        reading.reslicing = Reslicing::default();
        reading.failures = 0;
        reading.failures_of.clear();
        reading.failures_at.clear();
        self.send_files();
        number
    }

    /// Sends the files to a reader that does not have them.
    fn send_files(&mut self) {
        let reading = &self.reading;
        if !reading.has_started || reading.is_opened || self.is_stale() {
            return;
        }
        if let Some(batch) = reading.batch.as_ref().filter(|_| reading.is_there) {
            let request = Box::new(Request::Open {
                batch: batch.number,
                names: batch.names.clone(),
                refused: batch.refused.clone(),
            });
            let batch = batch.number;
            self.commands.push(Command::SendFiles { batch, request });
        }
        self.wait_for_reader();
    }

    /// Whether slices can be asked for.
    pub(super) fn has_opened(&self) -> bool {
        self.reading.is_opened
    }

    /// What is in the open files.
    pub(super) fn contents(&self) -> Option<Rc<OpenedStudy>> {
        self.reading.batch.as_ref()?.contents.clone()
    }

    pub(super) fn batch_number(&self) -> Option<u32> {
        self.reading.batch.as_ref().map(|batch| batch.number)
    }

    /// Asks for the picture of a slice, unless it is kept.
    pub(super) fn ask_for_picture(&mut self, slice: usize, window: Option<Window>) {
        let reading = &mut self.reading;
        reading.shown = (slice, window);
        if let Some(picture) = reading.images.get((slice, window)) {
            return self.dispatch(Action::Shown(picture));
        }
        match reading.awaited {
            Awaited::Nothing => self.ask_for_shown(),
            _ => reading.awaited = Awaited::Outdated,
        }
    }

    /// Whether a reader is there and listens.
    pub(super) fn has_reader(&self) -> bool {
        self.reading.is_there && self.reading.has_started
    }

    /// Another try after its program could not be started.
    pub(super) fn start_reader_if_there_is_none(&mut self) {
        if !self.reading.is_there {
            self.start_reader();
        }
    }

    fn ask_for_shown(&mut self) {
        let (slice, window) = self.reading.shown;
        self.start_reader_if_there_is_none();
        if self.is_unreadable(slice) {
            let message = format!("{}: {}", self.slice_name(slice), text!("session.breaks"));
            return self.dispatch(Action::Failed(message));
        }
        // A reader that is still opening is asked once it has.
        if let Some(batch) = self.batch_number().filter(|_| self.has_opened()) {
            self.reading.awaited = Awaited::Shown;
            self.ask_reader(Request::Show { batch, slice, window });
        }
    }

    /// What was asked for has come; if something else is wanted since, that is asked for.
    fn has_come(&mut self) {
        if std::mem::take(&mut self.reading.awaited) == Awaited::Outdated {
            self.ask_for_shown();
        }
    }

    /// Asks for a slice as the network sees it.
    pub(super) fn ask_for_slice(&mut self, slice: usize) {
        if let Some(batch) = self.batch_number() {
            self.ask_reader(Request::Prepare { batch, slice });
        }
    }

    /// Asks what the shown file holds that identifies people.
    pub(super) fn identify(&mut self) {
        self.ask_of_shown_file(|batch, slice| Request::Identify { batch, slice });
    }

    /// Asks for the header of the shown file.
    pub(super) fn list_header(&mut self) {
        self.ask_of_shown_file(|batch, slice| Request::ListHeader { batch, slice });
    }

    /// Asks for the lists that are open, if the picture of the shown slice is there: what is scrolled past is not asked
    /// for, and where one stays, the lists follow its picture.
    pub(super) fn list_elements_of_kept(&mut self) {
        if self.reading.images.get(self.reading.shown).is_some() {
            self.list_elements();
        }
    }

    /// Asks for the lists that are open, unless they were asked for of the shown slice.
    fn list_elements(&mut self) {
        let shown = self.batch_number().map(|batch| (batch, self.reading.shown.0));
        if self.reading.listed == shown {
            return;
        }
        self.reading.listed = shown;
        if self.lists_identity {
            self.identify();
        }
        if self.lists_header {
            self.list_header();
        }
    }

    fn ask_of_shown_file(&mut self, request: impl Fn(u32, usize) -> Request) {
        if let Some(batch) = self.batch_number().filter(|_| self.has_opened()) {
            self.ask_reader(request(batch, self.reading.shown.0));
        }
    }

    /// Name of a slice of the open files.
    fn name_if_open(&self, number: u32, slice: usize) -> Option<String> {
        let batch = self.reading.batch.as_ref().filter(|batch| batch.number == number)?;
        let contents = batch.contents.as_ref()?;
        (slice < contents.slices()).then(|| contents.name(slice).to_owned())
    }

    /// Name of a slice, for messages.
    pub(super) fn slice_name(&self, slice: usize) -> String {
        self.batch_number().and_then(|number| self.name_if_open(number, slice)).unwrap_or_default()
    }

    /// Whether a slice has broken too many readers.
    pub(super) fn is_unreadable(&self, slice: usize) -> bool {
        let failures = self.reading.failures_of.get(&slice);
        failures.is_some_and(|failures| *failures >= MOST_FAILURES)
    }
}
