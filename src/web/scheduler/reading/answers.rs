//! What the reader says, and what happens when it breaks.

use std::rc::Rc;

use super::sections::Reslicing;
use super::{Asked, Batch, MOST_FAILURES};
use crate::export::session_file::{self, SessionFile};
use crate::web::messages::reader::{Event, OpenedStudy, split_values};
use crate::web::options::Reader;
use crate::web::scheduler::saved_session::SessionOpening;
use crate::web::scheduler::{Command, Scheduler, Timer};
use crate::web::state::{Action, NotListed, RenderedSlice};
use crate::web::texts::text;

impl Scheduler {
    fn opened(&mut self, number: u32, contents: OpenedStudy, session: Option<Box<SessionFile>>) {
        let reading = &mut self.reading;
        let contents = Rc::new(contents);
        let is_first = match reading.batch.as_mut() {
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
            self.forget_queue();
            self.reading.session = None;
            self.dispatch(Action::Reslice(None));
            self.reading.reslicing = Reslicing::default();
            let message = match self.broken_files() {
                Some(files) => text!("session.no_longer_opened", files = files).to_string(),
                None => text!("session.changed").to_string(),
            };
            return self.dispatch(Action::Refused(message));
        }
        self.reading.is_opened = true;
        self.reading.failures = 0;
        if !is_first {
            // Another reader took over: it may not have shown the slice yet, and what waited continues.
            self.dispatch(Action::Settled);
            let (slice, window) = self.reading.shown;
            if !self.is_unreadable(slice) && slice < contents.slices() {
                self.show(slice, window);
            }
            self.ask_for_session();
            self.ask_to_save();
            return self.schedule();
        }
        self.dispatch(Action::Opened(contents));
        match session {
            Some(session) => self.resume(session, SessionOpening::WithImages),
            None => self.begin(),
        }
    }

    /// Names of the files that broke a reader, with the reasons.
    fn broken_files(&self) -> Option<String> {
        let batch = self.reading.batch.as_ref()?;
        let known = batch.contents.as_ref().map(|contents| contents.refused.as_slice());
        let named = batch.refused.iter().filter_map(|(file, reason)| {
            let name = batch.names.get(*file)?;
            // Those that were refused at once were already reported.
            let is_known = known.unwrap_or_default().iter().any(|error| error.source == *name);
            (!is_known).then(|| format!("{name} ({reason})"))
        });
        let named: Vec<String> = named.collect();
        (!named.is_empty()).then(|| named.join(", "))
    }

    /// The reader says something, with bytes beside it.
    pub fn reader_event(&mut self, event: Event, bytes: Vec<u8>) {
        let answered = match &event {
            Event::Shown { slice, .. }
            | Event::NotShown { slice, .. }
            | Event::Prepared { slice, .. }
            | Event::NotPrepared { slice, .. } => Some(Asked::Slice(*slice)),
            Event::Resliced { .. } | Event::NotResliced { .. } => Some(Asked::Planes),
            _ => None,
        };
        if let Some(answered) = answered {
            let asked = &mut self.reading.asked;
            if let Some(place) = asked.iter().position(|known| *known == answered) {
                asked.remove(place);
            }
            // What was cancelled has come: what follows has all its time.
            self.reading.is_cancelled = false;
        }
        self.take_in(event, bytes);
        if self.owes() {
            return self.wait_for_reader();
        }
        // What was not wanted any more has come all the same.
        self.reading.is_cancelled = false;
        self.commands.push(Command::ClearTimer(Timer::Reader));
    }

