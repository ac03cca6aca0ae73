//! A session file that was opened together with its images: its findings take the place of a prediction.

use crate::export::session_file::{SavedSlice, SessionFile};
use crate::report::{ModelInfo, ModelsInfo};
use crate::web::scheduler::Scheduler;
use crate::web::state::Action;
use crate::web::texts::text;

/// Names of the networks.
fn names(models: &ModelsInfo) -> String {
    let names = weights(models).into_iter().flatten().map(|info| info.name.as_str());
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    names.join(", ")
}

/// What tells one model from another.
fn weights(models: &ModelsInfo) -> [Option<&ModelInfo>; 2] {
    [models.segmentation.as_ref(), models.classifier.as_ref()]
}

impl Scheduler {
    /// Shows the middle of what was opened, and predicts it.
    pub(super) fn begin(&mut self) {
        if let Some(middle) = self.contents().and_then(|contents| contents.middle()) {
            self.show(middle, None);
            self.run([middle]);
        }
    }

    /// Goes on with what `session` holds, once the model that found it is loaded.
    pub(super) fn resume(&mut self, session: Box<SessionFile>) {
        let Some(contents) = self.contents() else { return };
        if contents.slices() == 0 {
            return self.dispatch(Action::Refused(text!("session.file.alone").to_string()));
        }
        match &self.models {
            None => {
                let middle = contents.middle();
                self.saved = Some(session);
                if let Some(middle) = middle {
                    self.show(middle, None);
                }
            }
            Some(models) if weights(models) != weights(&session.model) => {
                let (own, other) = (names(models), names(&session.model));
                let message = text!("session.file.other_model", own = own, other = other);
                self.dispatch(Action::Refused(message.to_string()));
                self.begin();
            }
            Some(_) => self.restore(*session),
        }
    }

    /// The same once a model is loaded.
    pub(super) fn resume_waiting(&mut self) {
        if let Some(session) = self.saved.take() {
            self.resume(session);
        }
    }

    fn restore(&mut self, session: SessionFile) {
        let keys = self.contents().map(|contents| contents.keys()).unwrap_or_default();
        let number = |slice: &SavedSlice| keys.iter().position(|key| *key == slice.key);
        let shown = session.shown.and_then(|place| number(session.slices.get(place)?));
        let (of_session, threshold) = (session.slices.len(), session.threshold);
        let known = session.slices.into_iter().filter_map(|mut slice| {
            let number = number(&slice)?;
            // The file may go by another name by now.
            slice.report.source = self.slice_name(number);
            Some((number, slice))
        });
        let slices: Vec<(usize, SavedSlice)> = known.collect();
        let Some(first) = slices.first().map(|(number, _)| *number) else {
            self.dispatch(Action::Refused(text!("session.file.other_images").to_string()));
            return self.begin();
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
