//! A session file that was opened with its images, or over them: its findings take the place of a prediction.

use crate::export::session_file::{SavedSlice, SessionFile};
use crate::report::{ModelInfo, ModelsInfo};
use crate::web::messages::reader::Request;
use crate::web::options::LOWEST_SCORE;
use crate::web::scheduler::{Command, Scheduler};
use crate::web::state::Action;
use crate::web::texts::text;

/// Digits of a hash that tell one file of weights from another.
const DIGITS: usize = 8;

/// Names of the networks with the first digits of their hashes.
fn names(models: &ModelsInfo) -> String {
    let info = [&models.segmentation, &models.classifier].into_iter().flatten();
    let named = info.map(|ModelInfo { name, sha256 }| {
        let digits: String = sha256.chars().take(DIGITS).collect();
        format!("{name}, {digits}…")
    });
    let mut names: Vec<String> = named.collect();
    names.dedup();
    names.join("; ")
}

/// What tells the weights of one model from those of another, whatever their files are called.
fn weights(models: &ModelsInfo) -> [Option<&str>; 2] {
    [&models.segmentation, &models.classifier]
        .map(|info| info.as_ref().map(|info| info.sha256.as_str()))
}

/// A session that waits for its model.
#[derive(Debug)]
pub(super) struct Waiting {
    session: Box<SessionFile>,
    opening: SessionOpening,
}

/// How a session came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionOpening {
    /// With its images, of which nothing is predicted yet.
    WithImages,
    /// Over images that were open.
    OverImages,
}

impl Scheduler {
    /// Shows the middle of what was opened, and predicts it.
    pub(super) fn begin(&mut self) {
        if let Some(middle) = self.contents().and_then(|contents| contents.middle()) {
            self.show(middle, None);
            self.run([middle]);
        }
    }

    /// Whether there are images that a session file can belong to.
    pub fn has_images(&self) -> bool {
        !self.is_stale() && self.contents().is_some_and(|contents| contents.slices() > 0)
    }

    /// Reads a session file that belongs to the open images. If it cannot be used, everything stays as it is.
    pub fn open_session(&mut self, name: String) {
        self.reading.session = Some(name);
        self.ask_for_session();
    }

    /// Sends the session file that was chosen to a reader that has the images.
    pub(super) fn ask_for_session(&mut self) {
        let batch = self.batch_number().filter(|_| self.has_opened());
        if let Some((batch, name)) = batch.zip(self.reading.session.clone()) {
            let request = Box::new(Request::OpenSession { batch, name });
            self.commands.push(Command::SendSession { request });
            self.wait_for_reader();
        }
    }

    /// Asks for a session file, called after the slice or series `name`.
    pub fn save_session(&mut self, session: SessionFile, name: String) {
        self.reading.saving = Some((Box::new(session), name));
        if !self.can_write() {
            self.start_reader_if_there_is_none();
        }
        self.ask_to_save();
    }

    /// Asks a reader that can write for the session file that is to be saved.
    pub(super) fn ask_to_save(&mut self) {
        let batch = self.batch_number().filter(|_| self.can_write());
        if let Some((batch, (session, name))) = batch.zip(self.reading.saving.clone()) {
            self.ask_reader(Request::SaveSession { batch, session, name });
        }
    }

    /// The reader has read it.
    pub(super) fn session_opened(&mut self, batch: u32, session: Box<SessionFile>) {
        if self.is_awaited_session(batch) {
            self.resume(session, SessionOpening::OverImages);
        }
    }

    /// The reader cannot use it.
    pub(super) fn session_refused(&mut self, batch: u32, message: String) {
        if self.is_awaited_session(batch) {
            self.dispatch(Action::Failed(message));
        }
    }

    fn is_awaited_session(&mut self, batch: u32) -> bool {
        self.batch_number() == Some(batch) && self.reading.session.take().is_some()
    }

    /// Goes on with what `session` holds, once the model that found it is loaded.
    pub(super) fn resume(&mut self, session: Box<SessionFile>, opening: SessionOpening) {
        let Some(contents) = self.contents() else { return };
        if contents.slices() == 0 {
            return self.dispatch(Action::Refused(text!("session.file.alone").to_string()));
        }
        match &self.models {
            None => {
                self.saved = Some(Waiting { session, opening });
                if let Some(middle) = contents.middle()
                    && opening == SessionOpening::WithImages
                {
                    self.show(middle, None);
                }
            }
            Some(models) if weights(models) != weights(&session.model) => {
                let (own, other) = (names(models), names(&session.model));
                let message = text!("session.file.other_model", own = own, other = other);
                self.refuse_session(message.to_string(), opening);
            }
            Some(_) => self.restore(*session, opening),
        }
    }

    /// The same once a model is loaded.
    pub(super) fn resume_waiting(&mut self) {
        if let Some(Waiting { session, opening }) = self.saved.take() {
            self.resume(session, opening);
        }
    }

    fn refuse_session(&mut self, message: String, opening: SessionOpening) {
        match opening {
            SessionOpening::WithImages => {
                self.dispatch(Action::Refused(message));
                self.begin();
            }
            SessionOpening::OverImages => self.dispatch(Action::Failed(message)),
        }
    }

    fn restore(&mut self, session: SessionFile, opening: SessionOpening) {
        let keys = self.contents().map(|contents| contents.keys()).unwrap_or_default();
        let number = |slice: &SavedSlice| keys.iter().position(|key| *key == slice.key);
        let shown = session.shown.and_then(|place| number(session.slices.get(place)?));
        let (of_session, threshold) =
            (session.slices.len(), session.threshold.clamp(LOWEST_SCORE, 1.0));
        let known = session.slices.into_iter().filter_map(|mut slice| {
            let number = number(&slice)?;
            // The file may go by another name by now.
            slice.report.source = self.slice_name(number);
            Some((number, slice))
        });
        let slices: Vec<(usize, SavedSlice)> = known.collect();
        let Some(first) = slices.first().map(|(number, _)| *number) else {
            return self.refuse_session(text!("session.file.other_images").to_string(), opening);
        };
        let missing = of_session - slices.len();
        self.dispatch(Action::Restored { slices, threshold });
        if missing > 0 {
            let message = text!("session.file.missing", missing = missing, slices = of_session);
            self.dispatch(Action::Refused(message.to_string()));
        }
        self.show(shown.unwrap_or(first), None);
    }
}