    fn take_in(&mut self, event: Event, bytes: Vec<u8>) {
        match event {
            Event::Started => {
                self.commands.push(Command::ReaderStarted);
                self.reading.has_started = true;
                self.reading.unstarted = 0;
                self.send_files();
                if self.is_stale() {
                    self.ask_to_save();
                }
            }
            Event::NeedsAllFormats { batch } => {
                if self.batch_number() == Some(batch) {
                    self.reading.reader = Reader::AllFormats;
                    if self.reading.saving.is_some() {
                        // The next reader writes it.
                        self.reading.exporting = self.reading.exporting.saturating_sub(1);
                    }
                    self.start_reader();
                }
            }
            Event::Busy => {}
            Event::Opening { batch, file } => {
                let files = self.reading.batch.as_ref().map_or(0, |batch| batch.names.len());
                if self.batch_number() == Some(batch) {
                    // Once all are open, none of them is to blame for what follows.
                    self.reading.opening = Some(file).filter(|file| *file < files);
                    self.dispatch(Action::Opening { file, files });
                }
            }
            Event::Opened { batch, contents, session } => {
                self.reading.opening = None;
                self.opened(batch, contents, session);
            }
            Event::SessionOpened { batch, session } => self.session_opened(batch, session),
            Event::SessionRefused { batch, message } => self.session_refused(batch, message),
            Event::Shown { batch, slice, chosen, shown } => {
                if let Some(source) = self.name_if_open(batch, slice) {
                    let (pixels, values) = split_values(bytes, shown.width * shown.height);
                    let (pixels, values) = (Rc::new(pixels), values.map(Rc::new));
                    let picture = RenderedSlice { source, slice, pixels, values, shown };
                    // While one drags, each picture that comes is shown, but not over the wanted one.
                    if self.reading.images.get(self.reading.shown).is_none() {
                        self.dispatch(Action::Shown(picture.clone()));
                    }
                    self.reading.images.keep((slice, chosen), picture);
                    self.has_come();
                    self.list_elements_of_kept();
                }
            }
            Event::NotShown { batch, slice, message } => {
                self.has_come();
                if let Some(source) = self.name_if_open(batch, slice) {
                    self.dispatch(Action::Failed(format!("{source}: {message}")));
                }
            }
            Event::Resliced { batch, first, read, sections } => {
                if self.batch_number() == Some(batch) {
                    self.resliced(first, read, sections, bytes);
                }
            }
            Event::NotResliced { batch, first, message } => {
                if self.batch_number() == Some(batch) {
                    self.not_resliced(first, message);
                }
            }
            Event::Prepared { batch, slice, prepared } => {
                if self.batch_number() == Some(batch) {
                    self.take_prepared(slice, prepared, bytes);
                }
            }
            Event::NotPrepared { batch, slice, message } => {
                if let Some(source) = self.name_if_open(batch, slice) {
                    self.skip(slice, format!("{source}: {message}"));
                }
            }
            Event::Identified { batch, slice, elements } => {
                if self.batch_number() == Some(batch) {
                    self.dispatch(Action::Identified { slice, elements });
                }
            }
            Event::Header { batch, slice, elements } => {
                if self.batch_number() == Some(batch) {
                    self.dispatch(Action::Header { slice, elements: Ok(elements) });
                }
            }
            Event::NotListed { batch, slice, message } => {
                if self.batch_number() == Some(batch) {
                    self.dispatch(Action::Header {
                        slice,
                        elements: Err(NotListed(message.clone())),
                    });
                    self.dispatch(Action::Failed(message));
                }
            }
            Event::Exported { name, media_type } => {
                if name.ends_with(session_file::ENDING) {
                    self.reading.saving = None;
                }
                self.reading.exporting = self.reading.exporting.saturating_sub(1);
                self.commands.push(Command::Save { name, media_type, bytes });
            }
            Event::NotExported { message } => {
                self.reading.saving = None;
                self.reading.exporting = self.reading.exporting.saturating_sub(1);
                self.dispatch(Action::Failed(message));
            }
            Event::Failed { message } => self.reader_failed(&message),
        }
    }

    /// The reader broke: another takes over. A slice that broke two of them is skipped, files that cannot even be
    /// opened are closed; what was computed stays.
    pub fn reader_failed(&mut self, reason: &str) {
        if !std::mem::take(&mut self.reading.is_there) {
            return;
        }
        self.commands.push(Command::StopReader);
        let reason = reason.trim_end_matches('.');
        let reading = &mut self.reading;
        if !reading.has_started {
            reading.unstarted += 1;
            if reading.unstarted >= MOST_FAILURES {
                // Its program cannot be downloaded: tried again when files are opened.
                reading.unstarted = 0;
                // The smaller one may be there, and is enough for pictures.
                reading.reader = Reader::default();
                let message = text!("session.reader_not_started", reason = reason).to_string();
                return self.dispatch(Action::Refused(message));
            }
            return self.start_reader();
        }
        let was_exporting = std::mem::take(&mut self.reading.exporting) > 0;
        if was_exporting {
            self.reading.saving = None;
            self.not_written(reason);
        }
        self.blame(reason, was_exporting);
        if let Some(name) = self.reading.session.take() {
            self.dispatch(Action::Failed(format!("{name}: {reason}")));
        }
        let unreadable = || text!("session.unreadable", reason = reason).to_string();
        self.take_back_unprepared(|scheduler, slice| {
            let name = scheduler.slice_name(slice);
            scheduler.is_unreadable(slice).then(|| format!("{name}: {}", unreadable()))
        });
        if self.reading.failures < MOST_FAILURES {
            let message = text!("session.reader_restarted", reason = reason).to_string();
            self.dispatch(Action::Notice(message));
        } else {
            self.reading.failures = 0;
            let batch = self.reading.batch.take();
            self.cancel();
            match batch {
                // What was computed stays, and can be saved where no file is needed.
                Some(batch) if batch.contents.is_some() => {
                    self.reading.batch = Some(Batch { is_stale: true, ..batch });
                }
                _ => self.dispatch(Action::Submitted { files: 0 }),
            }
            self.dispatch(Action::Refused(unreadable()));
        }
        self.start_reader();
    }

    /// Remembers what a reader that broke was at: a slice, a file, or neither.
    fn blame(&mut self, reason: &str, was_exporting: bool) {
        if self.reading.is_opened && !was_exporting {
            self.blame_sections(reason);
        }
        let reading = &mut self.reading;
        if reading.is_opened {
            // It answers in order, so it was at the first that has no answer, unless it wrote a file.
            let blamed = reading.asked.front().copied();
            if let Some(Asked::Slice(slice)) =
                blamed.filter(|_| !reading.is_cancelled && !was_exporting)
            {
                *reading.failures_of.entry(slice).or_default() += 1;
            }
        } else if let (Some(file), Some(batch)) = (reading.opening.take(), reading.batch.as_mut()) {
            // It was at this file: refused by name, it costs the others nothing. One that had been opened before
            // has another chance: refusing it takes away what is open.
            let failures = reading.failures_at.entry(file).or_default();
            *failures += 1;
            if batch.contents.is_none() || *failures >= MOST_FAILURES {
                batch.refused.push((file, reason.to_owned()));
            }
        } else {
            reading.failures += 1;
        }
    }
}
